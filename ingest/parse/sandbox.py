"""Reading a file in a child process: whatever it does to its parser, the node goes on.

A pool of long-lived children, one file at a time each. A child that hangs, grows, dies or talks nonsense costs the file
it had in hand, which is refused with a code, and is replaced. The parent takes nothing from a child but checked data.
It does not know what parsers do, nor where files come from.

    who waits for whom
    ---------------------------------------------------------------------
    a thread takes a free child, or waits for one; nobody else talks to it
    the child waits for its next file; it ends when the parent is gone
    the parent waits for an answer until `parse_seconds` are over
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ingest.parse.frames import Garbled, parsed_of, refusal_of
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.worker import Died, Late, Worker, sweep
from kernel.errors import Failed, FileRefused
from kernel.types import ChunkDraft, Parsed

log = logging.getLogger(__name__)

_MOST_FILES, _MOST_GROWN = 500, 256 * 2**20
"""A child is replaced after this many files, or once it has kept this many bytes: libraries leak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkerSpec:
    """How a child makes the same `Chunker` as its parent: it cannot be handed one."""

    tokenizer: str
    """Path of the embedder's `tokenizer.json`."""
    max_tokens: int


class Sandbox:
    """Children that read files. Starts none before it is asked. Safe from several threads.

    Args:
        limits: what one file may cost.
        workers: files read at once; further threads wait.
        chunker: needed by `read` alone.
        reader: `module:function` that children call instead of our parsers; for tests.
    """

    def __init__(
        self,
        limits: Limits = DEFAULT,
        workers: int = 1,
        chunker: ChunkerSpec | None = None,
        *,
        reader: str | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; one at least is needed")
        self._limits, self._chunker, self._reader = limits, chunker, reader
        self._free: queue.LifoQueue[Worker | None] = queue.LifoQueue()  # the last used one is the warmest
        for _ in range(workers):
            self._free.put(None)
        self._live: set[Worker] = set()
        self._lock = threading.Lock()
        self._closed = self._swept = False

    def parse(self, content: bytes, name: str) -> Parsed:
        """What `ingest.parse.parse` makes of a file.

        Raises:
            FileRefused: as `parse`, and `parser_crashed`, `nested_too_deeply`, `limit_parse_seconds`,
                `limit_parse_memory_mb` or `limit_max_text_mb`.
            Failed: no child could be started, or the sandbox is closed.
        """
        return self._ask(content, name, chunks=False)[0]

    def read(self, content: bytes, name: str) -> tuple[Parsed, tuple[ChunkDraft, ...]]:
        """A file's text and its chunks, in order. Cutting has a time of its own, which grows with the text.

        Raises:
            FileRefused: as `parse`.
            Failed: as `parse`.
        """
        if self._chunker is None:
            raise ValueError("this sandbox was made without a chunker")
        return self._ask(content, name, chunks=True)

    def close(self) -> None:
        """End all children at once; files in their hands fail."""
        with self._lock:
            self._closed = True
            live = list(self._live)
        for worker in live:
            worker.kill()
        while live:
            try:
                idle = self._free.get_nowait()
            except queue.Empty:
                break
            if idle is not None:
                self._end(idle)
        self._free.put(None)  # whoever waits for a child finds out, one after the other

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- one file ------------------------------------------------------------------------------------

    def _ask(self, content: bytes, name: str, *, chunks: bool) -> tuple[Parsed, tuple[ChunkDraft, ...]]:
        self._limits.check_size(name, len(content))
        with self._slot() as slot:
            for _ in range(2):
                worker = slot[0] = self._ready(slot[0])
                used = worker.served > 0
                try:
                    head, body = self._answer(worker, content, name, chunks=chunks)
                    return self._taken(worker, head, body, name)
                except (Died, Garbled) as error:
                    slot[0] = None
                    refusal = self._ended(worker, error, name)
                    if not used or refusal.code != "parser_crashed":
                        raise refusal from error
                    log.warning("reading %r again: an earlier file may have harmed the child", name)
            raise AssertionError("a child that has read nothing yet is not tried again")

    def _answer(self, worker: Worker, content: bytes, name: str, *, chunks: bool) -> tuple[dict[str, Any], bytes]:
        most = self._limits.max_text_mb * 1_000_000 * 4  # bytes of a character in UTF-8, at most
        head = {"name": name, "chunks": chunks}
        return worker.ask(head, content, seconds=self._limits.parse_seconds, most_body=most)

    def _taken(
        self, worker: Worker, head: dict[str, Any], body: bytes, name: str
    ) -> tuple[Parsed, tuple[ChunkDraft, ...]]:
        grown = head.get("grown")
        if head.get("last") or type(grown) is not int or grown > _MOST_GROWN or worker.served >= _MOST_FILES:
            worker.worn = True
        if "refused" in head:
            raise refusal_of(head["refused"])
        if "broken" in head:
            log.error("reading %r failed: %s", name, head["broken"])
            raise Failed(f"{name!r} could not be read: {str(head['broken'])[:500]}", code="internal")
        return parsed_of(head, body, self._limits.max_text_mb * 1_000_000)

    def _ended(self, worker: Worker, error: Died | Garbled, name: str) -> FileRefused:
        """Put an end to a child that is of no more use, and say what its file did."""
        self._end(worker)
        if self._closed:
            raise _closed() from error
        if isinstance(error, Late):
            return self._limits.too_slow(name)
        if isinstance(error, Died) and worker.out_of_time:
            return self._limits.too_slow(name)
        if isinstance(error, Died) and worker.out_of_memory(self._limits.parse_memory_mb * 2**20):
            return self._limits.too_hungry(name)
        log.warning("the child that read %r ended (%s): %s\n%s", name, worker.how, error, worker.said)
        return FileRefused(
            f"{name!r} made its reader crash ({worker.how})",
            hint="Nothing else was harmed. Open the file in its own program, save it again or export it as PDF or "
            "text, and retry.",
            code="parser_crashed",
        )

    # --- children ------------------------------------------------------------------------------------

    @contextmanager
    def _slot(self) -> Iterator[list[Worker | None]]:
        """A turn with one child, held in a list of one because it may be replaced meanwhile."""
        slot = [self._free.get()]
        try:
            if self._closed:
                raise _closed()
            yield slot
        finally:
            worker = slot[0]
            if worker is not None and (worker.worn or self._closed):
                self._end(worker)
                slot[0] = None
            self._free.put(slot[0])

    def _ready(self, worker: Worker | None) -> Worker:
        if worker is not None and worker.waiting:
            return worker
        if worker is not None:
            self._end(worker)
        if not self._swept:
            self._swept = True
            sweep()
        settings = {"limits": asdict(self._limits), "chunker": asdict(self._chunker) if self._chunker else None}
        fresh = Worker(settings, reader=self._reader)
        with self._lock:
            self._live.add(fresh)
            closed = self._closed
        if closed:
            self._end(fresh)
            raise _closed()
        return fresh

    def _end(self, worker: Worker) -> None:
        worker.close()
        with self._lock:
            self._live.discard(worker)


def _closed() -> Failed:
    return Failed("reading files has stopped: the process is closing", hint="Start it again.", code="closing")
