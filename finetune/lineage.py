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
    """Drop the rows of `examples` from a run's training rows, so that nobody trains on them again. How many."""
    if not file.exists():
        return 0
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["example"] not in examples]
    if len(kept) < len(lines):
        aside = file.with_suffix(".tmp")
        aside.write_text("".join(kept))
        aside.replace(file)
    return len(lines) - len(kept)
