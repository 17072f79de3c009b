"""The virtual step: how much learning what is new would raise the loss of old examples. Measured, then thrown away.

`python -m finetune.interference FOLDER` is the child: it reads a folder as training does (`data` says what it holds),
looks at the loss of the recalled rows, takes a few optimiser steps on the new ones from the champion's weights, looks
again, and writes rises.json. Nothing that it learnt is kept. It knows no index, no database and no job.

Paper: Aljundi et al., Online continual learning with maximally interfered retrieval, NeurIPS 2019. There one step of
gradient descent on the incoming batch; here ten of the optimiser that trains, since with a low-rank adapter from
nothing (B = 0) the first step moves B alone.
"""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.child import environment
from finetune.files import write_json
from rehearsal.mix import Rise

if TYPE_CHECKING:
    from finetune.data import RunConfig, TrainRow, TrainSet

log = logging.getLogger(__name__)

STEPS = 10
RISES = "rises.json"
CHILD = ("-m", "finetune.interference")
SECONDS = 600
"""After so long a measurement is given up; a mix can do without."""


def measured(folder: Path, child: Sequence[str] = CHILD) -> Mapping[str, Rise]:
    """The rises of a folder's recalled rows, measured in a child process; empty where that failed, which is logged.

    `child` is what measures such a folder, as arguments of Python; it writes rises.json by `keep`.
    """
    given = environment() | {"OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, *child, str(folder)]
    try:
        ended = subprocess.run(
            command, env=given, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        log.warning("the virtual step took more than %d s; the mix is drawn without it", SECONDS)
        return {}
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        log.warning("the virtual step ended with code %d: %s; the mix is drawn without it", ended.returncode, said[0])
        return {}
    found = json.loads((folder / RISES).read_text())
    return {example: Rise(**rise) for example, rise in found.items()}


def keep(folder: Path, rises: Mapping[str, Rise]) -> None:
    """Write rises.json, for `measured` to read."""
    write_json(folder / RISES, {example: asdict(rise) for example, rise in rises.items()})


def measure(folder: Path, config: RunConfig, data: TrainSet) -> dict[str, Rise]:
    """Take the virtual step here and now. Loss before and after of each recalled row, in nats.

    The same data, recipe and machine give the same figures.
    """
    import dataclasses

    from finetune.data import batches, steps_per_epoch
    from finetune.training import begin, one_step

    new = tuple(row for row in data.rows if row.part == "new")
    old = [row for row in data.rows if row.part == "recalled"]
    if not new or not old:
        return {}
    epochs = math.ceil(STEPS / steps_per_epoch(len(new), config.recipe.batch))  # or the rate ends before the steps do
    recipe = dataclasses.replace(config.recipe, epochs=epochs)
    training = begin(folder, dataclasses.replace(config, recipe=recipe), dataclasses.replace(data, rows=new))
    before = _losses(training, old)
    steps = (batch for epoch in count() for batch in batches(training.data.rows, config.recipe, epoch))
    for batch in islice(steps, STEPS):
        one_step(training, batch)
    after = _losses(training, old)
    return {
        row.example: Rise(before=round(b, 6), after=round(a, 6)) for row, b, a in zip(old, before, after, strict=True)
    }


def _losses(training: Any, rows: Sequence[TrainRow]) -> list[float]:
    """The loss of each row, without dropout, always in the same company."""
    import numpy as np
    import torch

    from finetune.data import compose
    from finetune.model import losses

    recipe, found = training.config.recipe, []
    rng = np.random.default_rng(recipe.seed)
    training.learner.model.eval()
    with torch.no_grad():
        for start in range(0, len(rows), recipe.batch):
            chosen = range(start, min(start + recipe.batch, len(rows)))
            batch = compose(rows, chosen, recipe.hard_negatives, rng)
            each, _ = losses(training.learner, training.vectors, [rows[i].question for i in chosen], batch)
            found += [float(loss) for loss in each]
    training.learner.model.train()
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure the one folder that is named; returns the exit code."""
    from finetune.data import read_config, read_train_set

    if len(arguments) != 1:
        sys.stderr.write("usage: python -m finetune.interference FOLDER\n")
        return 2
    folder = Path(arguments[0])
    keep(folder, measure(folder, read_config(folder), read_train_set(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
