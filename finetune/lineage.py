"""Lineage: which runs and adapters saw what, and what a delete takes out of run folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from finetune.registry import Registry
from kernel.database import Database
from rehearsal.tables import Ground, MixRow

RUNS = "runs"
REDACTED = "[deleted]"


class RunEraser:
    """`ingest.delete.Eraser`: takes a document's words out of run folders, and names the adapters that saw them."""

    def __init__(self, db: Database, registry: Registry, home: Path) -> None:
        self._db, self._registry, self._home = db, registry, home

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        with self._db.read() as session:
            examples = set(session.scalars(select(Ground.example).where(Ground.document == document)))
            runs = sorted(set(session.scalars(select(MixRow.run).where(MixRow.example.in_(examples)))))
        redacted = sum(_redact(self._home / RUNS / run / "train.jsonl", examples) for run in runs)
        return {"adapters_trained_on_it": self._registry.trained_on(runs), "training_rows_redacted": redacted}


def _redact(file: Path, examples: set[str]) -> int:
    """Blank the questions of `examples` in a run's training rows; written aside and renamed. How many."""
    if not file.exists():
        return 0
    lines, count = [], 0
    for line in file.read_text().splitlines():
        row = json.loads(line)
        if row["example"] in examples and row["question"] != REDACTED:
            row["question"] = REDACTED
            count += 1
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    if count:
        aside = file.with_suffix(".tmp")
        aside.write_text("".join(lines))
        aside.replace(file)
    return count
