"""A small world of facts for tests of generators: things with a colour, and things that are cleaned every so often.

Two slices that are answered in different words, so that learning one can be told from forgetting the other. Questions
and answers are few words, and a model of a hundred thousand weights learns them in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import RunConfig, Said, TrainRow, write_config, write_rows
from kernel.types import Passage
from tests.tiny import save_reader

COLOURS = ("red", "blue", "green", "black", "white", "brown", "grey", "pink")
THINGS = ("door", "lamp", "chair", "table", "fence", "roof", "gate", "wall", "bell", "clock", "stove", "shelf")
PLACES = ("north", "south", "east", "west")
RECIPE = {
    "learning_rate": 5e-3,
    "epochs": 3,
    "batch": 8,
    "micro_batch": 8,
    "rank": 8,
    "threads": 1,
    "min_pairs": 4,
    "min_votes": 4,
}
"""Fast and high, as the model is small and random."""


def passage(number: int, text: str) -> Passage:
    return Passage(
        chunk=f"chunk-{number}", document="doc", name="house.md", title="House", version=1, start=0, end=len(text),
        text=text,
    )  # fmt: skip


def row(number: int, question: str, text: str, answer: str) -> TrainRow:
    gold = passage(number, text)
    said = Said(text=answer, cites=(gold.chunk,))
    return TrainRow(
        example=f"ex-{number}", question=question, passages=(gold,), gold=frozenset({gold.chunk}), chosen=(said,)
    )


def colours(count: int, seed: int) -> list[TrainRow]:
    """One slice: what colour something has."""
    chance, rows = random.Random(seed), []
    for n in range(count):
        thing, place, colour = chance.choice(THINGS), chance.choice(PLACES), chance.choice(COLOURS)
        question = f"What colour is the {thing} in the {place}?"
        rows.append(row(1000 * seed + n, question, f"The {thing} in the {place} is {colour}.", f"It is {colour}."))
    return rows


def cleaning(count: int, seed: int) -> list[TrainRow]:
    """Another slice: how often something is cleaned."""
    chance, rows = random.Random(seed), []
    for n in range(count):
        thing, days = chance.choice(THINGS), chance.randrange(2, 10)
        question, text = f"How often is the {thing} cleaned?", f"Clean the {thing} every {days} days."
        rows.append(row(1000 * seed + n, question, text, f"Every {days} days, as the rules say."))
    return rows


def texts(rows: Sequence[TrainRow]) -> list[str]:
    """Every word that a model has to know."""
    said = [s.text for r in rows for s in r.chosen]
    return [*(r.question for r in rows), *(p.text for r in rows for p in r.passages), *said]


def save_model(folder: Path) -> str:
    """A model that reads this world."""
    return save_reader(folder, texts([*colours(200, 1), *cleaning(200, 2)]))


def write_run(folder: Path, model: str, rows: Sequence[TrainRow], champion: Path | None = None, **recipe: Any) -> Path:
    """A run's folder, ready to be trained."""
    folder.mkdir()
    write_rows(folder, rows)
    settings = GeneratorRecipe.from_json({**RECIPE, **recipe})
    write_config(
        folder,
        RunConfig(
            recipe=settings, base=model, base_name="tiny", champion=champion, parent="before" if champion else None
        ),
    )
    return folder
