"""Bytes to published versions: the way every document comes in.

A batch shares its embedding calls and its flip; a file that is refused never stops the others. The order of a batch is
kept, and two files of one name in a batch are two versions in that order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from ingest.chunk import Chunker
from ingest.library import needed, read_as
from ingest.parse import parse
from ingest.publish import PublishHandler, Staged, check_source, live_version, named
from ingest.tables import Document, Version
from kernel.blobs import require_room
from kernel.database import Database, alone
from kernel.epochs import Epochs
from kernel.errors import DiskFull, RepriseError, TryAgain
from kernel.ids import digest, fresh, now_ms
from kernel.index.schema import unborn
from kernel.jobs import Cancelled
from kernel.ports import Blobs, Embedder, VectorIndex
from kernel.settings import Settings
from kernel.types import ChunkDraft, Parsed, Progress, silent

log = logging.getLogger(__name__)

Status = Literal["published", "unchanged", "refused", "failed"]
_BATCH_FILES, _BATCH_BYTES = 64, 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A file on its way in. `explicit`: a person named the document (`--as`), so another source may continue it."""

    path: str
    name: str
    source: str
    workspace: str
    content: bytes
    at: int | None = None
    explicit: bool = False


@dataclass(slots=True)
class _Item:
    """One file of a batch and what became of it."""

    file: Incoming
    blob: str = ""
    continues: bool = False
    """An earlier file of the batch has its name, so what is live now is not what it will be compared with."""
    parsed: Parsed | None = None
    drafts: tuple[ChunkDraft, ...] = ()
    staged: Staged | None = None
    row: dict[str, Any] | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.file.workspace, self.file.name


