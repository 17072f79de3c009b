"""The text of every point: what a chunk embeds, or an example asks. For whoever makes vectors anew."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from ingest.library import Library
from ingest.tables import Document, Position, Version
from kernel.database import Database
from kernel.errors import NotFound
from kernel.index.replace import Texts
from kernel.types import ChunkDraft
from rehearsal.tables import Example

_AT_ONCE = 500


def texts_of(db: Database, library: Library) -> Texts:
    """`kernel.index.replace.Texts` from rows and blobs. A text that a delete takes meanwhile is left out."""

    def texts(points: Sequence[str]) -> dict[str, tuple[str, bool]]:
        found: dict[str, tuple[str, bool]] = {}
        for start in range(0, len(points), _AT_ONCE):
            found |= _texts(db, library, points[start : start + _AT_ONCE])
        return found

    return texts


def _texts(db: Database, library: Library, points: Sequence[str]) -> dict[str, tuple[str, bool]]:
    found: dict[str, tuple[str, bool]] = {}
    with db.read() as session:
        # Any version that shows a chunk has its text; the one that bore it may have expired.
        chunks = (
            select(Position, Version.text_key)
            .join(Version, (Version.document == Position.document) & (Version.number == Position.version))
            .where(Position.point.in_(points), Version.state != "expired")
        )
        for position, key in session.execute(chunks):
            if position.point in found:
                continue
            try:
                text = library.text_of(key)[position.start : position.end]
            except NotFound:
                if _stands(session, position):
                    raise
                continue
            draft = ChunkDraft(
                ordinal=position.ordinal,
                start=position.start,
                end=position.end,
                text=text,
                heading=position.heading,
            )
            found[position.point] = (draft.embedded_text, False)
        asked = select(Example.point, Example.question).where(Example.point.in_(points))
        found |= {point: (question, True) for point, question in session.execute(asked)}
    return found


def _stands(session: Session, position: Position) -> bool:
    """False once a delete or an expiry has taken the version."""
    document = session.get(Document, position.document, populate_existing=True)
    version = session.get(Version, (position.document, position.version), populate_existing=True)
    return document is not None and document.state == "live" and version is not None and version.state != "expired"
