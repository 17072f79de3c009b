"""A generator training from a folder to an adapter: rows to tokens, TRL's trainer with our checks, the adapter's files.

Only the training child imports this module; it needs torch at once. Whether the folder may be trained in, and what is
told to the parent, is the business of `trainer`.
"""

from __future__ import annotations

import json
import math
import os
import random
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PrinterCallback

from finetune.duty import keep_metrics_until
from finetune.files import write
from finetune.generator.checks import Watching, complete, diverged, starts_from
from finetune.generator.model import Learner, build
from finetune.generator.rows import RunConfig, TrainSet
from finetune.generator.tokens import Tokens, tokenised
from finetune.generator.trainers import trainer_of
from kernel.errors import UserError
from kernel.ids import canonical, digest
from retrieval.generators.likelihood import logprobs

METRICS, CHECKPOINTS, BEFORE = "metrics.jsonl", "checkpoints", "before.json"
KNOWN = math.log(0.5)
"""A row is known already where the model gives each token of the answer even odds, or better, in the geometric mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came out. Likelihoods are mean log-probabilities per token, in the order of `rows`."""

    learner: Learner
    rows: list[Tokens]
    before: list[float]
    after: list[float]
    steps: int
    seconds: float
    unfit: list[str]
    """The example of each row left out because it does not fit the model's context."""

    @property
    def known(self) -> float:
        """Share of the rows whose answer the model would have given before."""
        return sum(b >= KNOWN for b in self.before) / max(1, len(self.before))


def run(folder: Path, config: RunConfig, data: TrainSet) -> Trained:
    """Train, or go on from the last complete checkpoint.

    Raises:
        UserError: no row fits the model.
        TrainingFailed: a number is none, a checkpoint was not taken up, or the reference is not the champion.
        DiskFull: there is no room for a checkpoint.
    """
    recipe, main = config.recipe, int(os.environ.get("RANK", "0")) == 0
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(min(recipe.threads, os.cpu_count() or 1))
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    learner = build(config.base, recipe, config.champion, len(data.rows))
    rows, unfit = _tokens(learner, data, config)
    identity = digest(canonical([data.digest, recipe.to_json(), str(config.champion), config.base]))
    before = _before(folder, learner, rows, identity, keep=main)
    trainer = trainer_of(
        learner, rows, recipe, folder / CHECKPOINTS, warm=config.champion is not None, processes=processes
    )
    if recipe.method != "sft":
        starts_from(trainer, config.champion)
    with trainer.accelerator.main_process_first():  # which removes what is half; the others find the rest
        found = complete(folder / CHECKPOINTS, identity)
    if main:
        keep_metrics_until(folder / METRICS, int(found.name.rpartition("-")[2]) if found else 0)
    watching = Watching(trainer, folder / METRICS, identity, found, main=main)
    trainer.remove_callback(PrinterCallback)  # standard output is the parent's
    trainer.add_callback(watching)
    trainer.train(resume_from_checkpoint=str(found) if found else None)
    after = likelihoods(learner, rows)
    if not all(map(math.isfinite, after)):
        raise diverged("loss", trainer.state.global_step)
    return Trained(
        learner=learner,
        rows=rows,
        before=before,
        after=after,
        steps=trainer.state.global_step,
        seconds=watching.seconds,
        unfit=unfit,
    )


def likelihoods(learner: Learner, rows: list[Tokens]) -> list[float]:
    """The mean log-probability per token of each row's answer, without dropout."""
    training = learner.model.training
    learner.model.eval()
    with torch.inference_mode():
        found = [float(logprobs(learner.model, row.prompt, row.chosen).mean()) for row in rows]
    learner.model.train(training)
    return found


def _tokens(learner: Learner, data: TrainSet, config: RunConfig) -> tuple[list[Tokens], list[str]]:
    """The rows that fit, in the order of training, and the example of each that does not."""
    most = min(config.recipe.max_length, learner.context)
    made = [tokenised(row, learner.tokenizer, learner.stops, most) for row in data.rows]
    rows = [row for row in made if row is not None]
    if not rows:
        raise UserError(
            f"no row of {len(made)} fits into {most} tokens",
            hint="raise max_length, or use a model with a longer context",
            code="nothing_fits",
        )
    # Rows come as they were drawn, new ones first; KTO reads them in this order, as its batches are made of them.
    random.Random(config.recipe.seed).shuffle(rows)
    return rows, [row.example for row, one in zip(data.rows, made, strict=True) if one is None]


def _before(folder: Path, learner: Learner, rows: list[Tokens], identity: str, *, keep: bool) -> list[float]:
    """How likely the answers are before training; kept, as a run that goes on must not measure them anew.

    Of several processes that train together one has to `keep` it: two that write one file lose it.
    """
    file = folder / BEFORE
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["of"] == identity:
            return list(kept["logprobs"])
    found = likelihoods(learner, rows)
    if keep:
        write(file, json.dumps({"of": identity, "logprobs": [round(x, 6) for x in found]}))
    return found
