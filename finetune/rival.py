"""The rival of a verdict: the champion that an adapter was compared with, and whether it is the one that serves.

A verdict says that an adapter may take the place of one champion. Of the next one it says nothing: that one may know
what both of them lack, and two adapters that each beat the same champion were never compared with each other. So the
first that is promoted makes the verdict on the second stale, until it is judged again (`rejudge`) or a person says why
it may serve all the same. What served before may come back: that is no claim to be better than what serves now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.kinds import BASE
from finetune.tables import Adapter, Run
from kernel.errors import Refused
from kernel.tables import AuditEntry

AGAINST = "against"
"""In a stored verdict: the champion it is about, or `base`. One of an earlier release has none: it was the parent's."""


def against(parent: str | None, told: str | None) -> str | None:
    """The champion that a run was last judged against, of its `parent` and what its verdict tells; None is the base."""
    return parent if told is None else None if told == BASE else told


def about(verdict: Mapping[str, Any], champion: str | None) -> dict[str, Any]:
    """The verdict as it is stored, with the champion it is about."""
    return {**verdict, AGAINST: champion or BASE}


def require_rival(session: Session, adapter: Adapter, champion: str | None, how: str = "promote") -> None:
    """Nothing, if `champion`, which serves, is the one that an adapter was judged against, or if it served itself.

    Raises:
        Refused: another one serves since.
    """
    run = session.get(Run, adapter.run)
    if run is None or run.verdict is None:
        return  # there is no verdict that could be stale
    rival = against(run.parent, run.verdict.get(AGAINST))
    if rival == champion or served(session, [adapter.name]):
        return
    was, now = (repr(name) if name else "the base model" for name in (rival, champion))
    raise Refused(
        f"{adapter.name!r} was judged against {was}, and {now} serves by now: its verdict says nothing about what it "
        "would replace",
        hint=f"`reprise rejudge {run.id}` asks both the same held-out questions; or {how} with "
        '--override "REASON", which is kept in the audit log',
        code="stale_verdict",
    )


def served(session: Session, names: Collection[str]) -> set[str]:
    """Those that were promoted once."""
    promoted = AuditEntry.action == "promote", AuditEntry.subject.in_(names)
    return set(session.scalars(select(AuditEntry.subject).where(*promoted)))


def rivals(session: Session) -> dict[str, str | None]:
    """By adapter, the champion that it was last judged against; those without a verdict are left out."""
    told = Run.verdict[AGAINST].as_string()
    judged = select(Adapter.name, Run.parent, told).join(Run, Run.id == Adapter.run).where(Run.verdict.is_not(None))
    rows = session.execute(judged).all()
    return {name: against(parent, of) for name, parent, of in rows}
