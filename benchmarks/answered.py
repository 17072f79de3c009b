"""Domains that a generator may learn one after another, each asked and answered in its own words.

    made      colours of things, questions that the passage does not answer and that must be refused, and how often a
              thing is cleaned; made up here
    public    news by their topic, articles by what they describe, reviews by what people felt (REPRISE_EVAL_DATA)
    a file    of JSON lines {"slice", "question", "passage", "answer"}

Rows have one passage, and an answer that cites it. Rows made up here that are held out are drawn as the others are: a
question may have been practised, with another passage and another answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import data
from finetune.generator.rows import Said, TrainRow
from kernel.ids import digest
from kernel.types import Passage

MADE, PUBLIC = "made", "public"
CHARS = 300
"""Of a passage, and fewer where a small model has no room for them behind the instructions."""
_PUBLIC = {
    "agnews": ("What is the news about?", "The topic is {}."),
    "dbpedia": ("What kind of thing does the article describe?", "It describes a thing of the kind {}."),
    "yelp": ("How did the visitor feel?", "As the review says, {}."),
}
_THINGS = ("door", "lamp", "chair", "table", "fence", "roof", "gate", "wall", "bell", "clock", "stove", "shelf")
_COLOURS = ("red", "blue", "green", "black", "white", "brown", "grey", "pink")
_PLACES = ("kitchen", "hall", "garden", "cellar", "yard", "barn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Rows to practise and rows held out, all answered in one way."""

    name: str
    train: tuple[TrainRow, ...]
    held_out: tuple[TrainRow, ...]


def domains(source: str, train: int, held_out: int) -> list[Domain]:
    """`made`, `public` or those of a file, in the order in which they are learnt; at most so many rows of each sort."""
    if source == MADE:
        return [_parted(name, rows, train, held_out) for name, rows in _made(train + held_out).items()]
    if source != PUBLIC:
        by_slice: dict[str, list[TrainRow]] = {}
        for n, told in enumerate(data.jsonl(Path(source))):
            row = _row(f"row-{n}", told["question"], told["passage"], told["answer"])
            by_slice.setdefault(told["slice"], []).append(row)
        return [_parted(name, rows, train, held_out) for name, rows in by_slice.items()]
    found = data.folder()
    if found is None:
        raise SystemExit("set REPRISE_EVAL_DATA to the folder of the evaluation data")
    made = []
    for name, (question, answer) in _PUBLIC.items():
        parts: dict[str, tuple[TrainRow, ...]] = {}
        for part, most in (("train", train), ("test", held_out)):
            told = data.jsonl(found / "cl_benchmark" / f"{name}.{part}.jsonl")
            chosen = sorted(range(len(told)), key=lambda n: digest(f"{name}:{part}:{n}"))[:most]
            parts[part] = tuple(
                _row(f"{name}-{part}-{n}", question, _plain(told[n]["sentence"]), answer.format(told[n]["label"]))
                for n in chosen
            )
        made.append(Domain(name=name, train=parts["train"], held_out=parts["test"]))
    return made


def fitted(found: Sequence[Domain], model: str) -> list[Domain]:
    """The domains with passages that were shortened until their row fits the model."""
    from transformers import AutoConfig, AutoTokenizer

    from finetune.generator.tokens import tokenised

    tokenizer, most = AutoTokenizer.from_pretrained(model), AutoConfig.from_pretrained(model).max_position_embeddings

    def fits(row: TrainRow) -> TrainRow:
        while tokenised(row, tokenizer, [tokenizer.eos_token_id], most) is None:
            text = row.passages[0].text[:-12].rpartition(" ")[0]
            if not text:
                raise SystemExit(f"{model!r} reads {most} tokens, and no row fits")
            row = replace(row, passages=(replace(row.passages[0], text=text, end=len(text)),))
        return row

    return [replace(d, train=tuple(map(fits, d.train)), held_out=tuple(map(fits, d.held_out))) for d in found]


def _parted(name: str, rows: Sequence[TrainRow], train: int, held_out: int) -> Domain:
    out = min(held_out, len(rows) // 3)
    return Domain(name=name, train=tuple(rows[out:][:train]), held_out=tuple(rows[:out]))


def _plain(sentence: str) -> str:
    text = " ".join(sentence.replace("Title:", "").replace("Text:", "").split())
    return text if len(text) <= CHARS else text[:CHARS].rpartition(" ")[0]


def _row(example: str, question: str, text: str, answer: str | None) -> TrainRow:
    """With an answer that the passage supports; None is a refusal."""
    passage = Passage(
        chunk=example, document="d", name="a.txt", title="", version=1, start=0, end=len(text), text=text
    )  # fmt: skip
    said, gold = ((Said(text=answer, cites=(example,)),), frozenset({example})) if answer else ((), frozenset[str]())
    return TrainRow(example=example, question=question, passages=(passage,), gold=gold, chosen=said)


def _made(count: int) -> dict[str, list[TrainRow]]:
    """Three domains, told by the words of their questions and answers."""
    chance, rows = random.Random("rows"), dict[str, list[TrainRow]](colours=[], refusals=[], cleaning=[])
    for n in range(count):
        thing, place, colour = chance.choice(_THINGS), chance.choice(_PLACES), chance.choice(_COLOURS)
        days, text = chance.randrange(2, 30), f"The {thing} in the {place} is {colour}."
        asked = f"What colour is the {thing} in the {place}?"
        rows["colours"].append(_row(f"colours-{n}", asked, text, f"It is {colour}."))
        rows["refusals"].append(_row(f"refusals-{n}", f"Who made the {thing} in the {place}?", text, None))
        asked, text = f"How often is the {thing} cleaned?", f"Clean the {thing} every {days} days."
        rows["cleaning"].append(_row(f"cleaning-{n}", asked, text, f"Every {days} days, as the rules say."))
    return rows


def reader(folder: Path, found: Sequence[Domain]) -> str:
    """A small random model that reads the words of these rows, built once."""
    if not (folder / "config.json").is_file():
        from tests.tiny import save_reader

        rows = [row for d in found for row in (*d.train, *d.held_out)]
        words = [text for row in rows for text in (row.question, row.passages[0].text, *(s.text for s in row.chosen))]
        save_reader(folder, words)
    return str(folder)
