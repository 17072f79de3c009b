"""What a training run is given, checked before anything heavy is loaded, and how it is cut into batches.

A run's folder, as whoever starts a training writes it:

    config.json     {"recipe": {...}, "base": folder or name, "champion": adapter folder or null,
                     "parent": the champion's name or null, "base_name": for the manifest, "licences": [...]}
    train.jsonl     a line per question: {"example": id, "question": text, "positives": [row, ...],
                     "negatives": [row, ...], "weight": 1.0, "part": "new" or "recalled"}
    vectors.npy     float32 (n, dimension): frozen document vectors of the base model; the rows above

It knows numpy and no torch, so that the process that starts a training can check a folder before it does.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from finetune.recipe import RetrieverRecipe
from kernel.errors import NotFound, UserError

Part = Literal["new", "recalled"]
ROWS, VECTORS, CONFIG = "train.jsonl", "vectors.npy", "config.json"
_HOLDS = "a run folder holds config.json, train.jsonl and vectors.npy; write it again"
_MOST_POSITIVES = 8
"""Of one question in one batch; a question with more of them shows others each epoch."""
_MANY = 50
"""Batches are cut from runs of so many batches sorted by length: little padding, and still shuffled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRow:
    """One question to practise. `positives` and `negatives` are rows of the vectors, without overlap.

    `negatives` is a pool, nearest to the question first; an epoch takes the hardest of it.
    """

    example: str
    question: str
    positives: tuple[int, ...]
    negatives: tuple[int, ...] = ()
    weight: float = 1.0
    part: Part = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything about a run but its data."""

    recipe: RetrieverRecipe
    base: str
    base_name: str
    """What the manifest calls the base model."""
    champion: Path | None = None
    parent: str | None = None
    licences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSet:
    """The data of a run. `digest` is over the bytes of train.jsonl and vectors.npy, in this order."""

    rows: tuple[TrainRow, ...]
    vectors: np.ndarray = field(repr=False)
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are trained together, and which documents each of them is drawn to and pushed from.

    `candidates` (c,) are rows of the vectors, each once. `positive` and `negative` (b, c) say what a
    candidate is to a row; where both are False it may be relevant for all we know, and is left out of the
    sum.
    """

    rows: tuple[int, ...]
    candidates: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def read_config(run: Path) -> RunConfig:
    """The run's config.json.

    Raises:
        NotFound: the folder has none.
        UserError: it is not what the docstring of this module says.
    """
    file = run / CONFIG
    if not file.is_file():
        raise NotFound(f"there is no {CONFIG} in {str(run)!r}", hint=_HOLDS)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{CONFIG} is not JSON: {error}", hint="write it again", code="bad_run") from error
    if not isinstance(data, dict) or not isinstance(data.get("base"), str):
        raise UserError(f"{CONFIG} names no base model", hint='"base" is its folder or name', code="bad_run")
    champion = data.get("champion")
    return RunConfig(
        recipe=RetrieverRecipe.from_json(data.get("recipe") or {}),
        base=data["base"],
        base_name=str(data.get("base_name") or Path(data["base"]).name),
        champion=Path(champion) if champion else None,
        parent=data.get("parent"),
        licences=tuple(data.get("licences") or ()),
    )


