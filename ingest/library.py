"""Reading the library: documents, versions and their texts. It changes nothing.

What happened is in `ingest.changes`, what differs in `ingest.compare`, what counts when in `ingest.place`; the class
here opens the database and the blobs for them.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from threading import Lock
from typing import Any

from sqlalchemy import Text, cast, func, or_, select
from sqlalchemy.orm import Session

from ingest import changes, compare
from ingest.find import find
from ingest.parse.detect import detect
from ingest.parse.texts import suffix_for
from ingest.place import PUBLISHED, Placed, counting, pending, place, state
from ingest.tables import Document, Position, Version
from ingest.tags import tags_of
from kernel.database import Database
from kernel.errors import NotFound
from kernel.ids import iso, now_ms
from kernel.items import unfinished
from kernel.jobs import ACTIVE
from kernel.ports import Blobs
from kernel.tables import Job
from kernel.types import When

__all__ = ["Library", "Placed", "find", "needed", "read_as"]


class Library:
    """Questions about documents. Safe from several threads."""

    def __init__(self, db: Database, blobs: Blobs) -> None:
        self._db, self._blobs = db, blobs
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def find(self, doc: str, workspace: str | None = None) -> Document:
        """A live document by id, or by name (in `workspace`, or in the only one that has it).

        Raises:
            NotFound: there is none; a deleted one says so.
            Conflict: several workspaces have a document of that name.
        """
        with self._db.read() as session:
            return find(session, doc, workspace)

    def documents(self, workspace: str | None = None) -> list[dict[str, Any]]:
        """Live documents in order of name. `live_version` is the one that counts now; None before the first does."""
        with self._db.read() as session:
            live = select(Document).where(Document.state == "live").order_by(Document.workspace, Document.name)
            if workspace is not None:
                live = live.where(Document.workspace == workspace)
            found = list(session.scalars(live))
            mine = select(Version).join(Document, Document.id == Version.document).where(Document.state == "live")
            if workspace is not None:
                mine = mine.where(Document.workspace == workspace)
            published: dict[str, list[Version]] = defaultdict(list)
            for version in session.scalars(mine.where(Version.state.in_(PUBLISHED))):
                published[version.document].append(version)
            tags, now = tags_of(session), now_ms()
        # A document whose first version is still being published is not listed yet.
        return [_listed(d, published[d.id], tags.get(d.id, []), now) for d in found if published[d.id]]

    def empty(self, workspace: str) -> bool:
        """True if no document of `workspace` was ever published and kept."""
        with self._db.read() as session:
            published = select(Version.number).join(Document, Document.id == Version.document)
            found = published.where(
                Document.workspace == workspace, Document.state == "live", Version.state != "staged"
            )
            return session.execute(found.limit(1)).first() is None

    def history(self, doc: str) -> list[dict[str, Any]]:
        """All published versions, newest first."""
        with self._db.read() as session:
            return changes.history(session, find(session, doc).id)

    def version(self, doc: str, number: int | None = None) -> tuple[Document, Version]:
        """A document and one of its published versions; the one that counts now when none is named.

        Raises:
            NotFound: no such document or version; an expired one says when and by which rule it went.
        """
        with self._db.read() as session:
            document = find(session, doc)
            mine = select(Version).where(Version.document == document.id, Version.state != "staged")
            versions = list(session.scalars(mine.order_by(Version.number)))
            if number is None:
                found = counting(versions, now_ms())
                if found is None:
                    raise _nothing_counts(document, versions)
            else:
                found = next((v for v in versions if v.number == number), None)
            if found is None:
                raise NotFound(
                    f"{document.name!r} has no version {number}",
                    hint=f"`reprise history {document.name}` lists its versions",
                )
            if found.state not in PUBLISHED:
                raise _tombstone(session, document, found.number)
            return document, found

    def text(self, doc: str, number: int | None = None) -> dict[str, Any]:
        """The text that offsets of a version refer to, and its pages."""
        document, version = self.version(doc, number)
        with self._db.read() as session:
            others = session.scalars(select(Version).where(Version.document == document.id, Version.state != "staged"))
            counts = counting(others, now_ms())
        return {
            "document": document.id,
            "name": document.name,
            "title": document.title,
            "version": version.number,
            "state": state(version, counts),
            "pending": pending(version, counts),
            "text": self.text_of(version.text_key),
            "pages": version.pages,
        }

    def original(self, doc: str, number: int | None = None) -> tuple[Document, Version, bytes]:
        """The bytes as they came in."""
        document, version = self.version(doc, number)
        return document, version, self._blobs.get(version.sha256)

    def text_of(self, key: str) -> str:
        """A text blob by key, from a small cache."""
        with self._lock:
            if key in self._texts:
                self._texts.move_to_end(key)
                return self._texts[key]
        text = self._blobs.get(key).decode()
        with self._lock:
            self._texts[key] = text
            while len(self._texts) > 64:
                self._texts.popitem(last=False)
        return text

    def forget(self, keys: list[str]) -> int:
        """Drop texts from the cache; how many were there."""
        with self._lock:
            return sum(self._texts.pop(key, None) is not None for key in keys)

    def diff(self, doc: str, a: int, b: int) -> dict[str, list[Any]]:
        """What changed between two versions, by passage and in it by word; the JSON of `reprise diff`."""
        with self._db.read() as session:
            document = find(session, doc)
        return compare.compare(self._passages(document.id, a), self._passages(document.id, b))

    def changes(self, since: int = 0, after: int | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """What happened after epoch `since`, or after the row `after`, oldest first; see `ingest.changes.feed`."""
        with self._db.read() as session:
            return changes.feed(session, since, after, limit)

    def place(self, points: list[str], when: When) -> dict[str, Placed]:
        """Resolve points to the versions of theirs that are visible at `when`; those that are not are left out."""
        if not points:
            return {}
        with self._db.read() as session:
            return place(session, points, when, self.text_of)

    def counts(self) -> dict[str, int]:
        """Documents, versions and chunks of the newest ones, for the status pages."""
        with self._db.read() as session:
            published = select(Version.number).where(Version.document == Document.id, Version.state.in_(PUBLISHED))
            known = select(func.count()).select_from(Document)
            documents = known.where(Document.state == "live", published.exists())
            versions = select(func.count()).select_from(Version).where(Version.state.in_(PUBLISHED))
            chunks = select(func.sum(Version.chunks_new + Version.chunks_kept)).where(Version.state == "live")
            counted = {"documents": documents, "versions": versions, "chunks": chunks}
            return {name: session.scalar(wanted) or 0 for name, wanted in counted.items()}

    def _passages(self, document: str, number: int) -> list[compare.Shown]:
        _, version = self.version(document, number)
        text = self.text_of(version.text_key)
        with self._db.read() as session:
            spans = session.execute(
                select(Position.start, Position.end, Position.heading)
                .where(Position.document == document, Position.version == number)
                .order_by(Position.ordinal)
            )
            passages, last = [], 0
            for start, end, heading in spans:
                # Where passages overlap, what both show is told with both: it is no great part.
                space = text[last:start] if last <= start else "\n"
                passages.append(compare.Shown(text=text[start:end], heading=heading, space=space))
                last = end
            return passages


def read_as(name: str, media_type: str, content: bytes) -> str:
    """A file name under which `content` is read as `media_type`: a person may have given it any name."""
    found = suffix_for(media_type)
    return name + found[1] if found and detect(content, name) != found[0] else name


def needed(session: Session, blob: str) -> bool:
    """True while a version that is kept is made of the blob, or a job has yet to read it, be it in a retry."""
    made = or_(Version.sha256 == blob, Version.text_key == blob)
    versions = select(Version.number).where(made, Version.state != "expired")
    jobs = select(Job.id).where(or_(Job.state.in_(ACTIVE), unfinished()), cast(Job.args, Text).contains(blob))
    return any(session.execute(named.limit(1)).first() is not None for named in (versions, jobs))


def _listed(document: Document, published: list[Version], tags: list[str], now: int) -> dict[str, Any]:
    counts = counting(published, now)
    shown = counts or max(published, key=lambda v: v.number)  # none counts yet: what is going to
    return {
        "document": document.id,
        "name": document.name,
        "workspace": document.workspace,
        "title": document.title,
        "source": document.source,
        "tags": tags,
        "language": shown.language,
        "live_version": counts.number if counts else None,
        "pending": any(pending(v, counts) for v in published),
        "versions": len(published),
        "chunks": shown.chunks_new + shown.chunks_kept,
        "bytes": shown.bytes,
        "media_type": shown.media_type,
        "from": iso(shown.valid_from),
        "updated": iso(document.updated),
    }


def _nothing_counts(document: Document, versions: list[Version]) -> NotFound:
    ahead = [v for v in versions if v.state in PUBLISHED]
    if not ahead:
        return NotFound(f"{document.name!r} has no live version", hint="it is still being published; try again")
    first = ahead[0]
    return NotFound(
        f"{document.name!r} has no version that counts yet: its version {first.number} does from "
        f"{iso(first.valid_from)}",
        hint=f"name the version to see it before its time: `--version {first.number}`",
        code="pending",
    )


def _tombstone(session: Session, document: Document, number: int) -> NotFound:
    """What a citation of an expired version opens."""
    entry = changes.expiries(session, document.id).get(number)
    by = f" on {iso(entry.at)} by the rule {entry.detail['policy']!r}" if entry else ""
    return NotFound(
        f"version {number} of {document.name!r} expired{by}",
        hint="its text is gone for good; `reprise history DOC` shows which versions are kept",
        code="expired",
    )
