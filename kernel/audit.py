"""The audit log: who did what, each entry chained to the one before it by SHA-256, so that an edit shows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from kernel.database import alone
from kernel.ids import canonical, digest, iso, now_ms
from kernel.tables import AuditEntry

GENESIS = "0" * 64


def record(session: Session, action: str, subject: str, actor: str = "local", **detail: Any) -> None:
    """Append an entry in the caller's write transaction: it stands exactly if what it reports was committed."""
    alone(session, "audit")
    last = session.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(1)).first()
    entry = AuditEntry(
        seq=(last.seq if last else 0) + 1,
        at=now_ms(),
        actor=actor,
        action=action,
        subject=subject,
        detail=detail,
        previous=last.hash if last else GENESIS,
    )
    entry.hash = _hash(entry)
    session.add(entry)
    session.flush()


def entries(session: Session, limit: int | None = None) -> list[dict[str, Any]]:
    """Newest first."""
    rows = session.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(limit))
    return [
        {
            "seq": e.seq,
            "at": iso(e.at),
            "actor": e.actor,
            "action": e.action,
            "subject": e.subject,
            "detail": e.detail,
        }
        for e in rows
    ]


def intact(session: Session) -> bool:
    """True if no entry was changed, removed from the middle, or put in another order."""
    previous, seq = GENESIS, 0
    for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.seq)):
        if entry.seq != seq + 1 or entry.previous != previous or entry.hash != _hash(entry):
            return False
        previous, seq = entry.hash, entry.seq
    return True


def _hash(entry: AuditEntry) -> str:
    covered = [entry.seq, entry.at, entry.actor, entry.action, entry.subject, entry.detail, entry.previous]
    return digest(canonical(covered))
