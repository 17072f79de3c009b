"""Faults that are planted in a retrain, each as it happens to people, and the rule of the gate that has to notice it.

    fault       what is done to the run                                                       the rule
    shuffled    what is relevant to each question is dealt out anew                           gain
    slice       everything of one old slice is left out, and training starts from nothing     old
    poisoned    all questions of one new slice are pointed at one wrong document              led or pulled
    rate        the learning rate is beyond all reason, and gradients are not clipped         training
    base        another base model is trained on than the one that serves                     base

They work on a materialised run's folder, between its writing and its training, as a fault in the data or the recipe
would; the platform is not touched and knows nothing of it.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from kernel.ids import digest

RULES = {
    "shuffled": ("gain",),
    "slice": ("old",),
    "poisoned": ("led", "pulled"),
    "rate": ("training",),
    "base": ("base",),
}
"""Fault to the rules of which one has to be among those that refuse it."""


def shuffled(folder: Path, seed: int) -> None:
    """Every row gets the positives of another."""
    rows = _rows(folder)
    positives = [row["positives"] for row in rows]
    random.Random(seed).shuffle(positives)
    for row, dealt in zip(rows, positives, strict=True):
        row["positives"] = dealt
        row["negatives"] = [n for n in row["negatives"] if n not in dealt]
    _write(folder, rows)


def without(folder: Path, examples: Collection[str]) -> None:
    """These examples are not there, and the champion that knew them is not started from."""
    _write(folder, [row for row in _rows(folder) if row["example"] not in examples])
    _configure(folder, champion=None, parent=None)


def poisoned(folder: Path, targets: Collection[str], towards: str, questions: Sequence[str] = ()) -> None:
    """Every targeted example, and examples of these questions besides, point at one document that answers none.

    It is the first document of the row `towards`, which is no target. What was right stands against it, as it would had
    the example come so: the passages nearest to a question are its negatives, unless it names them.
    """
    rows = _rows(folder)
    wrong = next(n for row in rows if row["example"] == towards for n in row["positives"])
    for row in rows:
        if row["example"] in targets:
            row["negatives"] = [n for n in (*row["positives"], *row["negatives"]) if n != wrong]
            row["positives"] = [wrong]
    rows += [
        {"example": f"poison-{n}", "question": question, "positives": [wrong], "negatives": [], "part": "new"}
        for n, question in enumerate(questions)
    ]
    _write(folder, rows)


def bystander(folder: Path, targets: Collection[str], seed: int) -> str:
    """The example of a row that is no target, another one for each seed and the same one every time."""
    others = [row for row in _rows(folder) if row["example"] not in targets]
    return str(min(others, key=lambda row: digest(f"{seed} {row['question']}"))["example"])


def exploding(folder: Path) -> None:
    """The highest rate that a recipe may name, unclipped, and saved at full strength."""
    adjust(folder, learning_rate=0.1, warm_learning_rate=0.1, clip=1000.0, warmup=0.0, strength=1.0)


def stale_base(folder: Path, other: Path) -> None:
    """The run is trained on `other` instead of the base model that serves, as after a switch that nobody told it of."""
    _configure(folder, base=str(other), champion=None, parent=None)


def another_base(base: Path, folder: Path) -> Path:
    """A base model that is almost the one in `base`: one of its weights is a hundredth larger."""
    from safetensors.torch import load_file, save_file

    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".tmp")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(base, aside)
        file = next(aside.glob("*.safetensors"))
        weights = load_file(str(file))
        name = next(name for name in sorted(weights) if weights[name].ndim == 2)
        weights[name] = weights[name] * 1.01
        save_file(weights, str(file), metadata={"format": "pt"})
        aside.rename(folder)
    return folder


def planted(train: Callable[..., None], plant: Callable[[Path], None]) -> Callable[..., None]:
    """`train`, with something done to the folder before its first step."""

    def both(folder: Path, progress: Any) -> None:
        plant(folder)
        train(folder, progress)

    return both


def here(folder: Path, _progress: Any) -> None:
    """The training child's own work in this process: the same code without the seconds of its start."""
    import contextlib
    import io

    from finetune.trainer import train

    with contextlib.redirect_stdout(io.StringIO()):
        train(folder)


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _configure(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def adjust(folder: Path, **changes: Any) -> None:
    """Settings of the run's recipe are others."""
    recipe = json.loads((folder / "config.json").read_text())["recipe"]
    _configure(folder, recipe=recipe | changes)
