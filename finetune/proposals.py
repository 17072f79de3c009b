"""Mixes that wait for a person: a run that was asked to hold stops when its mix is drawn.

    proposed ──approve──▶ drawn ──▶ …        exactly that mix is trained; rows that went away since are dropped
       └──────reject────▶ declined

A proposal is a run, not a copy of one: its id is the run's, its mix the run's manifest, and it is checked again when
training starts as any mix is.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from finetune.drawing import Drawing
from finetune.files import read_json
from finetune.runs import Runs
from finetune.tables import Run
from kernel.audit import record
from kernel.database import Database, affected
from kernel.errors import Refused
from kernel.ids import iso, now_ms
from rehearsal.mix import Mix, Mixer

PROPOSED = "proposed"


class Proposals:
    """Lists, approves and rejects proposed mixes. It trains nothing."""

    def __init__(self, db: Database, runs: Runs, drawing: Drawing, mixer: Mixer) -> None:
        self._db, self._runs, self._drawing, self._mixer = db, runs, drawing, mixer

    def listing(self) -> list[dict[str, Any]]:
        """Those that wait, newest first; `gone` are examples of the mix that went away since it was drawn."""
        with self._db.read() as session:
            waiting = list(session.scalars(select(Run).where(Run.state == PROPOSED).order_by(Run.created.desc())))
        return [self._told(run) for run in waiting]

    def get(self, proposal: str) -> dict[str, Any]:
        """One of them, decided or not.

        Raises:
            NotFound: no such run.
        """
        return self._told(self._runs.get(proposal))

    def waiting(self, kind: str, workspace: str | None) -> str | None:
        """A proposal for this kind and workspace that nobody has decided on."""
        same = Run.workspace.is_(None) if workspace is None else Run.workspace == workspace
        with self._db.read() as session:
            return session.scalar(select(Run.id).where(Run.state == PROPOSED, Run.kind == kind, same).limit(1))

    def approve(self, proposal: str, actor: str = "local") -> dict[str, Any]:
        """Let the run go on with its mix. Whoever calls starts it.

        Raises:
            NotFound: no such run.
            Refused: it does not wait, another champion serves since, or nothing new is left of it.
        """
        run = self._runs.get(proposal)
        told = self._told(run)
        if run.state != PROPOSED:
            raise _decided(run)
        if self._drawing.kind(run.kind).parent() != run.parent:
            raise Refused(
                f"{proposal!r} was drawn against {run.parent or 'the base model'}, which is not what serves now",
                hint="what is new and what is old is another question now: reject it and propose again",
                code="stale_proposal",
            )
        if not told["new"]:
            raise Refused(f"nothing new is left of {proposal!r}", hint="reject it; propose again", code="nothing_new")
        with self._db.write() as session:
            _move(session, run, "drawn")
            record(session, "mix.approve", proposal, actor, rows=told["rows"], gone=told["gone"])
        return told | {"state": "drawn"}

    def reject(self, proposal: str, reason: str = "", actor: str = "local") -> dict[str, Any]:
        """Nothing is trained on this mix.

        Raises:
            NotFound: no such run.
            Refused: it does not wait.
        """
        run = self._runs.get(proposal)
        if run.state != PROPOSED:
            raise _decided(run)
        told = self._told(run)
        said = {"code": "declined", "message": reason or "a person rejected the mix", "hint": "propose another"}
        with self._db.write() as session:
            _move(session, run, "declined", error=said, finished=now_ms())
            record(session, "mix.reject", proposal, actor, reason=reason)
        return told | {"state": "declined"}

    def _told(self, run: Run) -> dict[str, Any]:
        file = self._runs.folder(run.id) / "manifest.json"
        mix = Mix.from_json(read_json(file)) if file.exists() else None
        gone = set(self._mixer.gone(mix)) if mix else set()
        left = [row for row in mix.rows if row.example not in gone] if mix else []
        return {
            "proposal": run.id,
            "kind": run.kind,
            "workspace": run.workspace,
            "state": run.state,
            "policy": run.options["policy"],
            "rho": run.options["rho"],
            "parent": run.parent,
            "epoch": run.epoch,
            "rows": len(left),
            "new": sum(row.part == "new" for row in left),
            "recalled": sum(row.part == "recalled" for row in left),
            "gone": sorted(gone),
            "created": iso(run.created),
        }


def _move(session: Session, run: Run, state: str, **values: Any) -> None:
    """Out of `proposed`, once: of two people who decide at the same time, one is told that it is decided."""
    moved = update(Run).where(Run.id == run.id, Run.state == PROPOSED).values(state=state, **values)
    if not affected(session, moved):
        raise _decided(run)


def _decided(run: Run) -> Refused:
    return Refused(
        f"{run.id!r} does not wait for approval: it is {run.state}",
        hint="`reprise rehearsal proposals` lists those that do",
        code="not_proposed",
    )
