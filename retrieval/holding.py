"""Adapters at hand in this process: loaded before they are needed, and kept until the last request with them is over.

    a request       is counted for its adapter from its start to its end
    a move          loads first, then the row flips, then `keep` lets go of what nothing names any more
    letting go      frees what nobody uses at once, and the rest when the last request leaves it

    what fails      is passed over by the requests of the next half minute, and told; who names it, tries

So no request finds its adapter gone, no move waits for a request, and a load holds up nobody but those that need that
very adapter. It knows neither weights nor rows: what loads and frees is given.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from kernel.errors import Refused
from retrieval.choosing import BASE_MODEL, Pinned

log = logging.getLogger(__name__)
MISFIT = "adapter_misfit"
"""Code of a refusal because the adapter belongs to another model than the one that serves."""
RETRY_S = 30.0
"""An adapter on a server that hangs would else cost each request the whole time it takes to fail."""


class Holding:
    """One kind's adapters. Safe from several threads.

    Args:
        load: has an adapter (name, path relative to the home folder) ready; does nothing where it is.
        unload: frees one; nobody uses it meanwhile.
        loaded: names of those that are ready.
        clock: seconds, of which only differences count.
    """

    def __init__(
        self,
        load: Callable[[str, str], None],
        unload: Callable[[str], None],
        loaded: Callable[[], Collection[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._unload, self._loaded, self._clock = load, unload, loaded, clock
        self._mutex = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._leaving: set[str] = set()
        self._turns: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)  # loads and frees of one name
        self._troubles: dict[str, str] = {}
        self._failed: dict[str, float] = {}  # when

    @property
    def trouble(self) -> str | None:
        """Why what should serve does not; None where all is well."""
        return "; ".join(self._troubles.values()) or None

    def clear(self, names: Collection[str] | None = None) -> None:
        """Forget the troubles of all adapters but `names`, and try them again at once."""
        self._troubles = {name: why for name, why in self._troubles.items() if name in (names or ())}
        self._failed = {name: when for name, when in self._failed.items() if name in (names or ())}

    @contextmanager
    def held(self, name: str, path: str) -> Iterator[None]:
        """Have one ready until the block ends.

        Raises whatever loading it raises.
        """
        with self._mutex:
            self._requests[name] += 1
        try:
            with self._turn(name):
                self._load(name, path)
            yield
        finally:
            self._left(name)

    @contextmanager
    def lent(self, order: Sequence[Pinned]) -> Iterator[Pinned | None]:
        """The first of `order` that can serve, ready until the block ends; None is the base model.

        What is passed over leaves its reason in `trouble`.

        Raises:
            Refused, NotFound: a strict one cannot serve.
        """
        for at, pinned in enumerate(order):
            if pinned.path is None:
                break
            if not pinned.strict and self._lately(pinned.name):
                continue
            holder = self.held(pinned.name, pinned.path)
            try:
                holder.__enter__()
            except Exception as error:
                if pinned.strict:
                    raise
                self._note(pinned.name, error, order[at + 1].name if at + 1 < len(order) else None)
                continue
            self._troubles.pop(pinned.name, None)
            self._failed.pop(pinned.name, None)
            try:
                yield pinned
            finally:
                holder.__exit__(None, None, None)
            return
        yield None

    def try_load(self, name: str, path: str) -> None:
        """Have one ready ahead of its first request; what is wrong with it is told by `trouble`."""
        with self.lent([Pinned(name=name, path=path, strict=False)]):
            pass

    def keep(self, names: Collection[str]) -> None:
        """Let go of all but `names`: at once, or when the last request with it is over."""
        with self._mutex:
            self._leaving = set(self._loaded()) - set(names)
            free = [name for name in self._leaving if not self._requests[name]]
        for name in free:
            self._free(name)

    def _left(self, name: str) -> None:
        with self._mutex:
            self._requests[name] -= 1
            last = not self._requests[name]
            if last:
                del self._requests[name]
        if last and name in self._leaving:
            self._free(name)

    def _free(self, name: str) -> None:
        with self._turn(name):
            with self._mutex:
                if self._requests[name] or name not in self._leaving:  # somebody came meanwhile
                    return
                self._leaving.discard(name)
            try:
                self._unload(name)
            except Exception:
                log.exception("adapter %r could not be unloaded; it takes memory, and harms nothing", name)

    def _lately(self, name: str) -> bool:
        """Whether loading it failed a moment ago."""
        when = self._failed.get(name)
        return when is not None and self._clock() - when < RETRY_S

    def _turn(self, name: str) -> threading.RLock:
        with self._mutex:
            return self._turns[name]

    def _note(self, name: str, error: Exception, instead: str | None) -> None:
        serves = "the base model serves" if instead in (None, BASE_MODEL) else f"{instead!r} serves"
        if isinstance(error, Refused) and error.code == MISFIT:  # known at once, and it may fit again at any moment
            told = error.message
        else:
            self._failed[name] = self._clock()
            told = f"adapter {name!r} cannot be loaded ({error}); {serves}"
        if self._troubles.get(name) != told:
            self._troubles[name] = told
            log.warning("%s", told, exc_info=error)
