"""Which version counts when, and where a chunk stands in it: the rows' side of the visibility rule.

The index filters points by `kernel.index.schema.visible`; this is the same rule on the rows of versions. An expired
version counts never: its rows are a tombstone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from ingest.tables import Document, Position, Version
from kernel.errors import NotFound
from kernel.types import When

PUBLISHED = ("live", "superseded")
"""States, as rows have them, of versions that can be asked about. `live` in a row is the newest version, which may be
dated in the future; what people are told is `state`, below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a chunk stands in the version that is visible."""

    point: str
    document: str
    name: str
    title: str
    version: int
    start: int
    end: int
    page: int | None
    heading: str
    text: str
    since: int
    """When the version begins to count, in UTC milliseconds."""


def counting(versions: Iterable[Version], at: int) -> Version | None:
    """Of a document's versions, the one that counts at `at` (ms) by what is known now; None before the first."""
    begun = (v for v in versions if v.state in PUBLISHED and v.valid_from <= at)
    return max(begun, key=lambda v: v.number, default=None)


def state(version: Version, counts: Version | None) -> str:
    """What people are told of a version: exactly the one that counts is `live`; one whose date is ahead is `staged`."""
    if version.state not in PUBLISHED:
        return version.state
    if counts is not None and version.number <= counts.number:
        return "live" if version.number == counts.number else "superseded"
    return "staged"


def pending(version: Version, counts: Version | None) -> bool:
    """True if the version is published and its date has not come."""
    return version.state in PUBLISHED and (counts is None or version.number > counts.number)


def place(session: Session, points: Sequence[str], when: When, text_of: Callable[[str], str]) -> dict[str, Placed]:
    """Resolve points to the versions of theirs that are visible at `when`; those that are not are left out."""
    rows = session.execute(
        select(Position, Version, Document)
        .join(Version, and_(Version.document == Position.document, Version.number == Position.version))
        .join(Document, Document.id == Position.document)
        .where(
            Position.point.in_(points),
            Document.state == "live",
            Version.state.in_(PUBLISHED),
            Version.born <= when.epoch,
            Version.valid_from <= when.at,
            or_(Version.died > when.epoch, Version.valid_until > when.at),
        )
        .order_by(Version.number)
    ).all()
    found: dict[str, Placed] = {}
    for position, version, document in rows:
        with suppress(NotFound):  # a delete took the text since the rows were read
            found[position.point] = Placed(
                point=position.point,
                document=document.id,
                name=document.name,
                title=document.title,
                version=version.number,
                start=position.start,
                end=position.end,
                page=position.page,
                heading=position.heading,
                text=text_of(version.text_key)[position.start : position.end],
                since=version.valid_from,
            )
    return found
