"""One kind's adapters in this process: what its row in SQL names, held ready for requests.

What loads, frees and compares differs between a retriever and a generator; what stands, who is lent what, and what
goes when nothing names it any more does not, and is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from kernel.database import Database
from retrieval.choosing import Choosing, Pinned
from retrieval.holding import Holding
from retrieval.tables import Pointer


class LiveAdapters(ABC):
    """A `Shelf` over one model. Safe from several threads."""

    kind: ClassVar[str]

    def __init__(self, db: Database, home: Path) -> None:
        self._db, self._home, self._choosing = db, home, Choosing(db)
        self._holding = Holding(self.load, self._unload, self._loaded)

    @abstractmethod
    def load(self, name: str, path: str) -> None:
        """Have an adapter ready under its name; nothing happens if it is. `path` is relative to the home folder.

        Raises:
            Refused: the model takes no adapters, or not this one: it was trained on another.
            NotFound: there is no adapter in `path`.
        """

    @abstractmethod
    def _unload(self, name: str) -> None:
        """Free one that is loaded and that nobody uses."""

    @abstractmethod
    def _loaded(self) -> Collection[str]:
        """Names of those that are ready."""

    @abstractmethod
    def _misfit(self, name: str, path: str) -> str | None:
        """Why an adapter does not fit the model that serves; None if it does, or if that shows when it is loaded."""

    @property
    def trouble(self) -> str | None:
        """Why what should serve does not; None where all is well."""
        return self._holding.trouble

    def pointer(self) -> Pointer | None:
        """The row that says what serves; None where nothing was ever promoted."""
        with self._db.read() as session:
            return session.get(Pointer, self.kind)

    def champion(self) -> str | None:
        """Name of the adapter that serves; None for the base model."""
        pointer = self.pointer()
        return pointer.champion if pointer else None

    def fitting(self) -> str | None:
        """The champion, if it was trained on the model that serves: what a retrain goes on from."""
        pointer = self.pointer()
        if pointer is None or pointer.champion is None:
            return None
        return None if self._misfit(pointer.champion, str(pointer.champion_path)) else pointer.champion

    def lent(self, order: Sequence[Pinned]) -> AbstractContextManager[Pinned | None]:
        """The first of `order` that can serve, ready until the block ends; None is the base model."""
        return self._holding.lent(order)

    def held(self, name: str, path: str) -> AbstractContextManager[None]:
        """Have one ready until the block ends. Raises whatever loading it raises."""
        return self._holding.held(name, path)

    def warm(self) -> None:
        """Load what any request may need next, so that neither a question nor a rollback waits; look for trouble.

        A previous champion that belongs to another model is none: nobody can go back to it.
        """
        self._holding.clear()
        pointer = self.pointer()
        for name, path in self._choosing.in_use(self.kind).items():
            if pointer is None or name != pointer.previous or self._misfit(name, path) is None:
                self._holding.try_load(name, path)

    def tidy(self) -> None:
        """Free what nothing that stands names any more, each when the last request with it is over."""
        self.unload_all_but(self._choosing.in_use(self.kind))

    def unload_all_but(self, names: Collection[str]) -> None:
        """Free adapters that no longer serve, each when the last request with it is over."""
        self._holding.clear(names)
        self._holding.keep(names)
