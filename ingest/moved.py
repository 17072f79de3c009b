"""A file that was moved or renamed within its folder stays the document it was: same id, same history, new name.

It is recognised by its bytes: they equal a document's live version, and the file which that document came from is no
longer there. Where that file still is, the new one is a copy, and a document of its own. The index is not touched: a
point knows its document by id, and names are in no payload.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePath

from sqlalchemy import select
from sqlalchemy.orm import Session

from ingest.changes import happened
from ingest.incoming import Incoming
from ingest.parse.titles import stem
from ingest.publish import named
from ingest.tables import Document, Version
from kernel.database import alone
from kernel.ids import now_ms


class Moves:
    """Follows documents to where their files went."""

    def follow(self, session: Session, file: Incoming, sha256: str) -> Document | None:
        """The document that `file` is, renamed to the file's name, in the caller's write transaction; None if the file
        is no moved one.

        `file.root` is the folder that was named. A folder of another machine is not followed: what is gone there
        cannot be seen from here.
        """
        if file.root is None or file.explicit or not Path(file.root).is_dir() or not os.path.lexists(file.source):
            return None
        alone(session, "library")
        if named(session, file.workspace, file.name) is not None:
            return None
        gone = [d for d in _same_bytes(session, file.workspace, sha256) if _left(d.source, file.root)]
        if not gone:
            return None
        # Several of them, several new files: each new one takes the document it is most likely to be.
        document = min(gone, key=lambda d: _unlike(d, file))
        if document.title in {stem(document.name), stem(document.source)}:
            document.title = stem(file.name)
        document.name, document.source, document.updated = file.name, file.source, now_ms()
        session.flush()
        happened(session, "move", document.id)  # no names: the log outlives a deleted document
        return document


def _same_bytes(session: Session, workspace: str, sha256: str) -> list[Document]:
    return list(
        session.scalars(
            select(Document)
            .join(Version, Version.document == Document.id)
            .where(
                Document.workspace == workspace,
                Document.state == "live",
                Version.state == "live",
                Version.sha256 == sha256,
            )
            .order_by(Document.name)
        )
    )


def _left(source: str, root: str) -> bool:
    """True if the source is a path below `root` where nothing is any more."""
    place = PurePath(source)
    if not place.is_absolute() or not place.is_relative_to(root) or os.path.lexists(source):
        return False
    archive, _, member = source.partition("!")
    return not (member and Path(archive).is_file())  # a member of an archive is there as long as that is


def _unlike(document: Document, file: Incoming) -> tuple[bool, bool, bool, str]:
    """How unlikely it is that this is the document: least for one known by its path below the same folder, then for one
    of the same file name, then for one in the same folder."""
    old, new = PurePath(document.source), PurePath(file.source)
    below = unicodedata.normalize("NFC", old.relative_to(file.root or "/").as_posix())
    return below != document.name, old.name != new.name, old.parent != new.parent, document.name
