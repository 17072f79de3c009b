"""The record of runs: their rows and folders, as people and the retrainer read them. It starts nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from finetune.tables import Run
from kernel.database import Database
from kernel.errors import NotFound, Refused
from kernel.ids import now_ms
from rehearsal.tables import Example

RUNS = "runs"
"""The folder of all runs, in the home folder."""


class Runs:
    """Runs by id. A run's folder is the record; its row is the state."""

    def __init__(self, db: Database, home: Path) -> None:
        self._db, self._home = db, home

    def folder(self, run: str) -> Path:
        return self._home / RUNS / run

    def get(self, run: str) -> Run:
        with self._db.read() as session:
            found = session.get(Run, run)
        if found is None:
            raise NotFound(f"no run {run!r}", hint="the Adapters page and `GET /v1/retrains` list them")
        return found

    def fail(self, run: str, error: dict[str, str]) -> None:
        with self._db.write() as session:
            session.execute(update(Run).where(Run.id == run).values(state="failed", error=error, finished=now_ms()))

    def result(self, run: str) -> dict[str, Any]:
        """The JSON of `reprise retrain`."""
        row = self.get(run)
        manifest = self.folder(run) / "manifest.json"
        return {
            "run": run,
            "kind": row.kind,
            "state": row.state,
            "adapter": row.adapter if row.state in ("accepted", "rejected") else None,
            "parent": row.parent,
            "options": row.options,
            "workspace": row.workspace,
            "manifest": str(manifest) if manifest.exists() else None,
            "metrics": row.metrics,
            "verdict": row.verdict,
            "error": row.error,
            "seconds": round(((row.finished or now_ms()) - row.created) / 1000, 1),
        }

    def listing(self) -> list[dict[str, Any]]:
        """Newest first."""
        with self._db.read() as session:
            ids = list(session.scalars(select(Run.id).order_by(Run.created.desc()).limit(100)))
        return [self.result(run) for run in ids]

    def manifest(self, run: str) -> dict[str, Any]:
        """The mix of a run, each row with its question if that is still known."""
        self.get(run)
        file = self.folder(run) / "manifest.json"
        if not file.exists():
            raise NotFound(f"{run!r} has no mix yet", hint="it is drawn when the run starts")
        mix = read_json(file)
        with self._db.read() as session:
            ids = [row["example"] for row in mix["rows"]]
            asked = select(Example.id, Example.question).where(Example.id.in_(ids))
            known = dict(session.execute(asked).all())
        for row in mix["rows"]:
            row["question"] = known.get(row["example"])
        return mix

    def verdict(self, run: str) -> dict[str, Any]:
        """The gate's verdict, from the stored report.

        Raises:
            Refused: the run has none.
        """
        row = self.get(run)
        file = self.folder(run) / "report.json"
        if not file.exists():
            raise Refused(f"{run!r} has no verdict: it is {row.state}", hint="wait for it to end", code="no_verdict")
        return read_json(file)["verdict"]

    def clean_up(self) -> None:
        """Remove folders of runs that no row knows (a crash before the first transaction)."""
        folders = self._home / RUNS
        if folders.is_dir():
            with self._db.read() as session:
                known = set(session.scalars(select(Run.id)))
            for folder in folders.iterdir():
                if folder.name not in known:
                    shutil.rmtree(folder, ignore_errors=True)


def write_json(file: Path, value: Any) -> None:
    """Written aside and renamed: a reader finds the old or the new, never half."""
    aside = file.with_suffix(".tmp")
    aside.write_text(json.dumps(value, ensure_ascii=False, indent=1))
    aside.replace(file)


def read_json(file: Path) -> Any:
    return json.loads(file.read_text())
