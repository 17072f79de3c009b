"""Requests that meet at a model, and the batches they run in.

A request that finds the model idle runs at once and alone. Those that arrive meanwhile wait and run together in the
next batch, each with its own adapter, its own limit and its own end. The thread that runs them lives only as long as
somebody waits. It knows no model: `run` is given, and fills the rows.

Rows do not join a batch that is running. Continuous batching, as vLLM has it, needs a cache of its own for every
kind of attention there is; whoever has that many readers serves the model from vLLM, and asks it over `openai:`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from kernel.errors import Failed, RepriseError

ROWS = 8
"""Rows of a batch at most."""

TOKENS = 16_384
"""Rows times the longest prompt of a batch at most: what the cache of a batch may take. One row always runs."""

WINDOW_SECONDS = 0.005
"""How long a batch waits for company, and only right after one that had some: a reader who is alone never waits."""


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """One request in a batch. The thread of the batch writes pieces into it, its reader takes them out."""

    prompt: Sequence[int]
    limit: int
    """Tokens it may write."""
    ends: Callable[[str], bool]
    """Told each piece of text in order; True ends the row."""
    adapter: str | None = None
    apart: str = ""
    """Rows run together only with rows that have the same word here."""
    written: int = 0
    """Tokens written so far."""
    left: bool = False
    """Whether the reader has gone, so that nothing more needs to be written."""
    _pieces: SimpleQueue[str | BaseException | None] = field(default_factory=SimpleQueue)

    def put(self, piece: str) -> None:
        self._pieces.put(piece)

    def close(self, error: BaseException | None = None) -> None:
        """No more pieces come, because all is written or because of `error`."""
        self._pieces.put(error)

    def read(self) -> Iterator[str]:
        """The pieces as they are written. Closing this iterator ends the row."""
        try:
            while (piece := self._pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self.left = True


class Batches:
    """Runs rows in batches, first come first served. `run` fills and closes every row it is given."""

    def __init__(self, run: Callable[[Sequence[Row]], None], *, rows: int = ROWS, tokens: int = TOKENS) -> None:
        self._run, self._rows, self._tokens = run, rows, tokens
        self._arrived = threading.Condition()
        self._waiting: deque[Row] = deque()
        self._running = self._crowded = False

    def submit(self, row: Row) -> None:
        """Have `row` written; read it to see."""
        with self._arrived:
            self._waiting.append(row)
            self._arrived.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._work, name="generation", daemon=True).start()

    def _work(self) -> None:
        while rows := self._next():
            try:
                self._run(rows)
            except BaseException as error:
                known = isinstance(error, RepriseError)
                for row in rows:
                    row.close(error if known else _failed(error))

    def _next(self) -> list[Row]:
        with self._arrived:
            if self._crowded and len(self._waiting) < self._rows:
                self._arrived.wait_for(lambda: len(self._waiting) >= self._rows, WINDOW_SECONDS)
            rows: list[Row] = []
            left: deque[Row] = deque()
            while self._waiting:
                row = self._waiting.popleft()
                if row.left:
                    continue
                (rows if self._fits(row, rows) else left).append(row)
            self._waiting = left
            self._crowded = len(rows) > 1
            self._running = bool(rows)
            return rows

    def _fits(self, row: Row, rows: Sequence[Row]) -> bool:
        if not rows:
            return True
        longest = max(len(r.prompt) + r.limit for r in (row, *rows))
        return row.apart == rows[0].apart and len(rows) < self._rows and (len(rows) + 1) * longest <= self._tokens


def _failed(error: BaseException) -> Failed:
    return Failed(
        f"the model broke off: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}",
        hint="see the log of the node; where memory ran out, take a smaller model or fewer passages",
    )
