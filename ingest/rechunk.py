"""Chunking again what an earlier chunker cut: the same bytes, published as a new version with another layout.

A version keeps the fingerprint of what cut it. Where that differs from what cuts now (another size, another algorithm,
another tokenizer, a better parser), the document's live version is published again from its stored bytes. Chunks that
come out the same keep their points; versions before keep their positions, so that old citations open what they cited.
A document that somebody edits meanwhile needs nothing: the edit was cut as things are cut now.

It does not know how a version is published (`ingest.add`).
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import select

from ingest.add import Ingest
from ingest.library import Library
from ingest.tables import Document, Version
from kernel.database import Database
from kernel.errors import NotFound
from kernel.types import Progress, silent

log = logging.getLogger(__name__)

CAUSE = "rechunk"


class Rechunker:
    """Publishes documents again whose live version was cut otherwise than documents are cut now."""

    def __init__(self, db: Database, library: Library, ingest: Ingest) -> None:
        self._db, self._library, self._ingest = db, library, ingest

    def due(self) -> list[tuple[str, int]]:
        """(document, live version) of what was cut otherwise, oldest first."""
        with self._db.read() as session:
            live = (
                select(Version.document, Version.number)
                .join(Document, Document.id == Version.document)
                .where(Version.state == "live", Document.state == "live", Version.chunker != self._ingest.layout)
                .order_by(Version.born, Version.document)
            )
            return [(document, number) for document, number in session.execute(live)]

    def run(self, progress: Progress = silent) -> dict[str, Any]:
        """Publish again all that is due; how many were, and the rows of those that were not.

        A document that cannot be published again keeps its version, and stops no other.
        """
        due = self.due()
        done, passed, failed = 0, 0, []
        for at, (document, number) in enumerate(due):
            progress("rechunking", at, len(due))
            row = self._again(document, number)
            if row is None:
                passed += 1
            elif row["status"] in ("published", "unchanged"):
                done += 1
            else:
                log.warning("%r keeps its chunks: %s", row["name"], row["error"]["message"])
                failed.append(row)
        progress("rechunked", len(due), len(due))
        return {"due": len(due), "published": done, "passed": passed, "failed": failed}

    def _again(self, document: str, number: int) -> dict[str, Any] | None:
        """The row of a publish; None if the document was edited or deleted since it was listed."""
        try:
            found, version, content = self._library.original(document, number)
        except NotFound:
            return None
        return None if version.state != "live" else self._ingest.again(found, version, content, CAUSE)
