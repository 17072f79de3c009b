"""Delete: a document leaves, and nothing of it stays.

First a flip makes it invisible everywhere at once; then its traces are erased, which is repeatable: a delete that died
in between is finished at the next start, by beat's tick, or by asking again. The receipt lists what went, and what it
cannot reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from qdrant_client import models
from sqlalchemy import Text, cast, delete, func, or_, select, update
from sqlalchemy.orm import Session

from ingest.library import Library, find, needed
from ingest.publish import Dependent, live_chunks, live_version
from ingest.retention import forget_chunks
from ingest.tables import Chunk, Document, Embedding, Position, Sketch, Tag, Version, WatchItem
from kernel.audit import record
from kernel.database import Database, affected, alone
from kernel.epochs import Death, Epochs, Plan
from kernel.errors import TryAgain
from kernel.ids import now_ms
from kernel.index.schema import keyword
from kernel.items import unfinished
from kernel.ports import Blobs, VectorIndex
from kernel.tables import Change, Job, JobItem

UNREACHABLE = [
    "backups and exports made earlier",
    "copies that left through answers, downloads or the HTTP API",
    "uploads of it that are still under way",
]


class Eraser(Protocol):
    """Somebody else who keeps traces of documents: turns, examples, run folders."""

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """Remove every trace of the document; what was removed, by name of a receipt's field. Repeatable."""


class DeleteHandler:
    """The `delete` kind of change, and the erasing that follows it."""

    kind = "delete"

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        index: VectorIndex,
        epochs: Epochs,
        library: Library,
        dependents: Sequence[Dependent] = (),
        erasers: Sequence[Eraser] = (),
    ) -> None:
        self._db, self._blobs, self._index, self._epochs, self._library = db, blobs, index, epochs, library
        self._dependents, self._erasers = tuple(dependents), tuple(erasers)
        epochs.register(self)

    def delete(self, doc: str) -> dict[str, Any]:
        """Delete a document by id or name; the receipt. One whose erasing was interrupted is erased to the end.

        Raises:
            NotFound: no such document.
        """
        halfway = self._halfway(doc)
        if halfway is not None:
            return self._erase(halfway)
        for attempt in range(5):
            with self._db.write() as session:
                document = find(session, doc)
                live = live_version(session, document.id)
                body = {"base": live.number if live else None}
                change = self._epochs.stage(session, self.kind, document.id, [], body)
            try:
                self._epochs.flip([change])
                break
            except BaseException as error:
                self._epochs.abandon(change)
                if attempt == 4 or not isinstance(error, TryAgain):
                    raise
        return self._erase(document.id)

    def finish_interrupted(self, *, orphaned: bool = False, silent_ms: int = 0) -> int:
        """Erase what deletes that died after their flip, at least `silent_ms` ago, left; how many there were.

        `orphaned` says that no other process works here: then blobs that nothing names go as well, which publishes that
        died before their first row left, and files that were refused in a job.
        """
        with self._db.read() as session:
            quiet = (Document.state == "deleting", Document.updated <= now_ms() - silent_ms)
            interrupted = list(session.scalars(select(Document.id).where(*quiet)))
        for document in interrupted:
            self._erase(document)
        if orphaned:
            self._collect()
            self._db.erase_traces()
        return len(interrupted)

    # --- kernel.epochs.Handler -------------------------------------------------------------------

    def settle(self, session: Session, change: Change, epoch: int) -> Plan:
        document = session.get(Document, change.subject)
        live = live_version(session, change.subject)
        if document is None or document.state != "live" or (live.number if live else None) != change.body["base"]:
            raise TryAgain("the document changed meanwhile", hint="try again", code="moved")
        points = [point for point, _ in live_chunks(session, live)]
        notes: list[dict[str, Any]] = []
        dying: list[str] = []
        for dependent in self._dependents:
            theirs, noted = dependent.settle(session, change.subject, set(points), None)
            dying += theirs
            notes.append(noted)
        return Plan(deaths=(Death(points=(*points, *dying), until=0),), notes={"dependents": notes})

    def commit(self, session: Session, change: Change, epoch: int, at: int) -> None:
        for dependent, notes in zip(self._dependents, change.plan["notes"]["dependents"], strict=True):
            dependent.commit(session, epoch, notes)
        document = session.get_one(Document, change.subject)
        record(session, "delete", document.id)
        document.state, document.updated = "deleting", at
        document.receipt = {"epoch": epoch, "at": at}

    def sweep(self, session: Session, change: Change) -> None:
        """Nothing was written."""

    # --- erasing ---------------------------------------------------------------------------------

    def _halfway(self, doc: str) -> str | None:
        """The document of that id or name which was deleted and is not erased yet, if no live one has the name."""
        called = or_(Document.id == doc, Document.name == doc)
        with self._db.read() as session:
            found = session.execute(
                select(Document.id, Document.state).where(called, Document.state.in_(("live", "deleting")))
            ).all()
        return found[0][0] if found and all(state == "deleting" for _, state in found) else None

    def _erase(self, document: str) -> dict[str, Any]:
        with self._db.read() as session:
            chunks = select(Chunk.point).where(Chunk.document == document)
            points = list(session.scalars(chunks))
            versions = list(session.scalars(select(Version).where(Version.document == document)))
            receipt: dict[str, Any] = dict((session.get(Document, document) or Document()).receipt or {})
        texts = {v.text_key for v in versions} - {""}
        found: dict[str, Any] = {
            "points": len(points),
            "blobs": 0,
            "examples": 0,
            "cache_entries": self._library.forget(sorted(texts)),
            "adapters_trained_on_it": [],
        }
        for eraser in self._erasers:
            for name, what in eraser.erase(document, points).items():
                found[name] = found.get(name, type(what)()) + what
        self._index.delete(points)
        kept_until_now = [v for v in versions if v.state != "expired" or v.text_key]
        keys = sorted(texts | {v.sha256 for v in kept_until_now})
        with self._db.write() as session:
            alone(session, "library")
            _redact_jobs(session, document)
            found |= _forget_sources(session, document)
            found["tags"] = affected(session, delete(Tag).where(Tag.document == document))
            session.execute(delete(Position).where(Position.document == document))
            found["cache_entries"] += forget_chunks(session, points) + _forget_orphans(session)
            session.execute(delete(Version).where(Version.document == document))
            session.execute(delete(Change).where(Change.subject == document, Change.state == "done"))
            for key in keys:
                if not needed(session, key):
                    self._blobs.delete(key)
                    found["blobs"] += 1  # also one that a delete which died here took before
            found["cache_entries"] += self._library.forget(sorted(texts))  # a reader may have been quicker
            now = session.get_one(Document, document, with_for_update=True)
            if now.state == "deleted":  # somebody else erased it meanwhile, and counted
                receipt, found = dict(now.receipt or {}), {name: type(what)() for name, what in found.items()}
            kept = {name: receipt.get(name, type(what)()) + what for name, what in found.items()}
            session.execute(
                update(Document)
                .where(Document.id == document)
                .values(state="deleted", name=document, title="", source="", receipt=receipt | kept)
            )
        self._db.erase_traces()
        return {
            "document": document,
            **kept,
            "remaining": self._remaining(document),
            "unreachable": UNREACHABLE,
            "epoch": receipt.get("epoch"),
        }

    def _collect(self) -> None:
        with self._db.read() as session:
            kept = select(Version.sha256, Version.text_key).where(Version.state != "expired")
            named = {key for keys in session.execute(kept) for key in keys}
            jobs = " ".join(session.scalars(select(cast(Job.args, Text)).where(or_(Job.state != "done", unfinished()))))
        for key in list(self._blobs.keys()):
            if key not in named and key not in jobs:
                self._blobs.delete(key)

    def _remaining(self, document: str) -> int:
        """What is still there of the document, counted, not assumed: points, rows."""
        points = self._index.count(models.Filter(must=[keyword("doc", document)]))
        with self._db.read() as session:
            rows = sum(
                session.scalar(select(func.count()).select_from(table).where(table.document == document)) or 0
                for table in (Chunk, Position, Version, Sketch, Tag, WatchItem)
            )
        return points + rows


