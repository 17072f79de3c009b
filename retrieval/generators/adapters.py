"""Which adapters are loaded, which one serves, and how many answers are being written with each.

It knows names only; the weights are loaded and freed by whoever asks it. A request is counted from the moment it has
chosen its adapter, so that a flip or an unload in the middle never changes who writes an answer:

    load     weights in, then `add`: from now on it can be asked for by name
    use      the flip: requests without a name choose this one from now on
    unload   `drain`: nobody can choose it any more; wait for the last answer that began with it; weights out
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from kernel.errors import Conflict, NotFound, TryAgain
from kernel.types import BASE

DRAIN_SECONDS = 60.0
"""How long an unload waits for answers that are being written."""


class Adapters:
    """The book of one generator's adapters. Safe from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._loaded: set[str] = set()
        self._spent: set[str] = set()
        self._serving: str | None = None
        self._answers: Counter[str] = Counter()

    @property
    def serving(self) -> str | None:
        return self._serving

    @property
    def loaded(self) -> set[str]:
        with self._changed:
            return set(self._loaded)

    def check_fresh(self, name: str) -> None:
        """Names are used once: under an old one, stale weights may be served.

        Raises:
            Conflict: the name was used before, or is the base model's.
        """
        if name in self._spent or name == BASE:
            raise Conflict(f"the adapter name {name!r} was used before", hint="give every version its own name")

    def add(self, name: str) -> None:
        with self._changed:
            self.check_fresh(name)
            self._loaded.add(name)
            self._spent.add(name)

    def use(self, name: str | None) -> None:
        """Let `name` serve; None is the base model.

        Raises:
            NotFound: it is not loaded.
        """
        with self._changed:
            self._serving = self._found(name)

    @contextmanager
    def chosen(self, name: str | None) -> Iterator[str | None]:
        """The adapter that writes one answer, kept until the block ends: `name`, or the one that serves now.

        Raises:
            NotFound: it is not loaded.
        """
        with self._changed:
            adapter = self._serving if name is None else self._found(None if name == BASE else name)
            if adapter is not None:
                self._answers[adapter] += 1
        try:
            yield adapter
        finally:
            with self._changed:
                if adapter is not None:
                    self._answers[adapter] -= 1
                    self._changed.notify_all()

    @contextmanager
    def drained(self, name: str, seconds: float = DRAIN_SECONDS) -> Iterator[None]:
        """Runs the block, which frees `name`, once no answer is being written with it. If it fails, `name` stays.

        Raises:
            NotFound: it is not loaded.
            Conflict: it serves.
            TryAgain: answers were still being written with it after `seconds`.
        """
        with self._changed:
            if self._found(name) == self._serving:
                raise Conflict(f"the adapter {name!r} is in use", hint="use another one first, then unload this one")
            self._loaded.discard(name)
            if not self._changed.wait_for(lambda: not self._answers[name], timeout=seconds):
                self._loaded.add(name)
                raise TryAgain(
                    f"{self._answers[name]} answers are still being written with the adapter {name!r}",
                    hint="unload it again in a while",
                )
        try:
            yield
        except BaseException:
            with self._changed:
                self._loaded.add(name)
            raise

    def _found(self, name: str | None) -> str | None:
        if name is not None and name not in self._loaded:
            raise NotFound(f"no adapter {name!r} is loaded", hint=f"loaded are: {sorted(self._loaded) or 'none'}")
        return name
