"""Reading the library: documents, versions, texts, positions. It changes nothing."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import Text, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from ingest.parse.detect import detect
from ingest.tables import Document, Position, Version
from kernel.database import Database
from kernel.errors import Conflict, NotFound
from kernel.ids import iso
from kernel.jobs import ACTIVE
from kernel.ports import Blobs
from kernel.tables import Job
from kernel.types import When

_TEXTS = {
    "text/markdown": ("markdown", ".md"),
    "text/html": ("html", ".html"),
    "text/plain": ("plain", ".txt"),
}
"""Kinds of text that only a name tells apart."""


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
        """Live documents in order of name."""
        with self._db.read() as session:
            live = select(Document).where(Document.state == "live").order_by(Document.workspace, Document.name)
            if workspace is not None:
                live = live.where(Document.workspace == workspace)
            rows = []
            for document in session.scalars(live):
                versions = list(session.scalars(select(Version).where(Version.document == document.id)))
                published = [v for v in versions if v.state != "staged"]
                current = next((v for v in published if v.state == "live"), None)
                if not published:
                    continue  # its first version is still being published
                rows.append(
                    {
                        "document": document.id,
                        "name": document.name,
                        "workspace": document.workspace,
                        "title": document.title,
                        "source": document.source,
                        "live_version": current.number if current else None,
                        "versions": len(published),
                        "chunks": current.chunks_new + current.chunks_kept if current else 0,
                        "bytes": current.bytes if current else 0,
                        "media_type": current.media_type if current else "",
                        "updated": iso(document.updated),
                    }
                )
            return rows

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
            document = find(session, doc)
            rows = session.scalars(
                select(Version)
                .where(Version.document == document.id, Version.state != "staged")
                .order_by(Version.number.desc())
            )
            return [
                {
                    "version": v.number,
                    "epoch": v.born,
                    "at": iso(v.valid_from),
                    "state": v.state,
                    "sha256": v.sha256,
                    "chunks_new": v.chunks_new,
                    "chunks_kept": v.chunks_kept,
                    "chunks_retired": v.chunks_retired,
                }
                for v in rows
            ]

    def version(self, doc: str, number: int | None = None) -> tuple[Document, Version]:
        """A document and one of its published versions; the live one when none is named.

        Raises:
            NotFound: no such document or version.
        """
        with self._db.read() as session:
            document = find(session, doc)
            wanted = select(Version).where(Version.document == document.id, Version.state != "staged")
            wanted = wanted.where(Version.number == number) if number else wanted.where(Version.state == "live")
            version = session.scalars(wanted).first()
            if version is None:
                raise NotFound(
                    f"{document.name!r} has no version {number}"
                    if number
                    else f"{document.name!r} has no live version",
                    hint=f"`reprise history {document.name}` lists its versions",
                )
            return document, version

    def text(self, doc: str, number: int | None = None) -> dict[str, Any]:
        """The text that offsets of a version refer to, and its pages."""
        document, version = self.version(doc, number)
        return {
            "document": document.id,
            "name": document.name,
            "title": document.title,
            "version": version.number,
            "state": version.state,
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
        """What changed between two versions, by chunk: added, removed, and changed ones paired by likeness."""
        with self._db.read() as session:
            document = find(session, doc)
        before, after = self._chunk_texts(document.id, a), self._chunk_texts(document.id, b)
        added: list[str] = []
        removed: list[str] = []
        changed: list[dict[str, str]] = []
        for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
            if tag == "equal":
                continue
            gone, come = list(before[i1:i2]), list(after[j1:j2])
            for old in list(gone):
                alike = difflib.get_close_matches(old, come, n=1, cutoff=0.5)
                if alike:
                    changed.append({"before": old, "after": alike[0]})
                    gone.remove(old)
                    come.remove(alike[0])
            removed += gone
            added += come
        return {"added": added, "removed": removed, "changed": changed}

    def changes(self, since: int) -> list[dict[str, Any]]:
        """What was published or deleted after epoch `since`, oldest first."""
        with self._db.read() as session:
            rows: list[dict[str, Any]] = []
            born = select(Version, Document).join(Document, Document.id == Version.document)
            published = Version.state != "staged"
            first = select(Version.document, func.min(Version.number)).where(published).group_by(Version.document)
            firsts = {(document, number) for document, number in session.execute(first)}
            for version, document in session.execute(born.where(Version.born > since, published)):
                what = "added" if (version.document, version.number) in firsts else "changed"
                rows.append(_change(version.born, version.created, document, version.number, what))
            for document in session.scalars(select(Document).where(Document.state.in_(("deleting", "deleted")))):
                receipt = document.receipt or {}
                if receipt.get("epoch", 0) > since:
                    rows.append(_change(receipt["epoch"], receipt["at"], document, None, "deleted"))
        return sorted(rows, key=lambda row: (row["epoch"], row["document"]))

    def place(self, points: list[str], when: When) -> dict[str, Placed]:
        """Resolve points to the versions of theirs that are visible at `when`; those that are not are left out."""
        if not points:
            return {}
        with self._db.read() as session:
            rows = session.execute(
                select(Position, Version, Document)
                .join(Version, and_(Version.document == Position.document, Version.number == Position.version))
                .join(Document, Document.id == Position.document)
                .where(
                    Position.point.in_(points),
                    Document.state == "live",
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
                    text=self.text_of(version.text_key)[position.start : position.end],
                )
        return found

    def counts(self) -> dict[str, int]:
        """Documents, versions and visible chunks, for the status pages."""
        with self._db.read() as session:
            live = Version.state == "live"
            return {
                "documents": session.scalar(select(func.count()).select_from(Document).where(Document.state == "live"))
                or 0,
                "versions": session.scalar(select(func.count()).select_from(Version).where(Version.state != "staged"))
                or 0,
                "chunks": session.scalar(select(func.sum(Version.chunks_new + Version.chunks_kept)).where(live)) or 0,
            }

    def _chunk_texts(self, document: str, number: int) -> list[str]:
        _, version = self.version(document, number)
        text = self.text_of(version.text_key)
        with self._db.read() as session:
            spans = session.execute(
                select(Position.start, Position.end)
                .where(Position.document == document, Position.version == number)
                .order_by(Position.ordinal)
            )
            return [text[start:end] for start, end in spans]


def find(session: Session, doc: str, workspace: str | None = None) -> Document:
    """`Library.find` in the caller's transaction."""
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


def read_as(name: str, media_type: str, content: bytes) -> str:
    """A file name under which `content` is read as `media_type`: a person may have given it any name."""
    kind, suffix = _TEXTS.get(media_type, ("", ""))
    return name + suffix if kind and detect(content, name) != kind else name


def needed(session: Session, blob: str) -> bool:
    """True while a version is made of the blob, or an accepted job has yet to read it."""
    versions = select(Version.number).where(or_(Version.sha256 == blob, Version.text_key == blob))
    jobs = select(Job.id).where(Job.state.in_(ACTIVE), cast(Job.args, Text).contains(blob))
    return any(session.execute(named.limit(1)).first() is not None for named in (versions, jobs))


def _change(epoch: int, at: int, document: Document, version: int | None, what: str) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "at": iso(at),
        "document": document.id,
        "name": document.name,
        "version": version,
        "what": what,
    }
