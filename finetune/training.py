"""A run in progress: what it holds, how it begins, one step, and going on from a checkpoint.

Only the training child imports this module; it needs torch at once. Files other than checkpoints are the
business of `trainer`.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.checkpoint import Checkpoint, latest, save
from finetune.data import Batch, RunConfig, TrainRow, TrainSet, batches, compose, steps_per_epoch
from finetune.mining import hardest, trusted
from finetune.model import Learner, as_tensor, build, losses, pull, put, rank_and_alpha, state
from finetune.restraint import Restraint, restrain
from kernel.errors import TrainingFailed
from kernel.ids import canonical, digest

_AT_ONCE = 64
_PROBE_TOLERANCE = 0.01
"""Relative; the same machine gives the same number, another one may round differently."""


@dataclass(slots=True, kw_only=True)
class Training:
    """A run in progress. `step` and `epoch` count what is done."""

    run: Path
    config: RunConfig
    data: TrainSet
    learner: Learner
    vectors: torch.Tensor
    optimiser: torch.optim.Optimizer
    before: dict[int, torch.Tensor]
    """Vectors of recalled questions by the model that training started from; empty unless they are pulled."""
    average: dict[str, torch.Tensor] | None
    start: dict[str, torch.Tensor]
    """The champion's weights; empty when training began from the base model."""
    restraint: Restraint | None
    pools: list[TrainRow]
    """The rows with all negatives that may be trained against."""
    rows: list[TrainRow]
    """The rows with the negatives of this epoch."""
    started: float
    step: int = 0
    epoch: int = 0
    losses: dict[int, float] = field(default_factory=dict)
    """Last loss of each row that was seen."""

    @property
    def steps(self) -> int:
        return self.config.recipe.epochs * steps_per_epoch(len(self.data.rows), self.config.recipe.batch)

    @property
    def seconds(self) -> float:
        """Training time so far, that of killed predecessors up to their checkpoint included."""
        return time.monotonic() - self.started

    @property
    def result(self) -> dict[str, torch.Tensor]:
        """The weights to serve: the last ones, or their average, moved back towards the start.

        From the base model the way back is exact: B A times the strength, by scaling B alone. From a champion A and B
        are each moved, which is near enough for weights that are a training run apart.
        """
        strength, last = self.config.recipe.strength, self.average or state(self.learner)
        if not self.start:
            return {name: w * strength if "lora_B" in name else w for name, w in last.items()}
        return {name: self.start[name].lerp(w, strength) for name, w in last.items()}


def begin(run: Path, config: RunConfig, data: TrainSet) -> Training:
    """A training before its first step."""
    warm = config.champion is not None
    recipe = config.recipe.sized(len(data.rows), rank_and_alpha(config.champion) if config.champion else None)
    config = dataclasses.replace(config, recipe=recipe)
    torch.set_num_threads(min(recipe.threads, os.cpu_count() or 1))
    learner = build(config.base, recipe, config.champion)
    vectors, pools = as_tensor(data.vectors), list(data.rows)
    if recipe.negative_margin is not None:
        pools = trusted(pools, _encoded(learner, pools), data.vectors, recipe.negative_margin)
    hold = recipe.l2 or recipe.ewc
    return Training(
        run=run,
        config=config,
        data=data,
        learner=learner,
        vectors=vectors,
        optimiser=torch.optim.AdamW(learner.weights, lr=recipe.rate(warm), weight_decay=0.0),
        before=_vectors_before(learner, data) if recipe.distill else {},
        average=state(learner) if recipe.ema is not None else None,
        start=state(learner) if warm else {},
        restraint=restrain(learner, vectors, pools, bool(recipe.ewc)) if hold else None,
        pools=pools,
        rows=[dataclasses.replace(row, negatives=row.negatives[: recipe.hard_negatives]) for row in pools],
        started=time.monotonic(),
    )


def resume(training: Training) -> None:
    """Go on from the last complete checkpoint, if there is one, and check that the loss goes on too.

    Raises:
        TrainingFailed: the loss is another one than when the checkpoint was written.
        Refused: its weights do not fit.
    """
    found = latest(training.run, _identity(training))
    if found is None:
        return
    put(training.learner, found.weights)
    training.optimiser.load_state_dict(found.optimiser)
    training.average, training.losses = found.average, found.losses
    training.step, training.epoch = found.step, found.epoch
    training.rows = [
        dataclasses.replace(row, negatives=tuple(mined))
        for row, mined in zip(training.rows, found.negatives, strict=True)
    ]
    training.started = time.monotonic() - found.seconds
    now = _probe(training)
    if not math.isclose(now, found.probe, rel_tol=_PROBE_TOLERANCE, abs_tol=_PROBE_TOLERANCE):
        raise TrainingFailed(
            f"the loss does not continue: {found.probe:.4f} at step {found.step}, {now:.4f} after loading it",
            hint="the checkpoint is damaged; remove the folder 'checkpoints' to train from the beginning",
        )
    torch.set_rng_state(found.random)


def keep(training: Training) -> None:
    """Write a checkpoint.

    Raises:
        DiskFull: there is no room.
    """
    checkpoint = Checkpoint(
        step=training.step,
        epoch=training.epoch,
        seconds=training.seconds,
        digest=_identity(training),
        probe=_probe(training),
        weights=state(training.learner),
        optimiser=training.optimiser.state_dict(),
        random=torch.get_rng_state(),
        average=training.average,
        losses=training.losses,
        negatives=[list(row.negatives) for row in training.rows],
    )
    save(training.run, checkpoint)


