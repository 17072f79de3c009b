"""Lends each request its adapters: decided once, loaded, and kept until the answer is over.

A request that was lent something is answered with that and with nothing else, whatever is promoted, rolled back or
freed meanwhile: its search, its answer, its record and what is told of it name the same adapters.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from kernel.errors import UserError
from retrieval.choosing import BASE_MODEL, Asks, Choice, Choosing, Pinned, Standing, choose

Named = Mapping[str, Pinned]
"""By kind, the adapters that somebody asked for by name."""


class Shelf(Protocol):
    """One kind's adapters in this process, such as `LiveRetriever` and `LiveGenerator`."""

    @property
    def trouble(self) -> str | None:
        """Why what should serve does not; None where all is well."""

    def lent(self, order: Sequence[Pinned]) -> AbstractContextManager[Pinned | None]:
        """The first of `order` that can serve, ready until the block ends; None is the base model."""

    def held(self, name: str, path: str) -> AbstractContextManager[None]:
        """Have one ready until the block ends. Raises whatever loading it raises."""

    def fitting(self) -> str | None:
        """The champion, if it was trained on the model that serves; None is the base model."""

    def warm(self) -> None:
        """Load what any request may need next; look for trouble."""

    def tidy(self) -> None:
        """Free what nothing that stands names any more, each when the last request with it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """What one request has."""

    choices: Mapping[str, Choice]
    """By kind, what was decided."""
    adapters: Mapping[str, Pinned | None]
    """By kind, what is there; None is the base model."""

    def pinned(self, kind: str) -> Pinned:
        """As a search takes it: also the base model by name, so that nothing is decided a second time."""
        found = self.adapters.get(kind)
        return Pinned(name=BASE_MODEL, path=None) if found is None else found

    def plain(self, kind: str) -> bool:
        """Whether nothing stands for this kind, and nobody named anything."""
        return kind not in self.choices or self.choices[kind].why == "base"

    def as_json(self) -> dict[str, str]:
        """By kind, why this adapter and no other."""
        return {kind: choice.why for kind, choice in self.choices.items()}


class Lending:
    """Decides and lends. Safe from several threads."""

    def __init__(self, choosing: Choosing, shelves: Mapping[str, Shelf]) -> None:
        self._choosing, self._shelves = choosing, shelves
        self._calm = threading.Condition()
        self._requests = 0

    @property
    def kinds(self) -> list[str]:
        return sorted(self._shelves)

    @property
    def trouble(self) -> str | None:
        """Why what should serve does not, of any kind; None where all is well."""
        return "; ".join(filter(None, (shelf.trouble for shelf in self._shelves.values()))) or None

    @contextmanager
    def lend(self, asks: Asks, named: Named | None = None, kinds: Sequence[str] | None = None) -> Iterator[Lent]:
        """What one request is answered with, until the block ends; of all `kinds`, or of those given.

        Raises:
            Refused, NotFound: what was named cannot serve.
        """
        with self._calm:
            self._requests += 1
        try:
            standing = self._choosing.standing(asks.workspace)
            choices = {
                kind: choose(standing.get(kind, Standing(kind=kind)), asks, (named or {}).get(kind))
                for kind in (self.kinds if kinds is None else kinds)
            }
            with self.borrow(choices) as lent:
                yield lent
        finally:
            with self._calm:
                self._requests -= 1
                self._calm.notify_all()

    @contextmanager
    def borrow(self, choices: Mapping[str, Choice]) -> Iterator[Lent]:
        """Likewise, of what was decided already; it does not count as a request that anybody waits for."""
        with ExitStack() as held:
            yield Lent(
                choices=choices,
                adapters={
                    kind: held.enter_context(self._shelves[kind].lent(choice.order)) for kind, choice in choices.items()
                },
            )

    def when_calm(self, stopped: threading.Event) -> bool:
        """Wait until no request is underway; False if `stopped` was set first, and `wake` called."""
        with self._calm:
            self._calm.wait_for(lambda: self._requests == 0 or stopped.is_set())
            return not stopped.is_set()

    def wake(self) -> None:
        """Let whoever waits in `when_calm` look again."""
        with self._calm:
            self._calm.notify_all()

    def held(self, kind: str, name: str, path: str) -> AbstractContextManager[None]:
        """Have one adapter ready until the block ends: what a move does before its row flips.

        Raises:
            UserError: nothing here serves adapters of this kind.
            Refused, NotFound: it cannot serve.
        """
        if kind not in self._shelves:
            raise UserError(
                f"nothing here serves adapters of kind {kind!r}", hint=f"there are: {', '.join(self.kinds)}"
            )
        return self._shelves[kind].held(name, path)

    def fitting(self, kind: str) -> str | None:
        """The champion of one of `kinds`, if it was trained on the model that serves; None is the base model."""
        return self._shelves[kind].fitting()

    def warm(self) -> None:
        """Load what any request may need next; look for trouble."""
        for shelf in self._shelves.values():
            shelf.warm()

    def tidy(self, kind: str) -> None:
        """Free what nothing that stands names any more."""
        self._shelves[kind].tidy()
