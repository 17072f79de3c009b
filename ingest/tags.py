"""Tags: free words by which people sort documents. A tag belongs to a document, not to one of its versions."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ingest.find import find
from ingest.tables import Document, Tag
from kernel.audit import record
from kernel.database import Database, affected, alone
from kernel.errors import UserError

LONGEST, MOST = 64, 100
"""Characters of a tag, and tags of a document."""


def normal(tag: str) -> str:
    """The one form of a tag: NFKC, case folded, single spaces.

    Raises:
        UserError: empty, too long, or with a comma or a control character: a comma would be read as two tags.
    """
    clean = " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", tag).casefold()).split())
    odd = any(unicodedata.category(c) in ("Cc", "Cs") for c in clean)
    if not clean or len(clean) > LONGEST or "," in clean or odd:
        raise UserError(
            f"{tag[:80]!r} cannot be a tag",
            hint=f"give a word or a few, without a comma, at most {LONGEST} characters; several tags one by one",
            code="bad_tag",
        )
    return clean


def normalised(tags: Iterable[str]) -> tuple[str, ...]:
    """Each tag in its one form, once, in order of the alphabet.

    Raises:
        UserError: one of them cannot be a tag.
    """
    return tuple(sorted({normal(tag) for tag in tags}))


class Tags:
    """Changes tags. Safe from several threads and processes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def change(self, doc: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> dict[str, object]:
        """Give a document tags and take others away; what it has then. The JSON of `reprise tag`.

        Raises:
            NotFound: no such document.
            UserError: a tag that cannot be one, that is added and removed at once, or one too many.
        """
        came, went = normalised(add), normalised(remove)
        both = sorted(set(came) & set(went))
        if both:
            raise UserError(f"the tag {both[0]!r} is both added and removed", hint="give it once")
        with self._db.write() as session:
            alone(session, "library")
            document = find(session, doc)
            changed = add_tags(session, document.id, came)
            changed += affected(session, delete(Tag).where(Tag.document == document.id, Tag.tag.in_(went)))
            if changed:  # no words: the log outlives a deleted document
                record(session, "tag", document.id, changed=changed)
            session.flush()
            tags = tags_of(session, [document.id])[document.id]
            return {"document": document.id, "name": document.name, "tags": tags}

    def of(self, doc: str) -> dict[str, object]:
        """The tags of a document, as `change` tells them."""
        with self._db.read() as session:
            document = find(session, doc)
            tags = tags_of(session, [document.id])[document.id]
            return {"document": document.id, "name": document.name, "tags": tags}


def add_tags(session: Session, document: str, tags: Iterable[str], most: int | None = MOST) -> int:
    """Give a document tags that are in their one form, in the caller's write transaction; how many were new.

    Args:
        most: tags it may have; None where nothing may fail any more.

    Raises:
        UserError: it would have too many.
    """
    has = set(session.scalars(select(Tag.tag).where(Tag.document == document)))
    new = sorted(set(tags) - has)
    if most is not None and len(has) + len(new) > most:
        raise UserError(f"a document has at most {most} tags", hint="remove some first", code="too_many_tags")
    session.add_all(Tag(document=document, tag=tag) for tag in new)
    return len(new)


def tags_of(
    session: Session, documents: Sequence[str] | None = None, workspace: str | None = None
) -> dict[str, list[str]]:
    """The tags of documents, of all (in `workspace`) where none are named, in order; nothing for one without."""
    wanted = select(Tag.document, Tag.tag).join(Document, Document.id == Tag.document).order_by(Tag.tag)
    if documents is not None:
        wanted = wanted.where(Tag.document.in_(documents))
    if workspace is not None:
        wanted = wanted.where(Document.workspace == workspace)
    found: dict[str, list[str]] = defaultdict(list)
    for document, tag in session.execute(wanted):
        found[document].append(tag)
    return found
