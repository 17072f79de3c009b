"""The live generator: which adapter writes the answers, over a generator whose adapters come and go while it serves.

Every request names its adapter (`Ask.adapter`), so nothing here depends on which one the generator would take by
itself, and a move is one row in SQL for generators as it is for the retriever. A generator takes a name once and never
again; an adapter that was freed and is wanted again is therefore loaded under its name with a number behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from kernel.database import Database
from kernel.errors import Refused
from kernel.ports import Adaptable, Generator
from kernel.types import BASE
from retrieval.choosing import Choosing, Pinned
from retrieval.holding import Holding

GENERATOR = "generator"


class LiveGenerator:
    """One generator with its adapters. Safe from several threads; loads no model before somebody needs it."""

    def __init__(self, db: Database, generator: Generator, home: Path) -> None:
        self._generator, self._home, self._choosing = generator, home, Choosing(db)
        self._aliases: dict[str, str] = {}
        self._times: Counter[str] = Counter()
        self._holding = Holding(self.load, self._unload, lambda: list(self._aliases))

    @property
    def adaptable(self) -> bool:
        return isinstance(self._generator, Adaptable)

    @property
    def trouble(self) -> str | None:
        """Why what should serve does not; None where all is well."""
        return self._holding.trouble

    def lent(self, order: Sequence[Pinned]) -> AbstractContextManager[Pinned | None]:
        """The first of `order` that can serve, ready until the block ends; None is the base model."""
        return self._holding.lent(order)

    def held(self, name: str, path: str) -> AbstractContextManager[None]:
        """Have one ready until the block ends.

        Raises:
            Refused: this generator takes no adapters, or not this one.
        """
        return self._holding.held(name, path)

    def asked(self, pinned: Pinned | None, *, plain: bool) -> str | None:
        """What an `Ask` says for a lent adapter. `plain`: nothing was decided, and the generator does as it would."""
        if not self.adaptable or (plain and pinned is None):
            return None
        return BASE if pinned is None else self._aliases[pinned.name]

    def told(self, pinned: Pinned | None, *, plain: bool) -> str | None:
        """The adapter's name as people know it, for the record."""
        if pinned is not None:
            return pinned.name
        return getattr(self._generator, "adapter", None) if plain else None

    def load(self, name: str, path: str) -> None:
        """Have an adapter ready under its name; nothing happens if it is.

        Raises:
            Refused: this generator takes no adapters, or not this one.
            NotFound: there is no adapter in `path`.
        """
        if name in self._aliases:
            return
        if not isinstance(self._generator, Adaptable):
            raise Refused(
                f"the generator {self._generator.name!r} takes no adapters",
                hint="set REPRISE_GENERATOR to a transformers: or openai: one",
                code="not_adaptable",
            )
        self._times[name] += 1
        alias = name if self._times[name] == 1 else f"{name}+{self._times[name]}"
        self._generator.load_adapter(alias, str(self._home / path))
        self._aliases[name] = alias

    def warm(self) -> None:
        """Load what any request may need next; look for trouble."""
        self._holding.clear()
        for name, path in self._choosing.in_use(GENERATOR).items():
            self._holding.try_load(name, path)

    def tidy(self) -> None:
        """Free what nothing that stands names any more, each when the last answer with it is over."""
        names = self._choosing.in_use(GENERATOR)
        self._holding.clear(names)
        self._holding.keep(names)

    def _unload(self, name: str) -> None:
        assert isinstance(self._generator, Adaptable)
        self._generator.unload(self._aliases.pop(name))
