"""Approval by a person: an adapter whose policy asks for it serves nobody before somebody has said yes.

The verdict says that it waits; the row says who let it go and why. It measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.tables import Adapter, Approval, Run
from finetune.trial import one_move
from kernel.audit import record
from kernel.database import Database
from kernel.errors import NotFound, Refused, UserError
from kernel.ids import iso, now_ms


class Approvals:
    """Who approved what. Safe from several threads and processes: every change is one transaction."""

    def __init__(self, db: Database, current: Callable[[Session, Adapter], None]) -> None:
        """`current` refuses an adapter whose verdict is about another champion than serves (`Registry`)."""
        self._db, self._current = db, current

    def listing(self) -> list[dict[str, Any]]:
        """Adapters whose policy asks for approval, those that wait first, then newest first."""
        with self._db.read() as session:
            wanted = select(Adapter, Run, Approval).join(Run, Run.id == Adapter.run)
            wanted = wanted.outerjoin(Approval, Approval.adapter == Adapter.name)
            rows = [
                _shown(adapter, given)
                for adapter, run, given in session.execute(wanted.order_by(Adapter.created.desc(), Adapter.name))
                if (run.verdict or {}).get("approval")
            ]
        return sorted(rows, key=lambda row: row["state"] != "waits")

    def approve(self, adapter: str, reason: str | None, by: str) -> dict[str, Any]:
        """Let an accepted adapter serve.

        Raises:
            NotFound: no such adapter.
            Refused: its gate did not accept it, or accepted it against another champion than serves; that takes an
                override when it is promoted.
            UserError: nobody asked for an approval, or it has one.
        """
        with self._db.write() as session:
            one_move(session)  # or a new verdict could come in between, and the yes to the old one would stand
            found = session.get(Adapter, adapter)
            if found is None:
                raise NotFound(f"no adapter {adapter!r}", hint="`reprise adapters` lists them")
            if not found.accepted:
                raise Refused(
                    f"the gate did not accept {adapter!r}, so there is nothing to approve",
                    hint='promote with --override "REASON" if you must; the reason is kept in the audit log',
                    code="gate_refused",
                )
            if not asked_for(session, found):
                raise UserError(f"{adapter!r} waits for nobody's approval", hint="promote it: its policy asks for none")
            given = session.get(Approval, adapter)
            if given is not None:
                raise UserError(f"{given.by} approved {adapter!r} already", hint="promote it")
            self._current(session, found)  # the yes would be to figures that say nothing any more
            given = Approval(adapter=adapter, by=by, reason=reason, at=now_ms())
            session.add(given)
            record(session, "approve", adapter, by, reason=reason)
            return _shown(found, given)


def asked_for(session: Session, adapter: Adapter) -> bool:
    """Whether the policy that judged an adapter asks for a person's approval."""
    run = session.get(Run, adapter.run)
    return bool(run is not None and (run.verdict or {}).get("approval"))


def require(session: Session, adapter: Adapter) -> None:
    """Nothing, if an adapter waits for nobody.

    Raises:
        Refused: it was accepted and nobody has approved it.
    """
    if asked_for(session, adapter) and session.get(Approval, adapter.name) is None:
        raise Refused(
            f"{adapter.name!r} was accepted and waits for a person's approval",
            hint=f'`reprise approve {adapter.name}` records who; or promote with --override "REASON"',
            code="needs_approval",
        )


def _shown(adapter: Adapter, given: Approval | None) -> dict[str, Any]:
    return {
        "adapter": adapter.name,
        "kind": adapter.kind,
        "run": adapter.run,
        "state": "approved" if given else "waits",
        "by": given.by if given else None,
        "reason": given.reason if given else None,
        "at": iso(given.at) if given else None,
    }
