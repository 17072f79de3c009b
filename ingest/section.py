"""The passage around a passage: the whole section that a chunk or a citation was cut from.

A section is what stands under one heading; its chunks follow one another and share their heading path. Where a text
has no headings the neighbours on both sides are shown, as far as a section may reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from ingest.library import Library
from ingest.tables import Position
from kernel.database import Database
from kernel.errors import NotFound

_MOST = 12
"""Chunks of a section that are shown at most, around the one that was asked for."""


def section(db: Database, library: Library, doc: str, number: int | None, start: int) -> dict[str, Any]:
    """The section of a version's text in which the character at `start` lies.

    Returns `{"document", "version", "heading", "page", "start", "end", "text"}`, `text` being TEXT[start:end].

    Raises:
        NotFound: no such document or version, or nothing stands at `start`.
    """
    document, version = library.version(doc, number)
    columns = (Position.start, Position.end, Position.heading, Position.page)
    of_version = (Position.document == document.id, Position.version == version.number)
    with db.read() as session:
        rows = session.execute(select(*columns).where(*of_version).order_by(Position.ordinal)).all()
    here = next((n for n, row in enumerate(rows) if row.start <= start < row.end), None)
    if here is None:
        raise NotFound(
            f"no passage of version {version.number} of {document.name!r} has character {start}",
            hint="give the `start` of a hit or a citation of that version",
        )
    first, last = _bounds(rows, here)
    begin, end = rows[first].start, rows[last].end
    return {
        "document": document.id,
        "version": version.number,
        "heading": rows[here].heading,
        "page": rows[first].page,
        "start": begin,
        "end": end,
        "text": library.text_of(version.text_key)[begin:end],
    }


def _bounds(rows: Sequence[Any], here: int) -> tuple[int, int]:
    first = last = here
    while first > 0 and rows[first - 1].heading == rows[here].heading and here - first < _MOST // 2:
        first -= 1
    while last + 1 < len(rows) and rows[last + 1].heading == rows[here].heading and last - here < _MOST // 2:
        last += 1
    return first, last
