"""What a training run of a generator is given: rows of question, passages and answers, checked when they are read.

A run's folder, as whoever starts a training writes it:

    config.json      {"recipe": {...}, "base": folder or name, "base_name": for the manifest, "champion": adapter folder
                      or null, "parent": the champion's name or null, "licences": [...], "left_out": {reason: n}}
    train.jsonl      a line per row: {"example", "part", "question", "passages": [chunk, ...], "gold": [chunk, ...],
                      "chosen": [sentence, ...], "rejected": [sentence, ...] or null, "label": true or false}
    passages.jsonl   a line per passage, as `kernel.types.Passage` has it

A sentence is {"text", "cites": [chunk, ...]}; no sentence at all is a refusal. Passages stand in the order in which
they are numbered, and marks are not written down: a passage that has no room moves those behind it. Passages are in a
file of their own, which goes when training ends and loses its lines when their document is deleted; a row without its
gold passages is no row any more.

It knows no torch, so that the process that starts a training can check a folder before it does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finetune.files import write_json
from finetune.generator.recipe import GeneratorRecipe
from kernel.errors import NotFound, UserError
from kernel.types import Passage, Sentence

Part = Literal["new", "recalled", "vote"]
ROWS, PASSAGES, CONFIG = "train.jsonl", "passages.jsonl", "config.json"
TRAINER = ("-m", "finetune.generator.trainer")
"""What trains on such a folder, as arguments of Python."""
_HOLDS = "a run folder holds config.json, train.jsonl and passages.jsonl; write it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sentence and the chunks it cites."""

    text: str
    cites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRow:
    """One question to practise, with the passages in the order of their numbers."""

    example: str
    question: str
    passages: tuple[Passage, ...]
    gold: frozenset[str]
    """Chunks that answer it; never left out for room."""
    chosen: tuple[Said, ...]
    """What should be written; empty is a refusal."""
    rejected: tuple[Said, ...] | None = None
    """What should rather not be written, of a pair."""
    label: bool = True
    """Whether `chosen` was approved of, where there are votes."""
    part: Part = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything about a run but its data."""

    recipe: GeneratorRecipe
    base: str
    base_name: str
    champion: Path | None = None
    parent: str | None = None
    licences: tuple[str, ...] = ()
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSet:
    """The rows of a run. `digest` is over the bytes of train.jsonl and passages.jsonl, in this order."""

    rows: tuple[TrainRow, ...]
    digest: str
    broken: tuple[str, ...] = ()
    """The example of each row whose passages are gone."""


def sentences(said: Sequence[Said], passages: Sequence[Passage]) -> tuple[Sentence, ...]:
    """The sentences with marks, as they number these passages. A chunk that is not among them is not cited."""
    numbers = {passage.chunk: mark for mark, passage in enumerate(passages, 1)}
    return tuple(Sentence(text=s.text, marks=tuple(numbers[c] for c in s.cites if c in numbers)) for s in said)


def write_rows(folder: Path, rows: Iterable[TrainRow]) -> None:
    """train.jsonl and passages.jsonl, each passage once."""
    lines, passages = list[str](), dict[str, Passage]()
    for row in rows:
        passages |= {p.chunk: p for p in row.passages}
        lines.append(json.dumps(_as_json(row), ensure_ascii=False) + "\n")
    texts = [json.dumps(dataclasses.asdict(p), ensure_ascii=False) + "\n" for p in passages.values()]
    (folder / PASSAGES).write_text("".join(texts), encoding="utf-8")
    (folder / ROWS).write_text("".join(lines), encoding="utf-8")


def write_config(folder: Path, config: RunConfig) -> None:
    """config.json, whole or not at all."""
    data = {
        "kind": "generator",
        "recipe": config.recipe.to_json(),
        "base": config.base,
        "base_name": config.base_name,
        "champion": str(config.champion) if config.champion else None,
        "parent": config.parent,
        "licences": list(config.licences),
        "left_out": dict(config.left_out),
    }
    write_json(folder / CONFIG, data)


def read_config(run: Path) -> RunConfig:
    """The run's config.json.

    Raises:
        NotFound: the folder has none.
        UserError: it is not what the docstring of this module says.
    """
    if not (run / CONFIG).is_file():
        raise NotFound(f"there is no {CONFIG} in {str(run)!r}", hint=_HOLDS)
    try:
        data = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{CONFIG} is not JSON: {error}", hint="write it again", code="bad_run") from error
    if not isinstance(data, dict) or not isinstance(data.get("base"), str):
        raise UserError(f"{CONFIG} names no base model", hint='"base" is its folder or name', code="bad_run")
    return RunConfig(
        recipe=GeneratorRecipe.from_json(data.get("recipe") or {}),
        base=data["base"],
        base_name=str(data.get("base_name") or Path(data["base"]).name),
        champion=Path(data["champion"]) if data.get("champion") else None,
        parent=data.get("parent"),
        licences=tuple(data.get("licences") or ()),
        left_out=dict(data.get("left_out") or {}),
    )


def read_train_set(run: Path) -> TrainSet:
    """The rows of the run with their passages.

    Raises:
        NotFound: a file is missing.
        UserError: rows that cannot be trained on; the first ten problems are named at once.
    """
    for name in (ROWS, PASSAGES):
        if not (run / name).is_file():
            raise NotFound(f"there is no {name} in {str(run)!r}", hint=_HOLDS)
    problems, rows, broken = list[str](), list[TrainRow](), list[str]()
    passages = {p.chunk: p for p in (Passage(**data) for _, data in _lines(run / PASSAGES, problems))}
    for number, data in _lines(run / ROWS, problems):
        try:
            if set(data["gold"]) <= passages.keys():
                rows.append(_row(data, passages))
            else:
                broken.append(str(data["example"]))
        except (ValueError, KeyError, TypeError) as error:
            said = f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
            problems.append(f"{ROWS}, line {number}: {said}")
    if not rows and not problems:
        problems = [f"{ROWS} holds no rows that can be trained on"]
    if problems:
        shown = [*problems[:10], *([f"and {len(problems) - 10} more"] if len(problems) > 10 else [])]
        raise UserError(
            "\n  ".join(["the run cannot be trained on:", *shown]),
            hint="write the folder again from a fresh mix",
            code="bad_run",
        )
    seen = hashlib.sha256()
    for name in (ROWS, PASSAGES):
        seen.update((run / name).read_bytes())
    return TrainSet(rows=tuple(rows), digest=seen.hexdigest(), broken=tuple(broken))


def _lines(file: Path, problems: list[str]) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            try:
                found.append((number, json.loads(line)))
            except ValueError as error:
                problems.append(f"{file.name}, line {number}: {error}")
    return found


def _row(data: Mapping[str, Any], passages: Mapping[str, Passage]) -> TrainRow:
    if not str(data["question"]).strip():
        raise ValueError("the question is empty")
    if data.get("part", "new") not in ("new", "recalled", "vote"):
        raise ValueError(f"part {data['part']!r} is none of new, recalled and vote")
    return TrainRow(
        example=str(data["example"]),
        question=str(data["question"]),
        passages=tuple(passages[c] for c in data["passages"] if c in passages),
        gold=frozenset(data["gold"]),
        chosen=_said(data["chosen"]),
        rejected=None if data.get("rejected") is None else _said(data["rejected"]),
        label=bool(data.get("label", True)),
        part=data.get("part", "new"),
    )


def _said(data: Sequence[Mapping[str, Any]]) -> tuple[Said, ...]:
    return tuple(Said(text=str(s["text"]), cites=tuple(s["cites"])) for s in data)


def _as_json(row: TrainRow) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("example", "part", "question", "label")},
        "passages": [p.chunk for p in row.passages],
        "gold": sorted(row.gold),
        "chosen": [dataclasses.asdict(s) for s in row.chosen],
        "rejected": None if row.rejected is None else [dataclasses.asdict(s) for s in row.rejected],
    }
