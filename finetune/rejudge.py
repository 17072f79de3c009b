"""Judging again: the verdict on a run anew, against the champion that serves today.

    accepted | rejected ──judge──▶ accepted | rejected

Both answer the same held-out questions of today, through the same evaluation as a retrain's. Until it is over the old
verdict stands; then one transaction puts the new one in its place, with the old one kept behind it in the report. An
approval was given to the old verdict and goes with it.

    meanwhile                             what comes of it
    another adapter is promoted           the verdict says whom it is about, so it is as stale as the old one was
    the adapter itself is promoted        refused: what serves keeps the verdict that it was promoted by
    the process dies                      the old verdict stands; the job does it again
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from finetune.card import Cards
from finetune.files import read_json, write_json
from finetune.judging import RECOVERY, Judge
from finetune.kinds import BASE, Kind
from finetune.quoted import note
from finetune.rival import about
from finetune.runs import Runs
from finetune.tables import Adapter, Approval, Run
from finetune.trial import one_move
from kernel.audit import record
from kernel.database import Database
from kernel.errors import Conflict, Refused
from kernel.ids import now_ms
from kernel.types import Progress
from rehearsal.history import note_rehearsed
from retrieval.tables import RouteRow

_IDLE = ("candidate", "previous", "retired")
"""States of an adapter on which nothing hangs that its verdict decides."""


class Rejudging:
    """Judges runs again. Repeatable: until the end nothing is changed but the run's figures."""

    def __init__(self, db: Database, runs: Runs, kinds: Mapping[str, Kind], judge: Judge, cards: Cards) -> None:
        self._db, self._runs, self._kinds, self._judge, self._cards = db, runs, kinds, judge, cards

    def check(self, run: str) -> None:
        """Nothing, if a run can be judged again.

        Raises:
            NotFound: no such run.
            Refused: it came to no adapter.
            Conflict: its adapter serves, or is on trial.
        """
        row = self._runs.get(run)
        with self._db.read() as session:
            _idle(session, row)

    def run(self, run: str, progress: Progress) -> dict[str, Any]:
        """The run with its new verdict.

        Raises:
            NotFound, Refused, Conflict: as `check`; also where that came about while it was judged.
        """
        self.check(run)
        row, folder = self._runs.get(run), self._runs.folder(run)
        kind = self._kinds[row.kind]
        champion = row.parent = kind.parent()  # of this copy alone: what a run started from stays what it was
        try:
            judged = self._judge.judge(row, folder, progress)
        finally:
            kind.finish(row)
        told = about(judged.verdict.to_json(), champion)
        before = self._runs.get(run)
        practised = self._runs.losses(before) if judged.verdict.accepted else []
        metrics = {name: value for name, value in before.metrics.items() if name != RECOVERY} | judged.metrics
        with self._db.write() as session:
            one_move(session)
            adapter, now = _idle(session, before), session.get_one(Run, run)
            report = {"verdict": told, "metrics": metrics, "policy": judged.policy.to_json()}
            earlier = [v for v in _earlier(folder / "report.json") if v != now.verdict]
            note(folder, judged.names, judged.verdict.reasons)  # again: a delete may have come since, and found none
            write_json(folder / "report.json", report | {"earlier": [*earlier, now.verdict]})
            was = bool(adapter.accepted)
            adapter.accepted = int(judged.verdict.accepted)
            now.verdict, now.metrics = told, metrics
            now.state = "accepted" if judged.verdict.accepted else "rejected"
            note_rehearsed(session, run, practised, now_ms(), kind=row.kind)
            session.execute(delete(Approval).where(Approval.adapter == adapter.name))
            record(
                session, "gate", run, adapter=adapter.name, accepted=judged.verdict.accepted, again=True,
                before=was, against=champion or BASE,
            )  # fmt: skip
        self._cards.write(str(row.adapter))
        return self._runs.result(run)


def _idle(session: Session, row: Run) -> Adapter:
    """The adapter of a run, if its verdict may change.

    Raises:
        Refused: there is none.
        Conflict: it serves, or is on trial.
    """
    adapter = session.get(Adapter, row.adapter) if row.adapter else None
    if adapter is None or row.verdict is None:
        raise Refused(
            f"{row.id!r} came to no adapter: it is {row.state}",
            hint="what has a verdict can be judged again; `reprise runs` lists them",
            code="no_verdict",
        )
    if adapter.state not in _IDLE:
        serves = adapter.state == "champion"
        raise Conflict(
            f"{adapter.name!r} {'serves' if serves else 'is on trial'}, and its verdict is what it does so by",
            hint="roll back first" if serves else "`reprise rollout stop` ends the trial",
            code="in_use",
        )
    if (routed := session.scalar(select(RouteRow).where(RouteRow.adapter == adapter.name).limit(1))) is not None:
        where = f"slice {routed.slice!r} of {routed.workspace!r}" if routed.slice else f"workspace {routed.workspace!r}"
        raise Conflict(
            f"{adapter.name!r} serves {where}, and its verdict is what it does so by",
            hint="`reprise route remove` takes it back first",
            code="in_use",
        )
    return adapter


def _earlier(report: Path) -> list[Any]:
    return list(read_json(report).get("earlier", ())) if report.is_file() else []
