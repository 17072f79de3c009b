"""The record of runs: their rows and folders, as people and the retrainer read them. It starts nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from finetune.challengers import Cycle, beside, preferred
from finetune.files import read_json, read_lines
from finetune.kinds import BASE
from finetune.practised import LOSSES
from finetune.rival import AGAINST, against
from finetune.tables import Run
from kernel.database import Database, listed
from kernel.errors import NotFound, Refused
from kernel.ids import iso, now_ms
from kernel.jobs import ACTIVE
from kernel.tables import Job
from rehearsal.tables import Example

RUNS = "runs"
"""The folder of all runs, in the home folder."""
PROBE = "probe"
"""In a run's folder, while a slice that it lost is practised again."""
_DAY_MS = 86_400_000


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
            raise NotFound(f"no run {run!r}", hint="`reprise runs` and the Adapters page list them")
        return found

    def fail(self, run: str, error: dict[str, str]) -> None:
        """End a run that came to no verdict; one that did stays as it is."""
        with self._db.write() as session:
            open_run = Run.id == run, Run.finished.is_(None)
            session.execute(update(Run).where(*open_run).values(state="failed", error=error, finished=now_ms()))

    def revive(self, run: str) -> None:
        """Put a run that failed back to the last state it had reached; its record says which."""
        row = self.get(run)
        if row.state != "failed":
            return
        state = "requested" if row.epoch is None else "drawn"
        if "train_seconds" in row.metrics:
            state = "trained" if row.verdict is None else "evaluated"
        with self._db.write() as session:
            session.execute(update(Run).where(Run.id == run).values(state=state, error=None, finished=None))

    def settle(self, *, orphaned: bool) -> list[str]:
        """Fail the runs that nobody works on any more; their ids.

        Those are runs whose job ended without them: it was cancelled before its turn, or its worker died too often.
        And those that no job was ever made for: at once if they are `orphaned`, since this process is alone with its
        home, and else after a day in which nobody began with them.
        """
        with self._db.read() as session:
            nobody = Run.finished.is_(None), Run.state.not_in(("proposed", "failed"))  # a proposal waits for a person
            open_runs = list(session.execute(select(Run.id, Run.state, Run.created).where(*nobody)))
            jobs = session.scalars(select(Job).where(Job.kind == "retrain").order_by(Job.serial)) if open_runs else ()
            last = {str(job.args.get("run")): job for job in jobs}
        settled = []
        for run, state, created in open_runs:
            job = last.get(run)
            unbegun = state == "requested" and created < now_ms() - _DAY_MS
            if (job is None and not (orphaned or unbegun)) or (job is not None and job.state in ACTIVE):
                continue
            error = (job.error if job is not None else None) or {
                "code": "abandoned",
                "message": "the process that worked on this run is gone" if job is None else f"its job was {job.state}",
                "hint": "start another when you like; nothing that serves was touched",
            }
            self.fail(run, error)
            settled.append(run)
        return settled

    def result(self, run: str) -> dict[str, Any]:
        """The JSON of `reprise retrain`. Of two challengers of one cycle, `preferred` is the better accepted one.

        `beside` says in a sentence which the other is, and which is preferred.
        """
        told = self._told(self.get(run))
        if told["sibling"] is not None:
            other = self._told(self.get(told["sibling"]))
            warm_first = sorted((told, other), key=lambda r: r["options"].get("start") == BASE)
            told["preferred"] = preferred(warm_first)
            told["beside"] = beside(told, other)
        return told

    def _told(self, row: Run) -> dict[str, Any]:
        run = row.id
        manifest = self.folder(run) / "manifest.json"
        return {
            "run": run,
            "kind": row.kind,
            "state": row.state,
            "adapter": row.adapter if row.state in ("accepted", "rejected") else None,
            "parent": row.parent,
            "against": against(row.parent, row.verdict.get(AGAINST)) if row.verdict else None,
            "options": row.options,
            "workspace": row.workspace,
            "manifest": str(manifest) if manifest.exists() else None,
            "metrics": row.metrics,
            "verdict": row.verdict,
            "error": row.error,
            "sibling": row.options.get("sibling"),
            "preferred": None,
            "beside": None,
            "created": iso(row.created),
            "seconds": round(((row.finished or now_ms()) - row.created) / 1000, 1),
        }

    def cycles(self, kind: str) -> list[Cycle]:
        """What became of the retrains of a kind, oldest first; siblings are one cycle. Controls and merges are none."""
        judged = select(Run).where(Run.kind == kind, Run.state.in_(("accepted", "rejected"))).order_by(Run.created)
        with self._db.read() as session:
            runs = [r for r in session.scalars(judged) if not (r.options.get("control") or r.options.get("merged"))]
        found: dict[str, Cycle] = {}
        for run in runs:
            first = min(run.id, run.options.get("sibling") or run.id)
            cycle = found.get(first, Cycle(fresh=False, accepted=False))
            fresh = run.parent is None or run.options.get("start") == BASE
            found[first] = Cycle(fresh=cycle.fresh or fresh, accepted=cycle.accepted or run.state == "accepted")
        return list(found.values())

    def listing(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The newest hundred, newest first."""
        newest = select(Run.id).order_by(Run.created.desc()).limit(100)
        with self._db.read() as session:
            ids = list(session.scalars(newest if kind is None else newest.where(Run.kind == kind)))
        return [self.result(run) for run in ids]

    def losses(self, row: Run) -> list[tuple[str, float | None]]:
        """What a run makes examples remember: each of its mix that was trained on, with its last loss.

        Of a control nothing: what is relevant to its rows was dealt out anew.
        """
        if row.options.get("control"):
            return []
        file = self.folder(row.id) / LOSSES
        told = read_lines(file) if file.exists() else ()
        last = {found["example"]: found["loss"] for found in told}
        rows = read_json(self.folder(row.id) / "manifest.json")["rows"]
        return [(found["example"], last[found["example"]]) for found in rows if found["example"] in last]

    def left_out(self, run: str) -> set[str]:
        """Examples of its mix that a run could not be trained on."""
        file = self.folder(run) / "manifest.json"
        rows = read_json(file)["rows"] if file.is_file() else ()
        return {row["example"] for row in rows if row.get("left_out")}

    def manifest(self, run: str) -> dict[str, Any]:
        """The mix of a run, each row with its question if that is still known."""
        self.get(run)
        file = self.folder(run) / "manifest.json"
        if not file.exists():
            raise NotFound(f"{run!r} has no mix yet", hint="it is drawn when the run starts")
        mix = read_json(file)
        with self._db.read() as session:
            ids = [row["example"] for row in mix["rows"]]
            asked = select(Example.id, Example.question).where(Example.id.in_(listed(ids)))
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

    def clean_up(self, *, orphaned: bool) -> None:
        """Remove what a crash left: folders that no row knows, and probes: a delete looks for words in neither.

        Unless they are `orphaned`, since this process is alone with its home, only those that nobody touched for a day.
        """
        folders = self._home / RUNS
        if not folders.is_dir():
            return
        with self._db.read() as session:
            known = set(session.scalars(select(Run.id)))
        unknown = [folder for folder in folders.iterdir() if folder.name not in known]
        for folder in (*unknown, *(probe for run in known for probe in folders.glob(f"{run}/{PROBE}"))):
            if orphaned or now_ms() - folder.stat().st_mtime * 1000 > _DAY_MS:
                shutil.rmtree(folder, ignore_errors=True)
