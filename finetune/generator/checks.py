"""What is checked while a generator trains: numbers stay numbers, a resumed run goes on from where it was, and
preferences are measured from the champion.

    before an update         every gradient is finite, or nothing is learnt from the step and the run ends
    behind a checkpoint      complete.json: the loss on a fixed batch, without dropout, and the digest of the weights.
                             It is written last: a checkpoint without it is none
    before going on          each weight is the checkpoint's, and the loss on the fixed batch is what it was
    before a first step      of DPO and KTO: the reference is the champion, and finds each answer exactly as likely as
                             the policy does

Only the training child imports this module.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from finetune.checkpoint import require_room
from finetune.duty import tell
from finetune.files import write
from finetune.generator.model import ADAPTER, REFERENCE, differing
from finetune.model import read_weights
from kernel.errors import TrainingFailed
from retrieval.encoder import WEIGHTS, weights_of

COMPLETE = "complete.json"
PROBE_ROWS = 4
PROBE_TOLERANCE = 0.01
"""Relative; the same machine gives the same number, another one may round differently."""
REFERENCE_TOLERANCE = 1e-3
"""Of a log-probability of a whole answer: both adapters do the same arithmetic."""
_SPARE = 64 * 2**20


def complete(folder: Path, digest: str) -> Path | None:
    """The last complete checkpoint of this data and recipe. Others are removed, and half ones too.

    What was trained on other data has learnt what may since have been deleted.
    """
    found = [f for f in folder.glob("checkpoint-*") if f.is_dir()] if folder.is_dir() else []
    for checkpoint in sorted(found, key=lambda f: int(f.name.rpartition("-")[2]), reverse=True):
        if _told(checkpoint).get("digest") == digest:
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


class Watching(TrainerCallback):
    """Follows one training for its record and for the checks above. `metrics` gets a line per step."""

    def __init__(self, trainer: Any, metrics: Path, digest: str, from_: Path | None, *, main: bool) -> None:
        self._trainer, self._metrics, self._digest, self._from, self._main = trainer, metrics, digest, from_, main
        self.started = time.monotonic()
        self.before = float(_told(from_).get("seconds", 0.0)) if from_ else 0.0

    @property
    def seconds(self) -> float:
        """Training time so far, that of killed predecessors up to their checkpoint included."""
        return self.before + time.monotonic() - self.started

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._from is not None:
            _goes_on(self._trainer, self._from)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        grads = [p.grad for p in self._trainer.model.parameters() if p.grad is not None]
        if not all(bool(torch.isfinite(g).all()) for g in grads):
            raise diverged("gradient", state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_save:
            weights = sum(p.nbytes for p in self._trainer.model.parameters() if p.requires_grad)
            require_room(Path(args.output_dir), 5 * weights + _SPARE)  # weights, two moments, the reference

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(float(logs["loss"])):
            raise diverged("loss", state.global_step)
        if not self._main:
            return
        line = {
            "step": state.global_step,
            "epoch": round(float(state.epoch or 0), 4),
            "loss": round(float(logs["loss"]), 6),
            "lr": logs.get("learning_rate"),
            "grad_norm": round(float(logs.get("grad_norm") or 0.0), 4),
            "seconds": round(self.seconds, 3),
        }
        kept = ("rewards/accuracies", "rewards/margins", "kl", "mean_token_accuracy", "num_tokens")
        line |= {name: logs[name] for name in kept if name in logs}
        with self._metrics.open("a", encoding="utf-8") as metrics:
            metrics.write(json.dumps(line) + "\n")
        tell({"step": state.global_step, "steps": state.max_steps, "loss": line["loss"]})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loss = probe(self._trainer)
        self._trainer.accelerator.wait_for_everyone()  # each process writes its random state
        if self._main:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            told = {"step": state.global_step, "probe": loss, "digest": self._digest, "seconds": self.seconds}
            write(folder / COMPLETE, json.dumps(told | {"weights": _sha256(folder / WEIGHTS)}))


def probe(trainer: Any) -> float:
    """The loss on the first rows, without dropout; touches neither weights nor random numbers."""
    rows = [trainer.train_dataset[n] for n in range(min(PROBE_ROWS, len(trainer.train_dataset)))]
    return _quietly(trainer, lambda: float(trainer.compute_loss(trainer.model, _batch(trainer, rows))))


def starts_from(trainer: Any, champion: Path | None) -> None:
    """Nothing, if the frozen reference of a preference training is the champion, and the policy starts from it.

    Raises:
        TrainingFailed: it is not: every reward would be measured from the wrong model.
    """
    if REFERENCE not in trainer.model.peft_config:
        raise TrainingFailed("the preference training has no reference adapter", hint=_TRIPLE)
    reference = weights_of(trainer.model, REFERENCE)
    wanted = read_weights(champion) if champion is not None else weights_of(trainer.model, ADAPTER)
    unlike = differing(reference, wanted)
    moving = [n for n, p in trainer.model.named_parameters() if f".{REFERENCE}." in n and p.requires_grad]
    if unlike or moving:
        raise TrainingFailed(f"the reference is not the champion: {(unlike or moving)[0]!r} differs", hint=_TRIPLE)
    rows = [trainer.train_dataset[n] for n in range(min(PROBE_ROWS, len(trainer.train_dataset)))]
    policy, reference_ = _quietly(trainer, lambda: _both(trainer, _batch(trainer, rows)))
    off = float((policy - reference_).abs().max())
    if not off <= REFERENCE_TOLERANCE * max(1.0, float(policy.abs().max())):
        raise TrainingFailed(
            f"before the first step policy and reference differ by {off:.4f} in log-probability", hint=_TRIPLE
        )


def diverged(what: str, step: int) -> TrainingFailed:
    """The error of a number that is none."""
    return TrainingFailed(
        f"the {what} of step {step} is not a number; nothing was learnt from it",
        hint="lower the learning rate, or look for a broken row in train.jsonl",
        code="diverged",
    )


_TRIPLE = "this is a fault of the installed trl or peft; install the tested releases: pip install 'reprise[generator]'"


def _goes_on(trainer: Any, checkpoint: Path) -> None:
    told = _told(checkpoint)
    unlike = differing(weights_of(trainer.model, ADAPTER), read_weights(checkpoint))
    damaged = _sha256(checkpoint / WEIGHTS) != told.get("weights")
    if unlike or damaged:
        what = (
            f"{len(unlike)} weights differ, first {unlike[0]!r}" if unlike else "its weights are not what was written"
        )
        raise TrainingFailed(f"the checkpoint of step {told.get('step')} was not taken up: {what}", hint=_DAMAGED)
    now, then = probe(trainer), float(told["probe"])
    if not math.isclose(now, then, rel_tol=PROBE_TOLERANCE, abs_tol=PROBE_TOLERANCE):
        raise TrainingFailed(
            f"the loss does not continue: {then:.4f} at step {told['step']}, {now:.4f} after loading it", hint=_DAMAGED
        )


_DAMAGED = "the checkpoint is damaged; remove the folder 'checkpoints' to train from the beginning"


def _both(trainer: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of whole answers by what is trained and by the reference, by the same arithmetic."""
    found = []
    for adapter in (ADAPTER, REFERENCE):
        trainer.model.set_adapter(adapter)
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        ids = {name: batch[name] for name in ("input_ids", "attention_mask")}
        found.append(trainer.model(**ids, labels=labels, fused_lm_head=True).log_probs.sum(1))
    trainer.model.set_adapter(ADAPTER)
    for name, weight in trainer.model.named_parameters():
        if f".{REFERENCE}." in name:
            weight.requires_grad_(False)  # choosing an adapter makes it trainable
    return found[0], found[1]


def _batch(trainer: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    batch: dict[str, Any] = trainer._prepare_inputs(trainer.data_collator([dict(row) for row in rows]))
    return batch


def _quietly(trainer: Any, measure: Callable[[], Any]) -> Any:
    training, metrics = trainer.model.training, getattr(trainer, "_metrics", None)
    trainer.model.eval()
    try:
        with torch.no_grad():
            return measure()
    finally:
        trainer.model.train(training)
        if metrics is not None:
            metrics["eval"].clear()


def _told(checkpoint: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
