"""The replay ratio of the next retrain: what the gate said of the last ones, as the controller reads it.

It holds no state of its own: the verdicts that are kept with the runs are the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from finetune.kinds import CHAMPION, Options
from finetune.tables import Run
from finetune.verdict import rival_of
from kernel.database import Database
from rehearsal.controller import START, Control, Judged, control

_ALL_OLD = "(all old)"
"""The row of a verdict that takes all old questions together; there is none where there is one old slice alone."""


class Replays:
    """Reads verdicts, and says how much to practise."""

    def __init__(self, db: Database, start: float = START) -> None:
        self._db, self._start = db, start

    def control(self, kind: str, workspace: str | None = None) -> Control:
        """Where the controller stands for retrains of this kind and workspace."""
        judged = select(Run).where(Run.kind == kind, Run.state.in_(("accepted", "rejected")))
        same = Run.workspace.is_(None) if workspace is None else Run.workspace == workspace
        with self._db.read() as session:
            runs = list(session.scalars(judged.where(same).order_by(Run.finished, Run.id)))
        return control([found for run in runs if (found := judged_as(run)) is not None], self._start)


def judged_as(run: Run) -> Judged | None:
    """What a run says of its replay; None where it says nothing.

    That is a control, which was meant to fail; a merge, which practised nothing; and what began elsewhere than at the
    champion, to which more was new than its rho tells: from the base everything was.
    """
    options = Options.from_json(run.options)
    if options.control is not None or options.merged or options.start != CHAMPION or run.verdict is None:
        return None
    old = {row["slice"]: row for row in run.verdict["slices"] if row["part"] == "old"}
    named = {name: row for name, row in old.items() if not name.startswith("(")}
    reasons = run.verdict["reasons"]
    return Judged(
        run=run.id,
        accepted=bool(run.verdict["accepted"]),
        rho=options.rho,
        change=_change(old[_ALL_OLD]) if _ALL_OLD in old else _mean(old),
        failed=any(_lost(name, row, reasons) for name, row in old.items()),
        slices={name: _change(row) for name, row in named.items()},
        failed_slices=tuple(name for name, row in sorted(named.items()) if _lost(name, row, reasons)),
        rhos=dict(options.slices),
    )


def _change(row: Mapping[str, Any]) -> float:
    """Challenger minus champion, or minus the base where there was no champion."""
    return float(row["challenger"]) - float(rival_of(row))


def _mean(rows: Mapping[str, Mapping[str, Any]]) -> float | None:
    n = sum(row["n"] for row in rows.values())
    return sum(_change(row) * row["n"] for row in rows.values()) / n if n else None


def _lost(name: str, row: Mapping[str, Any], reasons: list[str]) -> bool:
    """Whether the gate refused what the slice lost. A verdict of an earlier release says so in its sentence alone."""
    if row.get("allowed") is not None:
        return -_change(row) > row["allowed"] + 1e-9
    where = "all old slices together" if name == _ALL_OLD else f"old slice {name!r}"
    return any(said.startswith(f"refused: {where}:") for said in reasons)