class Ingest:
    """Publishes files. Safe from several threads."""

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        index: VectorIndex,
        embedder: Embedder,
        epochs: Epochs,
        publish: PublishHandler,
        settings: Settings,
    ) -> None:
        self._db, self._blobs, self._index, self._embedder = db, blobs, index, embedder
        self._epochs, self._publish, self._settings = epochs, publish, settings
        self._chunker = Chunker(embedder.count_tokens, min(settings.chunk_tokens, embedder.max_tokens))
        self._turns = [Lock() for _ in range(64)]
        self.step: Callable[[str], None] = lambda _name: None

    def add(self, files: Iterable[Incoming], progress: Progress = silent, total: int = 0) -> dict[str, Any]:
        """Publish files; the JSON of `reprise ingest`. Takes them one batch at a time, whatever their number."""
        started = time.perf_counter()
        rows: list[dict[str, Any]] = []

        def report(stage: str) -> None:
            progress(stage, len(rows), max(total, len(rows)))

        for batch in _batches(files):
            rows += self._add_batch(batch, report)
            report("published")
        return {
            "documents": rows,
            "seconds": round(time.perf_counter() - started, 3),
            "epoch": self._epochs.committed(),
        }

    def restore(self, document: Document, version: Version, content: bytes) -> dict[str, Any]:
        """Publish an older version's bytes again, as a new version."""
        file = Incoming(
            path=read_as(document.name, version.media_type, content),
            name=document.name,
            source=document.source,
            workspace=document.workspace,
            content=content,
        )
        return self._add_batch([file], lambda _stage: None)[0] | {"path": document.name}

    # --- a batch ---------------------------------------------------------------------------------

    def _add_batch(self, files: Sequence[Incoming], progress: Callable[[str], None]) -> list[dict[str, Any]]:
        items = [_Item(file) for file in files]
        progress("parsing")
        taken: set[tuple[str, str]] = set()
        for item in items:
            item.continues = item.key in taken
            taken.add(item.key)
            self._guard(item, self._prepare)
        for wave in _waves([item for item in items if item.row is None]):
            with self._turn(wave):
                progress("embedding")
                self._publish_wave(wave, progress)
        for item in items:
            if item.row is not None and item.row["status"] in ("refused", "failed"):
                self._drop_unused(item)
        return [item.row for item in items if item.row is not None]

    @contextmanager
    def _turn(self, items: Sequence[_Item]) -> Iterator[None]:
        """Publishes of one document run one after another here; between processes the flip lock decides."""
        with ExitStack() as stack:
            for number in sorted({hash(item.key) % len(self._turns) for item in items}):
                stack.enter_context(self._turns[number])
            yield

    def _prepare(self, item: _Item) -> None:
        """Everything that needs no lock: hash, unchanged check, blob, parse, chunk."""
        file = item.file
        require_room(self._settings.home, self._settings.min_free_mb)
        item.blob = digest(file.content)
        unchanged = None if item.continues else self._unchanged(file, item.blob)
        if unchanged is not None:
            item.row = unchanged
            return
        item.parsed = parse(file.content, file.path, max_bytes=self._settings.max_upload_mb * 2**20)
        item.drafts = tuple(self._chunker.chunk(item.parsed))

    def _unchanged(self, file: Incoming, blob: str) -> dict[str, Any] | None:
        with self._db.read() as session:
            document = named(session, file.workspace, file.name)
            live = live_version(session, document.id) if document else None
            if document is None or live is None or live.sha256 != blob:
                return None
            check_source(document, file.source, file.explicit)
            return _row(file, "unchanged", document.id, live.number, kept=live.chunks_new + live.chunks_kept)

    def _publish_wave(self, items: Sequence[_Item], progress: Callable[[str], None]) -> None:
        """Publish items of different documents in one flip; one by one when that one is lost to a race."""
        live = [item for item in items if self._guard(item, self._stage) and item.row is None]
        try:
            self._show(live, progress)
        except (RepriseError, Cancelled) as error:
            for item in live:
                self._forget(item)
            if isinstance(error, Cancelled):
                raise
            if len(live) == 1 and not isinstance(error, TryAgain):
                live[0].row = _failure(live[0].file, error)
                return
            for item in live:
                self._guard(item, self._publish_alone)
            return
        except BaseException:
            for item in live:
                self._forget(item)
            raise
        for item in live:
            self._report(item)

    def _publish_alone(self, item: _Item, attempts: int = 5) -> None:
        for attempt in range(attempts):
            self._stage(item)
            if item.row is not None:
                return
            try:
                self._show([item], lambda _stage: None)
            except TryAgain:
                self._forget(item)
                if attempt == attempts - 1:
                    raise
                continue
            except BaseException:
                self._forget(item)
                raise
            self._report(item)
            return

    def _stage(self, item: _Item) -> None:
        """Step 1."""
        file, parsed = item.file, item.parsed
        assert parsed is not None
        self.step("before stage")
        text = parsed.text.encode()
        self._blobs.put(file.content)
        text_key = self._blobs.put(text)
        with self._db.write() as session:
            alone(session, "library")
            document = named(session, file.workspace, file.name)
            if document is None:
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
            check_source(document, file.source, file.explicit)
            live = live_version(session, document.id)
            if live is not None and live.sha256 == item.blob:
                item.row = _row(file, "unchanged", document.id, live.number, kept=live.chunks_new + live.chunks_kept)
                return
            item.staged = self._publish.stage(
                session,
                document,
                parsed,
                item.drafts,
                blob=item.blob,
                text_key=text_key,
                size=len(file.content),
                chunker=self._chunker.fingerprint,
                valid_from=file.at,
            )
            # Again, now that a row names them: a delete of their last other user may have run since the first put.
            self._blobs.put(file.content)
            self._blobs.put(text)
        self.step("staged")

    def _show(self, items: Sequence[_Item], progress: Callable[[str], None]) -> None:
        """Steps 2 to 5."""
        changes = [item.staged.change for item in items if item.staged]
        with self._epochs.keeping(changes):
            self._insert(items)
            progress("publishing")
            if changes:
                self._epochs.flip(changes)

    def _insert(self, items: Sequence[_Item]) -> None:
        """Step 2: embed what is new in all of them together, insert document by document."""
        fresh_ones = [(item, i) for item in items if item.staged for i in item.staged.diff.new]
        changes = [item.staged.change for item in items if item.staged]

        def alive(_done: int) -> None:
            for change in changes:
                self._epochs.renew(change)

        vectors = self._embedder.embed_documents([item.drafts[i].embedded_text for item, i in fresh_ones], alive)
        points: dict[str, list[Any]] = {}
        for (item, i), vector in zip(fresh_ones, vectors, strict=True):
            assert item.staged is not None
            point = unborn(
                item.staged.diff.points[i],
                vector.tolist(),
                item.drafts[i].embedded_text,
                item.staged.valid_from,
                kind="chunk",
                ws=item.file.workspace,
                doc=item.staged.document,
            )
            points.setdefault(item.staged.document, []).append(point)
        for some in points.values():
            self._index.insert(some)
            self.step("inserted")

    # --- outcomes --------------------------------------------------------------------------------

    def _guard(self, item: _Item, work: Callable[[_Item], None]) -> bool:
        """Run a step of one file; what goes wrong becomes its row. False if it did."""
        try:
            work(item)
        except RepriseError as error:
            item.row = _failure(item.file, error)
        except Exception as error:
            log.exception("ingesting %r failed", item.file.path)
            item.row = _failure(item.file, RepriseError(f"{type(error).__name__}: {error}", code="internal"))
        else:
            return True
        return False

    def _forget(self, item: _Item) -> None:
        if item.staged is None:
            return
        diff = item.staged.diff
        try:
            self._epochs.abandon(item.staged.change, [diff.points[i] for i in diff.new])
        except RepriseError:  # a full disk, say; it is swept when its lease has expired
            log.exception("sweeping what is left of %r", item.file.path)
        item.staged = None

    def _report(self, item: _Item) -> None:
        staged = item.staged
        assert staged is not None
        diff = staged.diff
        item.row = _row(
            item.file,
            "published",
            staged.document,
            staged.version,
            new=len(diff.new),
            kept=len(staged.drafts) - len(diff.new),
            retired=len(diff.retired),
        )

    def _drop_unused(self, item: _Item) -> None:
        """A file that did not become a version leaves no bytes behind, unless a job has yet to read them."""
        keys = {item.blob, digest(item.parsed.text) if item.parsed else ""} - {""}
        with suppress(DiskFull), self._db.write() as session:  # a write: nobody stages a version of them meanwhile
            alone(session, "library")
            for key in keys:
                if not needed(session, key):
                    self._blobs.delete(key)


