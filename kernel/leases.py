"""Named rights with an end: one owner at a time, and a dead owner's right passes on when its time is up."""

from __future__ import annotations

from sqlalchemy import or_, update
from sqlalchemy.exc import IntegrityError

from kernel.database import Database, affected
from kernel.ids import now_ms
from kernel.tables import Lease


def acquire(db: Database, name: str, owner: str, seconds: float) -> bool:
    """Take or renew `name` for `seconds`; False if another owner holds it now. Atomic across processes."""
    now = now_ms()
    until = now + int(seconds * 1000)
    try:
        with db.write() as session:
            free = (Lease.name == name, or_(Lease.owner == owner, Lease.until <= now))
            taken = affected(session, update(Lease).where(*free).values(owner=owner, until=until))
            if not taken and session.get(Lease, name) is None:
                session.add(Lease(name=name, owner=owner, until=until))
                taken = 1
    except IntegrityError:  # somebody inserted the row between our look and our insert
        return False
    return bool(taken)


def release(db: Database, name: str, owner: str) -> None:
    """Give `name` back; nothing happens if another owner holds it by now."""
    with db.write() as session:
        session.execute(update(Lease).where(Lease.name == name, Lease.owner == owner).values(until=0))