def epoch_of(training: Training) -> Iterator[Batch]:
    """The batches of the epoch that comes next, against the negatives that are hardest by now."""
    recipe = training.config.recipe
    if recipe.refresh and recipe.hard_negatives and training.epoch % recipe.refresh == 0:
        questions = _encoded(training.learner, training.pools)
        training.rows = hardest(training.pools, questions, training.data.vectors, recipe.hard_negatives)
    return batches(training.rows, recipe, training.epoch)


def one_step(training: Training, batch: Batch) -> dict[str, Any]:
    """Learn from one batch; returns the line for metrics.jsonl.

    Raises:
        TrainingFailed: the loss or its gradient is no finite number (code `diverged`); nothing was learnt
        from it.
    """
    recipe, rows = training.config.recipe, [training.data.rows[i] for i in batch.rows]
    each, scores = losses(training.learner, training.vectors, [row.question for row in rows], batch)
    weight = torch.tensor([row.weight for row in rows])
    loss = (each * weight).sum() / weight.sum() + _pull_back(training, batch, scores)
    if training.restraint is not None:
        loss = loss + training.restraint(training.learner.weights, recipe.l2, recipe.ewc)
    _finite(training, "loss", loss)
    peak = recipe.rate(training.config.champion is not None)
    rate = rate_at(training.step + 1, training.steps, peak, recipe.warmup)
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    training.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(training.learner.weights, recipe.clip)
    _finite(training, "gradient", norm)
    training.optimiser.step()
    training.step += 1
    training.losses.update(zip(batch.rows, each.tolist(), strict=True))
    _move_average(training)
    return {
        "step": training.step,
        "epoch": training.epoch + 1,
        "loss": round(loss.item(), 6),
        "lr": rate,
        "grad_norm": round(norm.item(), 4),
        "examples": len(rows),
        "seconds": round(training.seconds, 3),
    }


def rate_at(step: int, steps: int, peak: float, warmup: float) -> float:
    """Learning rate of step `step` of 1..`steps`: a line up to `peak`, then a cosine down to a tenth of it."""
    rising = max(1, round(warmup * steps))
    if step <= rising:
        return peak * step / rising
    done = (step - rising) / max(1, steps - rising)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


# --- private ------------------------------------------------------------------------------------


def _pull_back(training: Training, batch: Batch, scores: torch.Tensor) -> torch.Tensor | float:
    recalled = [k for k, i in enumerate(batch.rows) if i in training.before]
    if not recalled:
        return 0.0
    recipe = training.config.recipe
    before = torch.stack([training.before[batch.rows[k]] for k in recalled])
    documents = training.vectors[torch.from_numpy(batch.candidates)]
    return recipe.distill * pull(scores[recalled], before, documents, recipe.temperature).mean()


def _move_average(training: Training) -> None:
    """In the first steps the average moves faster, so that it does not drag the start along."""
    ema = training.config.recipe.ema
    if ema is not None and training.average is not None:
        stay = min(ema, (1 + training.step) / (10 + training.step))
        for name, value in state(training.learner).items():
            training.average[name].lerp_(value, 1 - stay)


def _probe(training: Training) -> float:
    """Mean loss of one fixed batch, without dropout. Draws none of the training's random numbers."""
    rows, recipe = training.rows, training.config.recipe
    rng = np.random.default_rng(recipe.seed)
    batch = compose(rows, range(min(recipe.batch, len(rows))), recipe.hard_negatives, rng)
    with _looking(training.learner):
        each, _ = losses(training.learner, training.vectors, [rows[i].question for i in batch.rows], batch)
    return float(each.mean())


def _vectors_before(learner: Learner, data: TrainSet) -> dict[int, torch.Tensor]:
    recalled = [i for i, row in enumerate(data.rows) if row.part == "recalled"]
    vectors = torch.from_numpy(_encoded(learner, [data.rows[i] for i in recalled]))
    return dict(zip(recalled, vectors, strict=True))


def _encoded(learner: Learner, rows: Sequence[TrainRow]) -> np.ndarray:
    """Vectors of the questions by the model as it is, float32 (rows, dimension)."""
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i].question))
    found = np.zeros((len(rows), int(learner.model.config.hidden_size)), np.float32)
    with _looking(learner):
        for start in range(0, len(rows), _AT_ONCE):
            some = by_length[start : start + _AT_ONCE]
            found[some] = learner.encode([rows[i].question for i in some]).numpy()
    return found


@contextmanager
def _looking(learner: Learner) -> Iterator[None]:
    learner.model.eval()
    with torch.no_grad():
        yield
    learner.model.train()


def _identity(training: Training) -> str:
    """Of data, recipe and start: what has to be equal for a checkpoint to be one of this run."""
    config = training.config
    return digest(canonical([training.data.digest, config.recipe.to_json(), config.base, str(config.champion)]))


def _finite(training: Training, what: str, value: torch.Tensor) -> None:
    if not math.isfinite(value.item()):
        raise TrainingFailed(
            f"the {what} is {value.item()} at step {training.step + 1} of {training.steps}",
            hint="lower the learning rate; if it is so at step 1, the adapter that it starts from is broken",
            code="diverged",
        )
