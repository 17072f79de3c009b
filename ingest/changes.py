"""What happened to documents: the history of one, and the feed of all.

The feed has one row for each thing that happened. Publishes and deletes have an epoch of their own; an expiry or a move
has none, and stands behind everything of the epoch in which it happened. `seq` puts all of them in one order that only
grows: a reader who asks for what comes after the last `seq` it saw sees everything once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ingest.place import counting, pending, state
from ingest.tables import Document, Version
from kernel.audit import record
from kernel.ids import iso, now_ms
from kernel.tables import AuditEntry, Clock, Flip
from kernel.types import OPEN

NOTED = {"expire": "expired", "move": "moved"}
"""Actions of the audit log that the feed tells of, and what it calls them."""
_EPOCH = 2**24
"""Room in `seq` for one epoch: the lower half for what it published and deleted, the upper for what followed in it."""


def happened(session: Session, action: str, document: str, **detail: Any) -> None:
    """Note in the audit log something that has no epoch of its own, in the caller's write transaction.

    The clock's row is held until that commits, so nothing of the next epoch can be seen before this.
    """
    epoch = session.execute(select(Clock.epoch).with_for_update()).scalar_one()
    record(session, action, document, epoch=epoch, **detail)


def history(session: Session, document: str) -> list[dict[str, Any]]:
    """All published versions of a document, newest first; of an expired one what is left of it."""
    versions = list(session.scalars(select(Version).where(Version.document == document, Version.state != "staged")))
    counts = counting(versions, now_ms())
    ended = expiries(session, document)
    return [
        {
            "version": v.number,
            "epoch": v.born,
            "at": iso(v.valid_from),
            "from": iso(v.valid_from),
            "until": iso(v.valid_until) if v.valid_until < OPEN else None,
            "state": state(v, counts),
            "pending": pending(v, counts),
            "cause": v.cause,
            "notes": v.notes,
            "expired": iso(ended[v.number].at) if v.number in ended else None,
            "sha256": v.sha256,
            "chunks_new": v.chunks_new,
            "chunks_kept": v.chunks_kept,
            "chunks_retired": v.chunks_retired,
        }
        for v in sorted(versions, key=lambda v: -v.number)
    ]


def expiries(session: Session, document: str) -> dict[int, AuditEntry]:
    """The entry of the audit log that says when and by which rule, for each expired version of a document."""
    entries = session.scalars(
        select(AuditEntry).where(AuditEntry.action == "expire", AuditEntry.subject == document).order_by(AuditEntry.seq)
    )
    return {number: entry for entry in entries for number in entry.detail["versions"]}


def feed(session: Session, since: int = 0, after: int | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """What happened after epoch `since` or, where it is given, after the row `after`; oldest first.

    About `limit` rows, where that is given: what one epoch published is never divided, as a delete in between would
    change how its rows are counted.
    """
    since = max(since, after // _EPOCH - 1) if after is not None else since
    # Read first: what commits while we read belongs to a later look, or comes after all rows of this one.
    committed = session.execute(select(Clock.epoch)).scalar_one()
    rows = [row for row in (*_flipped(session, since), *_followed(session, since)) if row["epoch"] <= committed]
    rows.sort(key=lambda row: row["seq"])
    rows = [row for row in rows if row["seq"] > after] if after is not None else rows
    return rows if limit is None else _page(rows, limit)


def _page(rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    end = limit
    while 0 < end < len(rows) and _one_flip(rows[end - 1], rows[end]):
        end += 1
    return rows[:end]


def _one_flip(a: dict[str, Any], b: dict[str, Any]) -> bool:
    halves = {row["seq"] // (_EPOCH // 2) for row in (a, b)}
    return len(halves) == 1 and halves.pop() % 2 == 0


def _flipped(session: Session, since: int) -> Iterator[dict[str, Any]]:
    """What epochs after `since` published and deleted."""
    published = Version.state != "staged"
    first = select(Version.document, func.min(Version.number)).where(published).group_by(Version.document)
    firsts = {(document, number) for document, number in session.execute(first)}
    rows: list[dict[str, Any]] = []
    born = select(Version, Document).join(Document, Document.id == Version.document)
    for version, document in session.execute(born.where(Version.born > since, published)):
        what = "added" if (version.document, version.number) in firsts else "changed"
        rows.append(_row(version.born, version.created, document, version.number, what, version.cause))
    for document in session.scalars(select(Document).where(Document.state.in_(("deleting", "deleted")))):
        receipt = document.receipt or {}
        if receipt.get("epoch", 0) > since:
            rows.append(_row(receipt["epoch"], receipt["at"], document, None, "deleted"))
    return _numbered(sorted(rows, key=lambda row: (row["epoch"], row["document"])), 0)


def _followed(session: Session, since: int) -> Iterator[dict[str, Any]]:
    """What the audit log notes in epochs after `since`."""
    noted = select(AuditEntry, Document).join(Document, Document.id == AuditEntry.subject)
    rows: list[dict[str, Any]] = []
    for entry, document in session.execute(noted.where(AuditEntry.action.in_(NOTED)).order_by(AuditEntry.seq)):
        epoch = entry.detail["epoch"] if "epoch" in entry.detail else _epoch_at(session, entry.at)
        if epoch > since:
            rows += [
                _row(epoch, entry.at, document, number, NOTED[entry.action])
                for number in entry.detail.get("versions", [None])
            ]
    return _numbered(rows, _EPOCH // 2)


def _numbered(rows: Iterable[dict[str, Any]], first: int) -> Iterator[dict[str, Any]]:
    """Rows with their `seq`: epoch by epoch, from `first` on."""
    counted: dict[int, int] = {}
    for row in rows:
        counted[row["epoch"]] = number = counted.get(row["epoch"], first - 1) + 1
        yield {"seq": row["epoch"] * _EPOCH + number, **row}


def _epoch_at(session: Session, at: int) -> int:
    """The epoch that was committed about `at` (ms), for an entry that does not say."""
    return session.scalar(select(func.max(Flip.epoch)).where(Flip.state == "done", Flip.at <= at)) or 0


def _row(
    epoch: int, at: int, document: Document, version: int | None, what: str, cause: str | None = None
) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "at": iso(at),
        "document": document.id,
        "name": document.name,
        "version": version,
        "what": what,
        "cause": cause,
    }
