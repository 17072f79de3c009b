"""The live generator: which adapter writes the answers, over a generator whose adapters come and go while it serves.

Every request names its adapter (`Ask.adapter`), so nothing here depends on which one the generator would take by
itself, and a move is one row in SQL for generators as it is for the retriever. A generator takes a name once and never
again; an adapter that was freed and is wanted again is therefore loaded under its name with a number behind it.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from kernel.database import Database
from kernel.errors import Refused, RepriseError
from kernel.ports import Adaptable, Generator
from kernel.types import BASE
from retrieval.choosing import Pinned
from retrieval.encoder import MANIFEST
from retrieval.generators.identity import identity_of
from retrieval.holding import MISFIT
from retrieval.shelf import LiveAdapters

GENERATOR = "generator"


class LiveGenerator(LiveAdapters):
    """One generator with its adapters. Safe from several threads; loads no model before somebody needs it."""

    kind = GENERATOR

    def __init__(self, db: Database, generator: Generator, home: Path) -> None:
        super().__init__(db, home)
        self._generator = generator
        self._aliases: dict[str, str] = {}
        self._times: Counter[str] = Counter()

    @property
    def generator(self) -> Generator:
        return self._generator

    @property
    def adaptable(self) -> bool:
        return isinstance(self._generator, Adaptable)

    def fitting(self) -> str | None:
        """The champion, if this generator takes adapters and it was trained on the model that writes."""
        return super().fitting() if self.adaptable else None

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
        if name in self._aliases:
            return
        if not isinstance(self._generator, Adaptable):
            raise Refused(
                f"the generator {self._generator.name!r} takes no adapters",
                hint="set REPRISE_GENERATOR to a transformers: or openai: one",
                code="not_adaptable",
            )
        if misfit := self._misfit(name, path):
            raise Refused(misfit, hint="retrain on the model that writes", code=MISFIT)
        self._times[name] += 1
        alias = name if self._times[name] == 1 else f"{name}+{self._times[name]}"
        self._generator.load_adapter(alias, str(self._home / path))
        self._aliases[name] = alias

    def _loaded(self) -> list[str]:
        return list(self._aliases)

    def _misfit(self, name: str, path: str) -> str | None:
        source = getattr(self._generator, "source", None)
        if source is None:
            return None  # the model's files are on a server, which looks for itself
        try:
            trained = json.loads((self._home / path / MANIFEST).read_text(encoding="utf-8"))["base"]
            now = identity_of(source)
        except (OSError, ValueError, KeyError, RepriseError):
            return None  # an adapter that was made elsewhere says nothing of its base; loading it shows
        hashes = (("weights", "sha256"), ("tokenizer", "tokenizer_sha256"), ("template", "template_sha256"))
        other = [what for what, key in hashes if key in trained and trained[key] != getattr(now, what)]
        if not other:
            return None
        return (
            f"adapter {name!r} was trained on another model than {self._generator.name!r} (other {', '.join(other)}); "
            "the base model writes until a retrain passes its gate"
        )

    def _unload(self, name: str) -> None:
        assert isinstance(self._generator, Adaptable)
        self._generator.unload(self._aliases.pop(name))
