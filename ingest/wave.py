"""A wave: files of different documents that share their embedding call and their flip.

    stage    one transaction    the rows of all of them
    insert   one call           what is new in all of them, embedded and put into the index
    show     one epoch          all of them become visible

It knows how, and leaves when and what next to `ingest.add`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from ingest.incoming import Incoming, failure_row, row
from ingest.layout import stands
from ingest.library import needed
from ingest.near import same_bytes
from ingest.publish import PublishHandler, Staged, check_source, live_version, named
from ingest.tables import Document, Version
from ingest.tags import add_tags
from ingest.vectors import Vectors
from kernel.audit import record
from kernel.database import Database, alone
from kernel.epochs import Epochs
from kernel.errors import DiskFull, NotFound, RepriseError
from kernel.ids import digest, fresh, now_ms
from kernel.index.schema import unborn
from kernel.ports import Blobs, VectorIndex
from kernel.types import ChunkDraft, Parsed

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Item:
    """One file of a batch and what became of it."""

    file: Incoming
    blob: str = ""
    continues: bool = False
    """An earlier file still in hand has its name, so what is live now is not what it will be compared with."""
    of: str | None = None
    """The document that is published again; None for a file that came in."""
    cause: str = "ingest"
    layout: str = ""
    """What cut the drafts."""
    parsed: Parsed | None = None
    language: str = ""
    """Of the text."""
    drafts: tuple[ChunkDraft, ...] = ()
    same_as: list[str] = field(default_factory=list)
    """Other documents that have these very bytes."""
    staged: Staged | None = None
    row: dict[str, Any] | None = None

    @property
    def outcome(self) -> dict[str, Any]:
        """The row of a file that is through."""
        assert self.row is not None
        return self.row

    @property
    def key(self) -> tuple[str, str]:
        return self.file.workspace, self.file.name


class Waves:
    """Stages and shows waves. Safe from several threads. `step` is called between the steps; tests die there."""

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        index: VectorIndex,
        vectors: Vectors,
        epochs: Epochs,
        publish: PublishHandler,
    ) -> None:
        self._db, self._blobs, self._index, self._vectors = db, blobs, index, vectors
        self._epochs, self._publish = epochs, publish
        self.step: Callable[[str], None] = lambda _name: None

    def stage(self, items: Sequence[Item]) -> list[Item]:
        """Step 1, in one transaction. Those that are staged; the others have their row."""
        self.step("before stage")
        staged: list[Item] = []
        with self._db.write() as session:
            alone(session, "library")
            for item in items:
                try:  # what is refused here has written nothing
                    self._stage_one(session, item)
                except RepriseError as error:
                    item.row = failure_row(item.file, error)
                else:
                    staged += [item] if item.row is None else []
            for item in staged:  # again, now that rows name them: a delete of their last other user may have run
                self.store(item)
        self.step("staged")
        return staged

    def store(self, item: Item) -> None:
        """The bytes of a file and of its text, as blobs."""
        assert item.parsed is not None
        self._blobs.put(item.file.content)
        self._blobs.put(item.parsed.text.encode())

    def show(self, items: Sequence[Item], progress: Callable[[str], None]) -> None:
        """Steps 2 to 5."""
        changes = [item.staged.change for item in items if item.staged]
        if not changes:
            return
        with self._epochs.keeping(changes):
            self.insert(items, progress)
            progress("publishing")
            self._epochs.flip(changes)

    def insert(self, items: Sequence[Item], progress: Callable[[str], None]) -> None:
        """Step 2: embed what is new in all of them together, insert document by document."""
        progress("embedding")
        fresh_ones = [(item, i) for item in items if item.staged for i in item.staged.diff.new]
        drafts = [item.drafts[i] for item, i in fresh_ones]
        digests = [item.staged.diff.digests[i] for item, i in fresh_ones if item.staged]
        vectors = self._vectors.of(digests, [d.embedded_text for d in drafts], lambda _done: progress("embedding"))
        points: dict[str, list[Any]] = {}
        for (item, i), draft, vector in zip(fresh_ones, drafts, vectors, strict=True):
            assert item.staged is not None
            point = unborn(
                item.staged.diff.points[i],
                vector.tolist(),
                draft.embedded_text,
                item.staged.valid_from,
                kind="chunk",
                ws=item.file.workspace,
                doc=item.staged.document,
            )
            points.setdefault(item.staged.document, []).append(point)
        for some in points.values():
            self._index.insert(some)
            self.step("inserted")

    def forget(self, item: Item) -> None:
        if item.staged is None:
            return
        diff = item.staged.diff
        try:
            self._epochs.abandon(item.staged.change, [diff.points[i] for i in diff.new])
        except RepriseError:  # a full disk, say; it is swept when its lease has expired
            log.exception("sweeping what is left of %r", item.file.path)
        item.staged = None

    def report(self, item: Item) -> None:
        staged = item.staged
        assert staged is not None
        diff = staged.diff
        item.row = row(
            item.file,
            "published",
            staged.document,
            staged.version,
            new=len(diff.new),
            kept=len(diff.points) - len(diff.new),
            retired=len(diff.retired),
        )
        item.row["notes"] = list(item.parsed.notes) if item.parsed else []
        item.row["same_as"] = item.same_as

    def drop_unused(self, item: Item) -> None:
        """A file that did not become a version leaves no bytes behind, unless a job has yet to read them."""
        keys = {item.blob, digest(item.parsed.text) if item.parsed else ""} - {""}
        with suppress(DiskFull), self._db.write() as session:  # a write: nobody stages a version of them meanwhile
            alone(session, "library")
            for key in keys:
                if not needed(session, key):
                    self._blobs.delete(key)

    def _stage_one(self, session: Session, item: Item) -> None:
        file, parsed = item.file, item.parsed
        assert parsed is not None
        document = named(session, file.workspace, file.name)
        if item.of is not None and (document is None or document.id != item.of):
            raise NotFound(f"{file.name!r} was deleted meanwhile", hint="there is nothing to publish again")
        live = live_version(session, document.id) if document else None
        if document is not None:
            check_source(file, document.source)
            if live is not None and _stands(session, item, live):
                item.row = row(file, "unchanged", document.id, live.number, kept=live.chunks_new + live.chunks_kept)
                added = add_tags(session, document.id, file.tags)
                if added:  # there is no epoch to tell of them
                    record(session, "tag", document.id, changed=added)
                return
        else:
            document = Document(
                id=fresh("doc"),
                workspace=file.workspace,
                name=file.name,
                title=parsed.title,
                source=file.source,
                state="live",
                created=now_ms(),
                updated=now_ms(),
                receipt=None,
            )
            session.add(document)
            session.flush()
            item.same_as = same_bytes(session, file.workspace, item.blob)
        item.staged = self._publish.stage(
            session,
            document,
            parsed,
            item.drafts,
            live,
            blob=item.blob,
            size=len(file.content),
            chunker=item.layout,
            valid_from=file.at,
            cause=item.cause,
            language=item.language,
            tags=file.tags,
        )


def _stands(session: Session, item: Item, live: Version) -> bool:
    """Whether what is live is already what would be published."""
    if item.cause != "rechunk":
        return live.sha256 == item.blob
    if live.sha256 != item.blob:
        return True  # edited meanwhile: that version was cut as versions are cut now
    assert item.parsed is not None
    if stands(session, live, digest(item.parsed.text), item.drafts):
        live.chunker = item.layout
        return True
    return False


def waves(items: Sequence[Item]) -> Iterable[list[Item]]:
    """Items of one document must not share a flip: the later one's diff is against the earlier one."""
    rest = list(items)
    while rest:
        seen: set[tuple[str, str]] = set()
        wave: list[Item] = []
        later: list[Item] = []
        for item in rest:
            (later if item.key in seen else wave).append(item)
            seen.add(item.key)
        yield wave
        rest = later
