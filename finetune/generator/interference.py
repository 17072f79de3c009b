"""The virtual step of a generator: how much learning what is new would raise the loss of old answers.

`python -m finetune.generator.interference FOLDER` is the child: it reads a folder as training does (`rows` says what it
holds), trains on the new rows for about ten steps from the champion's weights, and writes rises.json. What is measured
is the mean negative log-likelihood of an old answer's tokens, and nothing that was learnt is kept. What a virtual step
is, and the paper, stand in `finetune.interference`.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from finetune.generator.rows import RunConfig, TrainSet, read_config, read_train_set
from finetune.interference import STEPS, keep
from kernel.ids import digest
from rehearsal.mix import Mix, Rise

CHILD = ("-m", "finetune.generator.interference")
MOST_MEASURED = 128
"""Old rows at most: each is read twice, and a row of a generator is a prompt with its passages."""


def bounded(mix: Mix, batch: int) -> Mix:
    """As much of a mix as the step reads, by a hash: new rows for ten batches, and old ones to measure."""
    new = [row for row in mix.rows if row.part == "new"]
    old = [row for row in mix.rows if row.part != "new"]
    some = [
        row
        for rows, most in ((new, STEPS * batch), (old, MOST_MEASURED))
        for row in sorted(rows, key=lambda row: digest(f"{mix.seed}:{row.example}"))[:most]
    ]
    return replace(mix, rows=tuple(some))


def measure(folder: Path, config: RunConfig, data: TrainSet) -> dict[str, Rise]:
    """Take the virtual step here and now. Loss before and after of each recalled example, in nats per token.

    A loss that is no number afterwards is left out: nothing can be told of it. The same data, recipe and machine give
    the same figures.
    """
    import torch
    from transformers import PrinterCallback

    from finetune.generator.model import build
    from finetune.generator.tokens import tokenised
    from finetune.generator.trainers import trainer_of
    from finetune.generator.training import likelihoods

    parts = [[row for row in data.rows if (row.part == "new") == new] for new in (True, False)]
    if not all(parts):
        return {}
    recipe = config.recipe.brief(len(parts[0]), STEPS)
    torch.set_num_threads(min(recipe.threads, os.cpu_count() or 1))
    learner = build(config.base, recipe, config.champion, len(data.rows))
    most = min(recipe.max_length, learner.context)
    new, old = (
        [made for row in rows if (made := tokenised(row, learner.tokenizer, learner.stops, most))] for rows in parts
    )
    if not new or not old:
        return {}
    before = likelihoods(learner, old)
    trainer = trainer_of(learner, new, recipe, folder / "virtual", warm=config.champion is not None, processes=1)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    found: dict[str, list[tuple[float, float]]] = {}
    for row, was, now in zip(old, before, likelihoods(learner, old), strict=True):
        if math.isfinite(was) and math.isfinite(now):
            found.setdefault(row.row.example, []).append((-was, -now))
    return {
        example: Rise(before=round(fmean(was for was, _ in some), 6), after=round(fmean(now for _, now in some), 6))
        for example, some in found.items()
    }


def main(arguments: Sequence[str]) -> int:
    """Measure the one folder that is named; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m finetune.generator.interference FOLDER\n")
        return 2
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    folder = Path(arguments[0])
    keep(folder, measure(folder, read_config(folder), read_train_set(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
