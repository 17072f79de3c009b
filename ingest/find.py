"""Finding a document by what a person calls it, in the transaction of whoever asks."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ingest.tables import Document
from kernel.errors import Conflict, NotFound


def find(session: Session, doc: str, workspace: str | None = None) -> Document:
    """A live document by id, or by name (in `workspace`, or in the only one that has it).

    Raises:
        NotFound: there is none; a deleted one says so.
        Conflict: several workspaces have a document of that name.
    """
    by_id = session.get(Document, doc)
    if by_id is not None and by_id.state == "live":
        return by_id
    if by_id is not None:
        raise NotFound(
            f"document {doc!r} was deleted",
            hint="its text is gone for good; only its receipt is left",
            code="deleted",
        )
    named = select(Document).where(Document.name == doc, Document.state == "live")
    found = list(session.scalars(named.where(Document.workspace == workspace) if workspace else named))
    if not found:
        raise NotFound(f"no document {doc!r}", hint="`reprise documents` lists them; give an id or an exact name")
    if len(found) > 1:
        where = ", ".join(sorted(d.workspace for d in found))
        raise Conflict(f"several workspaces have a document {doc!r}: {where}", hint="give the document's id")
    return found[0]
