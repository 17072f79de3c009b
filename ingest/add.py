"""Files to published versions: the way every document comes in.

    reading     other threads, ahead    hash, unchanged?, parse, chunk    one file each
    staging     one transaction         rows of all files of a batch
    embedding   one call                what is new in all of them, less what the cache has
    flip        one epoch               all of them become visible together

A file that is refused never stops the others. The order of files is kept: two of one name are two versions in that
order. A release (`together`) shares one flip over all its batches.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

from sqlalchemy import bindparam, select

from ingest.ahead import read_ahead
from ingest.incoming import Incoming, failure_row, row
from ingest.language import language_of
from ingest.layout import chunker_for, layout_of
from ingest.library import read_as
from ingest.moved import Moves
from ingest.parse import parse
from ingest.parse.limits import Limits
from ingest.publish import PublishHandler, check_source, live_version
from ingest.release import Release
from ingest.tables import Document, Version
from ingest.tags import Tags, add_tags
from ingest.vectors import Vectors
from ingest.wave import Item, Waves, waves
from kernel.blobs import require_room
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.errors import DiskFull, RepriseError, TryAgain
from kernel.ids import digest
from kernel.jobs import Cancelled
from kernel.ports import Blobs, Embedder, VectorIndex
from kernel.settings import Settings
from kernel.types import ChunkDraft, Parsed, Progress, silent

log = logging.getLogger(__name__)

Read = Callable[[bytes, str], tuple[Parsed, Sequence[ChunkDraft]]]
"""(content, name) to text and chunks. Raises `FileRefused`."""

_FIRST_FILES, _BATCH_FILES, _BATCH_BYTES = 8, 64, 8 * 2**20
_ATTEMPTS = 5

_SAME_BYTES = (
    select(Document.id, Document.source, Version.number, Version.chunks_new + Version.chunks_kept)
    .join(Version, Version.document == Document.id)
    .where(Document.workspace == bindparam("workspace"), Document.name == bindparam("name"))
    .where(Document.state == "live", Version.state == "live", Version.sha256 == bindparam("blob"))
)
"""The document of a name, if its live version has these bytes. Put together once: it is asked for every file."""


class Ingest:
    """Publishes files. Safe from several threads.

    Args:
        read: how a file becomes text and chunks; without it, here in this process.
        readers: files read at once.
    """

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        index: VectorIndex,
        embedder: Embedder,
        epochs: Epochs,
        publish: PublishHandler,
        settings: Settings,
        *,
        read: Read | None = None,
        readers: int = 1,
    ) -> None:
        self._db, self._epochs, self._embedder, self._settings = db, epochs, embedder, settings
        self._waves = Waves(db, blobs, index, Vectors(db, embedder), epochs, publish)
        self._moves, self._tags = Moves(), Tags(db)
        self._read, self._readers = read or self._read_here, readers
        self._layouts: dict[str, str] = {}
        self._turns = [Lock() for _ in range(64)]

    @property
    def step(self) -> Callable[[str], None]:
        return self._waves.step

    @step.setter
    def step(self, step: Callable[[str], None]) -> None:
        self._waves.step = step

    def add(
        self,
        files: Iterable[Incoming],
        progress: Progress = silent,
        total: int = 0,
        *,
        together: bool = False,
        told: Callable[[Sequence[dict[str, Any]]], None] | None = None,
    ) -> dict[str, Any]:
        """Publish files; the JSON of `reprise ingest`. Takes them one batch at a time, whatever their number.

        Args:
            together: all of them become visible in one epoch, at the end; a name may then come once.
            told: told the rows of a batch as soon as it is published; nobody is of a release.
        """
        started = time.perf_counter()
        rows: list[dict[str, Any]] = []
        release = Release(self._waves, self._epochs) if together else None

        def report(stage: str) -> None:
            progress(stage, len(rows), max(total, len(rows)))

        with ExitStack() as stack:
            if release is not None:
                stack.enter_context(release.held())
            for batch in self._batches(files):
                self._add_batch(batch, report, release)
                became = [item.outcome for item in batch]
                rows += became
                if told is not None and release is None:
                    told(became)
                report("staged" if together else "published")
            if release is not None:
                report("publishing")
                release.flip(rows)
        return {
            "documents": rows,
            "seconds": round(time.perf_counter() - started, 3),
            "epoch": self._epochs.committed(),
        }

    @property
    def layout(self) -> str:
        """What documents are cut by now: the embedder that serves may be another than a moment ago."""
        key = self._embedder.fingerprint
        if key not in self._layouts:  # it is asked for every file, and takes a tokenizer's probe
            self._layouts[key] = layout_of(chunker_for(self._embedder, self._settings), self._embedder)
        return self._layouts[key]

    def again(self, document: Document, version: Version, content: bytes, cause: str) -> dict[str, Any]:
        """Publish the bytes of a version of a document again: to `restore` an old one, or to `rechunk` the live one."""
        file = Incoming(
            path=read_as(document.name, version.media_type, content),
            name=document.name,
            source=document.source,
            workspace=document.workspace,
            content=content,
        )
        item = Item(file, of=document.id, cause=cause)
        _guard(item, self._prepare)
        self._add_batch([item], lambda _stage: None)
        return item.outcome | {"path": document.name}

    # --- reading ---------------------------------------------------------------------------------

    def _batches(self, files: Iterable[Incoming]) -> Iterator[list[Item]]:
        """Files in order, read ahead, as many at a time as share a flip."""
        in_hand: Counter[tuple[str, str]] = Counter()

        def items() -> Iterator[Item]:
            for file in files:
                item = Item(file)
                item.continues = in_hand[item.key] > 0
                in_hand[item.key] += 1
                yield item

        ahead = read_ahead(
            items(),
            lambda item: _guard(item, self._prepare),
            lambda item: len(item.file.content),
            threads=self._readers,
            most=_BATCH_FILES,
            most_weight=_BATCH_BYTES,
        )
        batch: list[Item] = []
        size, enough = 0, _FIRST_FILES  # small batches first: embedding begins early, and so does seeing something
        for item in ahead:
            batch.append(item)
            size += len(item.file.content)
            if len(batch) >= enough or size >= _BATCH_BYTES:
                yield batch
                in_hand -= Counter(item.key for item in batch)
                batch, size, enough = [], 0, min(2 * enough, _BATCH_FILES)
        if batch:
            yield batch

    def _prepare(self, item: Item) -> None:
        """Everything that needs no lock: hash, unchanged check, parse, chunk, bytes on disk."""
        file = item.file
        item.blob = digest(file.content)
        if item.cause != "rechunk" and not item.continues:
            item.row = self._unchanged(file, item.blob) or self._moved(file, item.blob)
        if item.row is None:
            item.layout = self.layout
            item.parsed, drafts = self._read(file.content, _called(file))
            item.drafts = tuple(drafts)
            item.language = language_of(item.parsed.text)
            self._waves.store(item)

    def _read_here(self, content: bytes, name: str) -> tuple[Parsed, Sequence[ChunkDraft]]:
        parsed = parse(content, name, Limits.of(self._settings))
        return parsed, chunker_for(self._embedder, self._settings).chunk(parsed)

    def _unchanged(self, file: Incoming, blob: str) -> dict[str, Any] | None:
        with self._db.read() as session:
            asked = {"workspace": file.workspace, "name": file.name, "blob": blob}
            found = session.execute(_SAME_BYTES, asked).first()
        if found is None:
            return None
        document, source, number, chunks = found
        check_source(file, source)
        if file.tags:
            self._tags.change(document, add=file.tags)
        return row(file, "unchanged", document, number, kept=chunks)

    def _moved(self, file: Incoming, blob: str) -> dict[str, Any] | None:
        """A file that only has another name than when it came in last."""
        if file.root is None:
            return None
        with self._db.read() as session:  # most files are new: asking first spares them a transaction
            if not session.scalar(
                select(Version.number).where(Version.sha256 == blob, Version.state == "live").limit(1)
            ):
                return None
        with self._db.write() as session:
            document = self._moves.follow(session, file, blob)
            live = live_version(session, document.id) if document else None
            if document is None or live is None:
                return None
            add_tags(session, document.id, file.tags)
            found = row(file, "unchanged", document.id, live.number, kept=live.chunks_new + live.chunks_kept)
            return found | {"notes": ["moved or renamed: the document keeps its history"]}

    # --- a batch ---------------------------------------------------------------------------------

    def _add_batch(
        self, items: Sequence[Item], progress: Callable[[str], None], release: Release | None = None
    ) -> None:
        waiting = [item for item in items if item.row is None]
        try:
            require_room(self._settings.home, self._settings.min_free_mb)
        except DiskFull as error:
            for item in waiting:
                item.row = failure_row(item.file, error)
            waiting = []
        if release is not None:
            release.stage(waiting, progress)
        else:
            for wave in waves(waiting):
                with self._turn(wave):
                    self._publish_wave(wave, progress)
        for item in items:
            if item.row is not None and item.row["status"] in ("refused", "failed"):
                self._waves.drop_unused(item)
            item.parsed, item.drafts = None, ()

    @contextmanager
    def _turn(self, items: Sequence[Item]) -> Iterator[None]:
        """Publishes of one document run one after another here; between processes the flip lock decides."""
        with ExitStack() as stack:
            for number in sorted({hash(item.key) % len(self._turns) for item in items}):
                stack.enter_context(self._turns[number])
            yield

    def _publish_wave(self, items: Sequence[Item], progress: Callable[[str], None]) -> None:
        """Publish items of different documents in one flip; one by one when that one is lost to a race."""
        try:
            live = self._waves.stage(items)
        except RepriseError as error:
            for item in items:
                item.row = failure_row(item.file, error)
            return
        try:
            self._waves.show(live, progress)
        except (RepriseError, Cancelled) as error:
            for item in live:
                self._waves.forget(item)
            if isinstance(error, Cancelled):
                raise
            if len(live) == 1 and not isinstance(error, TryAgain):
                live[0].row = failure_row(live[0].file, error)
                return
            for item in live:
                _guard(item, self._publish_alone)
            return
        except BaseException:
            for item in live:
                self._waves.forget(item)
            raise
        for item in live:
            self._waves.report(item)

    def _publish_alone(self, item: Item) -> None:
        for attempt in range(_ATTEMPTS):
            if not self._waves.stage([item]):
                return
            try:
                self._waves.show([item], lambda _stage: None)
            except TryAgain:
                self._waves.forget(item)
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            except BaseException:
                self._waves.forget(item)
                raise
            self._waves.report(item)
            return


def _called(file: Incoming) -> str:
    """The name by which a file is read: of a member of an archive that is its own, without the archive's."""
    return file.name if "!" in file.source and not file.explicit else file.path


def _guard(item: Item, work: Callable[[Item], None]) -> None:
    """Run a step of one file; what goes wrong becomes its row."""
    try:
        work(item)
    except RepriseError as error:
        item.row = failure_row(item.file, error)
    except Exception as error:
        log.exception("ingesting %r failed", item.file.path)
        item.row = failure_row(item.file, RepriseError(f"{type(error).__name__}: {error}", code="internal"))