def _row(
    file: Incoming,
    status: Status,
    document: str | None,
    version: int | None,
    *,
    new: int = 0,
    kept: int = 0,
    retired: int = 0,
) -> dict[str, Any]:
    return {
        "path": file.path,
        "name": file.name,
        "document": document,
        "version": version,
        "status": status,
        "chunks_total": new + kept,
        "chunks_new": new,
        "chunks_kept": kept,
        "chunks_retired": retired,
        "error": None,
    }


def _failure(file: Incoming, error: RepriseError) -> dict[str, Any]:
    status: Status = "refused" if error.status < 500 else "failed"
    return _row(file, status, None, None) | {"error": error.as_json()}


def failure(path: str, error: RepriseError) -> dict[str, Any]:
    """The row of a file that could not even be read."""
    return _failure(Incoming(path=path, name=path, source=path, workspace="", content=b""), error)


def _batches(files: Iterable[Incoming]) -> Iterable[list[Incoming]]:
    batch: list[Incoming] = []
    size = 0
    for file in files:
        batch.append(file)
        size += len(file.content)
        if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _waves(items: Sequence[_Item]) -> Iterable[list[_Item]]:
    """Items of one document must not share a flip: the later one's diff is against the earlier one."""
    rest = list(items)
    while rest:
        seen: set[tuple[str, str]] = set()
        wave: list[_Item] = []
        later: list[_Item] = []
        for item in rest:
            (later if item.key in seen else wave).append(item)
            seen.add(item.key)
        yield wave
        rest = later
