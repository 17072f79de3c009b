"""From a mix to a training set on disk: questions, what is relevant, hard negatives, and the frozen vectors of both.

This is the last step of a retrain that needs the index; the training child reads the folder alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import models
from sqlalchemy import select

from finetune.files import write_json
from finetune.practised import leave_out
from finetune.recipe import RetrieverRecipe
from kernel.database import Database, listed
from kernel.ids import now_ms
from kernel.index.schema import DENSE, keyword, visible
from kernel.ports import VectorIndex
from kernel.types import When
from rehearsal.mix import Mix
from rehearsal.tables import Example, Ground

ASKED = 80
"""Chunks nearest to a question that are looked at."""
POOL = 64
"""How many of them may become its hard negatives; training chooses among them, anew as it goes on."""
SAME = 0.95
"""A chunk this like a relevant one (cosine) says the same: it is no negative."""
_BATCH = 64


def materialise(
    db: Database,
    index: VectorIndex,
    mix: Mix,
    folder: Path,
    *,
    recipe: RetrieverRecipe,
    base: str,
    parent: str | None,
    parent_path: str | None,
    base_name: str | None = None,
    shuffle: random.Random | None = None,
    without: Sequence[str] = (),
) -> None:
    """Write `train.jsonl`, `vectors.npy`, `points.json` and, last, `config.json` into the run's folder.

    `points.json` names the chunk behind each row of the vectors, for lineage. Chunks of the documents `without` are no
    negatives either. Which rows cannot be trained on is noted beside them (`practised`).

    With `shuffle` the relevant chunks of all questions are dealt out anew: a control that must not pass the gate.
    """
    rows = _rows(db, mix)
    stored = _vectors(index, {p for row in rows for p in (row["point"], *row["points"])})
    rows = [row for row in rows if row["point"] in stored]
    relevant = [row["points"] for row in rows]
    if shuffle is not None:
        shuffle.shuffle(relevant)
    numbers: dict[str, int] = {}
    vectors: list[np.ndarray] = []

    def number(point: str, vector: np.ndarray) -> int:
        if point not in numbers:
            numbers[point] = len(vectors)
            vectors.append(vector)
        return numbers[point]

    lines, licences = [], set()
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        near = _nearest(index, mix, batch, stored, without)
        for row, points, found in zip(batch, relevant[start : start + _BATCH], near, strict=True):
            positives = [p for p in points if p in stored]
            if not positives:
                continue
            others = [(p, v) for p, v in found if p not in points]
            apart = tell_apart(np.stack([stored[p] for p in positives]), [v for _, v in others])
            away = [others[i] for i in apart]
            if row["licence"]:
                licences.add(row["licence"])
            lines.append(
                {
                    "example": row["example"],
                    "question": row["question"],
                    "positives": [number(p, stored[p]) for p in positives],
                    "negatives": [number(p, v) for p, v in away],
                    "weight": 1.0,
                    "part": row["part"],
                }
            )
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    np.save(
        folder / "vectors.npy",
        np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 1), np.float32),
    )
    (folder / "points.json").write_text(json.dumps(list(numbers)))
    written, known = {line["example"] for line in lines}, {row["example"] for row in rows}
    why = {
        e: "no passage that stands grounds it" if e in known else "it is gone" for e in (r.example for r in mix.rows)
    }
    leave_out(folder, {example: reason for example, reason in why.items() if example not in written})
    config = {
        "recipe": recipe.to_json(),
        "base": base,
        **({"base_name": base_name} if base_name else {}),
        "champion": parent_path,
        "parent": parent,
        "licences": sorted(licences),
    }
    write_json(folder / "config.json", config)


def tell_apart(positives: np.ndarray, candidates: Sequence[np.ndarray]) -> list[int]:
    """Which candidates, at most `POOL`, do not say the same as one of the positives (p, dimension); in their order."""
    return [i for i, vector in enumerate(candidates) if float((positives @ vector).max()) < SAME][:POOL]


def _rows(db: Database, mix: Mix) -> list[dict[str, Any]]:
    """The mix with what training needs of each example, in the mix's order."""
    ids = [row.example for row in mix.rows]
    with db.read() as session:
        theirs = select(Example).where(Example.id.in_(listed(ids)), Example.status == "approved")
        examples = {e.id: e for e in session.scalars(theirs)}
        grounds: dict[str, list[Ground]] = {}
        for ground in session.scalars(select(Ground).where(Ground.example.in_(listed(ids))).order_by(Ground.id)):
            grounds.setdefault(ground.example, []).append(ground)
    return [
        {
            "example": row.example,
            "part": row.part,
            "question": examples[row.example].question,
            "licence": examples[row.example].licence,
            "workspace": examples[row.example].workspace,
            "point": examples[row.example].point,
            "points": [g.point for g in grounds.get(row.example, [])],
            "documents": sorted({g.document for g in grounds.get(row.example, []) if not g.quote}),
        }
        for row in mix.rows
        if row.example in examples
    ]


def _vectors(index: VectorIndex, points: set[str]) -> dict[str, np.ndarray]:
    ordered = sorted(points)
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(ordered), 512):
        for record in index.retrieve(ordered[start : start + 512], with_vectors=True):
            found[str(record.id)] = np.asarray(record.vector[DENSE], dtype=np.float32)  # type: ignore[index, call-overload]
    return found


def _nearest(
    index: VectorIndex,
    mix: Mix,
    rows: list[dict[str, Any]],
    stored: dict[str, np.ndarray],
    without: Sequence[str],
) -> list[list[tuple[str, np.ndarray]]]:
    """For each row, the visible chunks of its workspace nearest to its question, with their vectors.

    Where a document is relevant as a whole, none of its chunks is among them: only the first ones count as positives,
    and the others are as right.
    """
    rule = visible(When(epoch=mix.epoch, at=now_ms()))
    hidden: list[Any] = [*(rule.must_not or []), *([keyword("doc", *without)] if without else [])]  # type: ignore[misc]
    requests = []
    for row in rows:
        must: list[Any] = [keyword("kind", "chunk"), keyword("ws", row["workspace"]), *(rule.must or [])]  # type: ignore[misc]
        ours = [keyword("doc", *row["documents"])] if row["documents"] else []
        requests.append(
            models.QueryRequest(
                query=stored[row["point"]].tolist(),
                using=DENSE,
                filter=models.Filter(must=must, must_not=[*hidden, *ours]),
                limit=ASKED,
                with_vector=True,
            )
        )
    return [
        [(str(p.id), np.asarray(p.vector[DENSE], dtype=np.float32)) for p in answer]  # type: ignore[index, call-overload]
        for answer in index.query(requests)
    ]