def _forget_sources(session: Session, document: str) -> dict[str, int]:
    """What remembers where the document came from, and what it is like. In the caller's transaction; how many of each.

    A watch keeps knowing that it saw the file: with its digest and without a document it is one that a person deleted,
    and comes back when it changes.
    """
    watched = update(WatchItem).where(WatchItem.document == document).values(document=None)
    return {
        "sketches": affected(session, delete(Sketch).where(Sketch.document == document)),
        "watch_items": affected(session, watched),
    }


def _forget_orphans(session: Session) -> int:
    """Cached vectors of texts that no chunk has: a publish of the document that failed left them."""
    return affected(session, delete(Embedding).where(Embedding.digest.not_in(select(Chunk.digest))))


def _redact_jobs(session: Session, document: str) -> None:
    """Take the document's name and source out of the jobs that report on it; rows of the ledger outlive documents."""
    found = session.get(Document, document)
    words = {found.name, found.source, found.title} - {""} if found else set()
    name = found.name if found else ""
    for job in session.scalars(select(Job).where(cast(Job.result, Text).contains(document))):
        job.args, job.result = _without(_untagged(job.args, name), words), _without(job.result, words)
    for item in session.scalars(select(JobItem).where(cast(JobItem.outcome, Text).contains(document))):
        item.outcome = _without(item.outcome, words)


def _untagged(args: Any, name: str) -> Any:
    """Arguments of a job without the tags its file of that name was sent with. A tag may be any word, also one that
    stands elsewhere in a job, so it is not looked for."""
    files = args.get("files") if isinstance(args, dict) else None
    if not isinstance(files, list):
        return args
    kept = [of | {"tags": []} if isinstance(of, dict) and of.get("name") == name else of for of in files]
    return args | {"files": kept}


def _without(value: Any, words: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(item, words) for name, item in value.items()}
    if isinstance(value, list):
        return [_without(item, words) for item in value]
    return "[deleted]" if isinstance(value, str) and value in words else value
