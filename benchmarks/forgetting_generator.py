"""What a generator adapter forgets, with rehearsal and without: slice after slice, on any local causal language model.

    python -m benchmarks.forgetting_generator --model FOLDER
    python -m benchmarks.forgetting_generator --model FOLDER --rows 400 --epochs 1 --seeds 5

For each seed an adapter learns slice A; then others go on from it with slice B alone, with B and a share rho of A, and
with B alone for as many steps (the control: more steps are not what keeps A). Joint training on both is the peer. Rows
are made up here, in two styles of answering, behind the prompt that is served; with --data FILE they are rows of JSON
lines {"slice", "question", "passage", "answer"} of the two slices that have most of them. Every training is the
platform's own child process on a folder of its own. What is printed is the negative log-likelihood per token of the
right answers to held-out questions of both slices, its mean over seeds with smallest and largest, and seconds of
training.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune.child import train
from finetune.generator.kind import TRAINER
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import RunConfig, Said, TrainRow, write_config, write_rows
from kernel.types import BASE, Ask, Passage, Sentence, silent
from rehearsal.policies import n_old
from retrieval.generators import prompt
from retrieval.generators.transformers import TransformersGenerator

RHOS = (0.05, 0.1, 0.2, 0.5)
_THINGS = ("door", "lamp", "chair", "table", "fence", "roof", "gate", "wall", "bell", "clock", "stove", "shelf")
_COLOURS = ("red", "blue", "green", "black", "white", "brown", "grey", "pink")
_PLACES = ("kitchen", "hall", "garden", "cellar", "yard", "barn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """Rows of both slices, to train on and held out."""

    a: Sequence[TrainRow]
    b: Sequence[TrainRow]
    a_held: Sequence[TrainRow]
    b_held: Sequence[TrainRow]


def main() -> None:
    arguments = _arguments()
    recipe = {"epochs": arguments.epochs, "threads": arguments.threads, "micro_batch": 8}
    if arguments.rate:
        recipe["learning_rate"] = arguments.rate
    figures: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            slices = _read(arguments.data, arguments.rows, seed) if arguments.data else _made(arguments.rows, seed)
            trial = _Trial(Path(folder) / str(seed), arguments.model, recipe, seed, slices)
            for name, told in trial.run().items():
                figures.setdefault(name, []).append(told)
                print(f"seed {seed}  {name:<24} A {told[0]:.3f}  B {told[1]:.3f}  {told[2]:.0f} s", flush=True)
    print(
        f"\n{arguments.model}: {arguments.rows} rows a slice, {arguments.seeds} seeds, NLL per token, lower is better\n"
    )
    print(f"{'':<26}{'A (old)':>9}{'min':>8}{'max':>8}{'B (new)':>10}{'min':>8}{'max':>8}{'train s':>9}")
    for name, told in figures.items():
        old, new, seconds = zip(*told, strict=True)
        row = "".join(f"{statistics.fmean(v):>10.3f}{min(v):>8.3f}{max(v):>8.3f}" for v in (old, new))
        print(f"{name:<25}{row}{statistics.fmean(seconds):>9.0f}")


class _Trial:
    """One seed: every way to learn B after A, and both at once."""

    def __init__(self, folder: Path, model: str, recipe: dict[str, float], seed: int, slices: Slices) -> None:
        self.folder, self.model, self.recipe, self.seed, self.slices = folder, model, recipe, seed, slices
        self.generator = TransformersGenerator(model, max_new_tokens=32)  # nothing is written: more room to read
        self.folder.mkdir()

    def run(self) -> dict[str, tuple[float, float, float]]:
        s, chance = self.slices, random.Random(self.seed)
        found = {"base": (*self._nll(None), 0.0)}
        first, seconds = self._train("A", s.a, None)
        found["A"] = (*self._nll(first), seconds)
        for rho in (0.0, *RHOS):
            old = chance.sample(list(s.a), min(len(s.a), n_old(len(s.b), rho)))
            rows = [*s.b, *(replace(row, part="recalled") for row in old)]
            found[f"A, then B, rho {rho:.2f}"] = self._after(f"rho{rho}", rows, first)
        more = [*s.b, *chance.sample(list(s.b), min(len(s.b), n_old(len(s.b), 0.5)))]
        found["A, then more B (control)"] = self._after("control", more, first)
        found["A and B at once"] = self._after("joint", [*s.a, *s.b], None)
        return found

    def _after(self, name: str, rows: Sequence[TrainRow], start: Path | None) -> tuple[float, float, float]:
        adapter, seconds = self._train(name, rows, start)
        return (*self._nll(adapter), seconds)

    def _train(self, name: str, rows: Sequence[TrainRow], start: Path | None) -> tuple[Path, float]:
        folder = self.folder / name
        folder.mkdir()
        write_rows(folder, rows)
        settings = GeneratorRecipe.from_json({**self.recipe, "seed": self.seed})
        write_config(folder, RunConfig(recipe=settings, base=self.model, base_name="model", champion=start))
        started = time.perf_counter()
        train(folder, silent, TRAINER)
        return folder / "adapter", time.perf_counter() - started

    def _nll(self, adapter: Path | None) -> tuple[float, float]:
        name = BASE
        if adapter is not None:
            name = adapter.parent.name
            self.generator.load_adapter(name, str(adapter))
        means = []
        for rows in (self.slices.a_held, self.slices.b_held):
            each = [
                self.generator.likelihood(
                    Ask(question=row.question, adapter=name),
                    row.passages,
                    prompt.answer([_marked(row)]),
                )
                for row in rows
            ]
            means.append(-statistics.fmean(each))
        return means[0], means[1]


def _marked(row: TrainRow) -> Sentence:
    return Sentence(text=row.chosen[0].text, marks=(1,))


def _row(number: int, question: str, passage: str, answer: str) -> TrainRow:
    gold = Passage(
        chunk=f"c{number}", document="d", name="house.md", title="House", version=1, start=0, end=len(passage),
        text=passage,
    )  # fmt: skip
    said = Said(text=answer, cites=(gold.chunk,))
    return TrainRow(
        example=f"e{number}", question=question, passages=(gold,), gold=frozenset({gold.chunk}), chosen=(said,)
    )


def _made(rows: int, seed: int) -> Slices:
    """Two slices, told by the words of their answers. Held-out rows are drawn apart."""
    chance, number = random.Random(f"rows:{seed}"), iter(range(10**6))

    def a() -> TrainRow:
        thing, place, colour = chance.choice(_THINGS), chance.choice(_PLACES), chance.choice(_COLOURS)
        text = f"The {thing} in the {place} is {colour}."
        return _row(next(number), f"What colour is the {thing} in the {place}?", text, f"It is {colour}.")

    def b() -> TrainRow:
        thing, days = chance.choice(_THINGS), chance.randrange(2, 30)
        text = f"Clean the {thing} every {days} days."
        return _row(next(number), f"How often is the {thing} cleaned?", text, f"Every {days} days, as the rules say.")

    held = max(20, rows // 4)
    return Slices(
        a=[a() for _ in range(rows)],
        b=[b() for _ in range(rows)],
        a_held=[a() for _ in range(held)],
        b_held=[b() for _ in range(held)],
    )


def _read(file: Path, most: int, seed: int) -> Slices:
    by_slice: dict[str, list[TrainRow]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n")):
        if line.strip():
            told = json.loads(line)
            row = _row(number, told["question"], told["passage"], told["answer"])
            by_slice.setdefault(told["slice"], []).append(row)
    one, two = sorted(by_slice.values(), key=len, reverse=True)[:2]
    for rows in (one, two):
        random.Random(f"rows:{seed}").shuffle(rows)
    held = [max(1, min(len(rows) // 5, most // 4)) for rows in (one, two)]
    return Slices(a=one[held[0] :][:most], b=two[held[1] :][:most], a_held=one[: held[0]], b_held=two[: held[1]])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", required=True, help="folder or name of a causal language model")
    parser.add_argument("--data", type=Path, help="JSON lines of two slices; made up where left out")
    parser.add_argument("--rows", type=int, default=120, help="rows of a slice")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, help="learning rate; the recipe's for the size of the model if left out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of the training; a tiny model is slower with more")
    return parser.parse_args()


if __name__ == "__main__":
    main()