def read_train_set(run: Path) -> TrainSet:
    """Rows and vectors of the run, checked against each other.

    Raises:
        NotFound: a file is missing.
        UserError: rows or vectors that cannot be trained on; the first ten problems are named at once.
    """
    for name in (ROWS, VECTORS):
        if not (run / name).is_file():
            raise NotFound(f"there is no {name} in {str(run)!r}", hint=_HOLDS)
    vectors = np.load(run / VECTORS, allow_pickle=False)
    problems = _wrong_vectors(vectors)
    rows: list[TrainRow] = []
    for number, line in enumerate((run / ROWS).read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            try:
                rows.append(_row(json.loads(line), len(vectors)))
            except (ValueError, KeyError, TypeError) as error:
                problems.append(f"{ROWS}, line {number}: {_said(error)}")
    if not problems:
        problems = _wrong_together(rows)
    if problems:
        shown = [*problems[:10], *([f"and {len(problems) - 10} more"] if len(problems) > 10 else [])]
        raise UserError(
            "\n  ".join(["the run cannot be trained on:", *shown]),
            hint="write the folder again from a fresh mix",
            code="bad_run",
        )
    return TrainSet(rows=tuple(rows), vectors=vectors, digest=_digest(run))


def steps_per_epoch(rows: int, batch: int) -> int:
    """Batches in one epoch of `rows` rows."""
    return math.ceil(rows / batch)


def batches(rows: Sequence[TrainRow], recipe: RetrieverRecipe, epoch: int) -> Iterator[Batch]:
    """The batches of one epoch, each row once; the same seed and epoch give the same in the same order."""
    rng = np.random.default_rng((recipe.seed, epoch))
    for chosen in _cut(rows, recipe.batch, rng):
        yield compose(rows, chosen, recipe.hard_negatives, rng)


def compose(rows: Sequence[TrainRow], chosen: Sequence[int], hard_negatives: int, rng: np.random.Generator) -> Batch:
    """One batch of the `chosen` rows.

    A row is pushed from its own hard negatives and from the positives of the others; but the positives of a
    row that shares a positive with it are left out, since they may well answer it too (false negatives).
    """
    shown = [_some(rows[i].positives, _MOST_POSITIVES, rng) for i in chosen]
    hard = [_some(rows[i].negatives, hard_negatives, rng) for i in chosen]
    candidates = np.unique(np.concatenate([np.asarray(s, dtype=np.int64) for s in (*shown, *hard)]))
    offered, pushed = _among(candidates, shown), _among(candidates, hard)
    mine = _among(candidates, [rows[i].positives for i in chosen])
    kin = _meet(mine, mine.T)  # rows (b, b) that share a positive, and each row with itself
    negative = (pushed | _meet(~kin, offered)) & ~_meet(kin, mine)
    return Batch(rows=tuple(chosen), candidates=candidates, positive=mine, negative=negative)


# --- private ------------------------------------------------------------------------------------


def _among(candidates: np.ndarray, chosen: Sequence[Sequence[int]]) -> np.ndarray:
    return np.stack([np.isin(candidates, some) for some in chosen])


def _meet(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Boolean matrix product: True where some k has left[i, k] and right[k, j]."""
    product: np.ndarray = left.astype(np.float32) @ right.astype(np.float32) > 0
    return product


def _cut(rows: Sequence[TrainRow], batch: int, rng: np.random.Generator) -> list[list[int]]:
    """Row numbers of each batch; sizes differ by one at most, so that no batch is left with a lonely row."""
    order = rng.permutation(len(rows))
    count = steps_per_epoch(len(rows), batch)
    stretches = np.array_split(order, math.ceil(count / _MANY))
    by_length = [s[np.argsort([len(rows[i].question) for i in s], kind="stable")] for s in stretches]
    cut = [part.tolist() for part in np.array_split(np.concatenate(by_length), count)]
    return [cut[i] for i in rng.permutation(count)]


def _some(values: Sequence[int], most: int, rng: np.random.Generator) -> Sequence[int]:
    if len(values) <= most:
        return values
    return [values[i] for i in sorted(rng.choice(len(values), most, replace=False))]


def _row(data: Mapping[str, Any], documents: int) -> TrainRow:
    positives = list(dict.fromkeys(data["positives"]))
    negatives = list(dict.fromkeys(data.get("negatives") or ()))
    outside = [p for p in (*positives, *negatives) if type(p) is not int or not 0 <= p < documents]
    weight = float(data.get("weight", 1.0))
    part: Part = data.get("part", "new")
    if outside:
        raise ValueError(f"{outside[0]!r} is no row of {VECTORS}, which has {documents}")
    if not positives:
        raise ValueError("no positives")
    if not str(data["question"]).strip():
        raise ValueError("the question is empty")
    if not (math.isfinite(weight) and weight > 0):
        raise ValueError(f"weight {weight!r} is not a positive number")
    if part not in ("new", "recalled"):
        raise ValueError(f"part {part!r} is neither 'new' nor 'recalled'")
    return TrainRow(
        example=str(data["example"]),
        question=str(data["question"]),
        positives=tuple(positives),
        negatives=tuple(n for n in negatives if n not in positives),
        weight=weight,
        part=part,
    )


def _wrong_vectors(vectors: np.ndarray) -> list[str]:
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not len(vectors):
        return [f"{VECTORS} is {vectors.dtype} {vectors.shape}, expected float32 (documents, dimension)"]
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        return [f"{VECTORS}: {len(bad)} rows are not finite, the first is row {bad[0]}"]
    off = np.flatnonzero(np.abs(np.linalg.norm(vectors, axis=1) - 1) > 0.01)
    return [f"{VECTORS}: {len(off)} rows are not of length 1, the first is row {off[0]}"] if len(off) else []


def _wrong_together(rows: Sequence[TrainRow]) -> list[str]:
    if not rows:
        return [f"{ROWS} holds no rows"]
    twice = len(rows) - len({row.example for row in rows})
    if twice:
        return [f"{twice} examples stand in {ROWS} more than once"]
    if not any(row.negatives for row in rows) and len({row.positives for row in rows}) == 1:
        return ["all rows have the same positives and there are no negatives: nothing to tell apart"]
    return []


def _digest(run: Path) -> str:
    seen = hashlib.sha256()
    for name in (ROWS, VECTORS):
        with (run / name).open("rb") as stream:
            while block := stream.read(1 << 20):
                seen.update(block)
    return seen.hexdigest()


def _said(error: Exception) -> str:
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
