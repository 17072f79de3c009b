"""The passage around a passage: the whole section that a chunk or a citation was cut from.

A section is what stands under one heading; its chunks follow one another and share their heading path. Where a text
has no headings the neighbours on both sides are shown, as far as a section may reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import select, tuple_

from ingest.library import Library
from ingest.tables import Position
from kernel.database import Database
from kernel.errors import NotFound
from kernel.types import Passage

_MOST = 12
"""Chunks of a section that are shown at most, around the one that was asked for."""


Expand = Literal["section", "neighbours"]
"""How far around a passage: all that stands under its heading, or the passages before and after it."""


def around(db: Database, library: Library, passages: Sequence[Passage], how: Expand) -> dict[str, dict[str, int | str]]:
    """What stands around each passage, by chunk: `{"start", "end", "text"}`, the passage included.

    One look at the rows for all of them. A passage whose text a delete took meanwhile is left out.
    """
    versions = sorted({(p.document, p.version) for p in passages})
    columns = (Position.document, Position.version, Position.start, Position.end, Position.heading)
    mine = tuple_(Position.document, Position.version).in_(versions)
    with db.read() as session:
        found = session.execute(
            select(*columns).where(mine).order_by(Position.document, Position.version, Position.ordinal)
        ).all()
    rows = {key: list(group) for key, group in groupby(found, key=lambda row: (row.document, row.version))}
    shown: dict[str, dict[str, int | str]] = {}
    for (document, number), some in _by_version(passages):
        try:
            _, version = library.version(document, number)
            text = library.text_of(version.text_key)
        except NotFound:
            continue
        cut = rows.get((document, number), [])
        for passage in some:
            here = next((n for n, row in enumerate(cut) if row.start <= passage.start < row.end), None)
            if here is None:
                continue
            first, last = _bounds(cut, here) if how == "section" else (max(0, here - 1), min(len(cut) - 1, here + 1))
            begin, end = cut[first].start, cut[last].end
            shown[passage.chunk] = {"start": begin, "end": end, "text": text[begin:end]}
    return shown


def _by_version(passages: Iterable[Passage]) -> Iterable[tuple[tuple[str, int], list[Passage]]]:
    ordered = sorted(passages, key=lambda p: (p.document, p.version))
    return [(key, list(some)) for key, some in groupby(ordered, key=lambda p: (p.document, p.version))]


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
