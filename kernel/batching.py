"""Batching: calls of several threads, answered by one run of an engine.

Whoever finds the engine free runs it for everybody who waits at that moment. No thread and no clock: who is alone is
answered at once, and under load a batch is as large as what came in while the one before it ran. It knows nothing of
what runs, but that texts are padded to the longest of a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MOST_TEXTS = 8
"""Of a batch, unless a single call has more. Larger ones were measured and are no faster for each text."""
PADDING = 0.25
"""Of a batch, as a share of its letters at most. Where questions of any length went together, nothing was gained at
all; those of like length are answered three times as fast as one at a time (decision 0021)."""


class _Call:
    """What one thread asked for. `wake` is set when it has its result, its error, or the engine."""

    __slots__ = ("error", "gone", "key", "leads", "letters", "longest", "rows", "texts", "wake")

    def __init__(self, key: Hashable, texts: Sequence[str]) -> None:
        self.key, self.texts = key, list(texts)
        self.longest = max(map(len, self.texts), default=0)
        self.letters = sum(map(len, self.texts))
        self.rows: np.ndarray | None = None
        self.error: Exception | None = None
        self.leads = self.gone = False
        self.wake = threading.Event()

    @property
    def done(self) -> bool:
        return self.rows is not None or self.error is not None


class Batching:
    """Runs `run(key, texts)`, which gives one row for each text, for calls of equal keys together."""

    def __init__(
        self, run: Callable[[Hashable, Sequence[str]], np.ndarray], lock: AbstractContextManager[object]
    ) -> None:
        """`lock` is the engine's: it is held while `run` runs, and others may use the engine under it."""
        self._run, self._lock = run, lock
        self._mutex = threading.Lock()
        self._waiting: list[_Call] = []
        self._busy = False

    def of(self, texts: Sequence[str], key: Hashable = None) -> np.ndarray:
        """The rows of `texts`, as `run` alone would give them up to rounding.

        Raises whatever `run` raises for these texts; the error of a call stays with that call.
        """
        call = _Call(key, texts)
        try:
            with self._mutex:
                self._waiting.append(call)
                if not self._busy:
                    self._busy = call.leads = True
            if not call.leads:
                call.wake.wait()
            if call.leads:
                self._lead(call)
        finally:
            self._leave(call)
        if call.error is not None:
            raise call.error
        assert call.rows is not None
        return call.rows

    def _lead(self, own: _Call) -> None:
        with self._lock:
            batch = self._take(own)  # only now, so that who came while another held the engine is in it
            try:
                self._answer(batch)
            finally:
                with self._mutex:  # after an interrupt: those that have nothing yet are another's to answer
                    self._waiting[:0] = [call for call in batch if not (call is own or call.done or call.gone)]
                for call in batch:
                    if call is not own and call.done:
                        call.wake.set()

    def _take(self, own: _Call) -> list[_Call]:
        """`own`, and of those that wait the ones nearest to it in length, as long as little is padding."""
        batch, texts, longest, letters = [own], len(own.texts), own.longest, own.letters
        with self._mutex:
            self._waiting.remove(own)
            for call in sorted(self._waiting, key=lambda call: abs(call.longest - own.longest)):
                count, most, total = texts + len(call.texts), max(longest, call.longest), letters + call.letters
                if call.key == own.key and count <= MOST_TEXTS and count * most <= total * (1 + PADDING):
                    self._waiting.remove(call)
                    batch.append(call)
                    texts, longest, letters = count, most, total
        return batch

    def _answer(self, batch: Sequence[_Call]) -> None:
        try:
            rows = self._run(batch[0].key, [text for call in batch for text in call.texts])
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for call in batch:  # one at a time, to find whose it is
                self._answer([call])
            return
        start = 0
        for call in batch:
            call.rows = rows[start : start + len(call.texts)]
            start += len(call.texts)

    def _leave(self, call: _Call) -> None:
        """Let go of everything, also after an interrupt: the engine goes to whoever has waited longest."""
        with self._mutex:
            call.gone = True
            if call in self._waiting:
                self._waiting.remove(call)
            if not call.leads:
                return
            call.leads = False
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].wake.set()
            else:
                self._busy = False
