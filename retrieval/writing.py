"""The live adapter of the generator: which one writes answers right now.

As for the retriever (`live`), the pointer is one row in SQL, read for every answer, so that a promote or a rollback
reaches every process at once; the champion and the previous one stay loaded, and going back loads nothing. An answer is
written to its end with the adapter it began with: who writes holds it, and what is held is freed by the last who lets
go. An adapter that cannot be loaded takes nothing down: the base model writes, and `trouble` says why.

A model's side never sees a name twice. An adapter that was freed and is wanted again is loaded under an alias, since
caches of the prompt may still be keyed by the name it had.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from kernel.database import Database
from kernel.errors import Refused, RepriseError
from kernel.ports import Adaptable, Generator
from kernel.types import BASE
from retrieval.encoder import MANIFEST
from retrieval.generators.identity import identity_of
from retrieval.tables import Pointer

log = logging.getLogger(__name__)
GENERATOR = "generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes an answer: an adapter's name, and what the model calls it. None and `BASE` are the base model."""

    name: str | None
    alias: str | None


class LiveGenerator:
    """Which adapter writes with the default generator. Safe from several threads."""

    def __init__(self, db: Database, generator: Generator, home: Path) -> None:
        self._db, self._generator, self._home = db, generator, home
        self._aliases: dict[str, str] = {}  # of what is loaded: our name to the model's
        self._times: Counter[str] = Counter()
        self._held: Counter[str] = Counter()  # answers that are being written, by our name
        self._leaving: set[str] = set()
        self._lock = RLock()
        self.trouble: str | None = None

    @property
    def generator(self) -> Generator:
        return self._generator

    def pointer(self) -> Pointer | None:
        with self._db.read() as session:
            return session.get(Pointer, GENERATOR)

    def champion(self) -> str | None:
        """Name of the adapter that serves; None for the base model."""
        pointer = self.pointer()
        return pointer.champion if pointer else None

    def fitting(self) -> str | None:
        """The champion, if it was trained on the model that serves: what a retrain goes on from."""
        pointer = self.pointer()
        if pointer is None or pointer.champion is None or not isinstance(self._generator, Adaptable):
            return None
        return None if self._misfit(pointer.champion, str(pointer.champion_path)) else pointer.champion

    @contextmanager
    def holding(self, adapter: str | None = None) -> Iterator[Writer]:
        """The adapter that writes one answer, kept until the block ends: `adapter` (loaded), or the one that serves."""
        writer = self._choose() if adapter is None else self._take(adapter)
        try:
            yield writer
        finally:
            self._let_go(writer.name)

    def load(self, name: str, path: str) -> None:
        """Have an adapter ready under its name; nothing happens if it is. `path` is relative to the home folder.

        Raises:
            Refused: the generator takes no adapters, or this one was trained on another model.
            NotFound, Upstream: as of `Adaptable.load_adapter`.
        """
        if not isinstance(self._generator, Adaptable):
            raise Refused(
                f"the generator {self._generator.name!r} takes no adapters",
                hint="set REPRISE_GENERATOR to transformers:FOLDER or to a server that loads LoRA adapters",
            )
        if misfit := self._misfit(name, path):
            raise Refused(misfit, hint="retrain on the model that serves", code="adapter_misfit")
        with self._lock:
            self._leaving.discard(name)
            if name in self._aliases:
                return
            self._times[name] += 1
            alias = name if self._times[name] == 1 else f"{name}~{self._times[name]}"
            self._generator.load_adapter(alias, str(self._home / path))
            self._aliases[name] = alias

    def warm(self) -> None:
        """Load the champion and the previous one, so that neither an answer nor a rollback waits."""
        pointer = self.pointer()
        for name, path in (
            ((pointer.champion, pointer.champion_path), (pointer.previous, pointer.previous_path)) if (pointer) else ()
        ):
            if name is not None:
                try:
                    self.load(name, str(path))
                except Exception as error:
                    self.trouble = f"generator adapter {name!r} cannot be loaded: {error}"
                    log.exception("%s", self.trouble)

    def unload_all_but(self, names: set[str | None]) -> None:
        """Free adapters that no longer serve: at once, or when the last answer that began with one is written."""
        with self._lock:
            self._leaving |= set(self._aliases) - names
            for name in [n for n in self._leaving if not self._held[n]]:
                self._free(name)

    # --- parts ------------------------------------------------------------------------------------------------------

    def _choose(self) -> Writer:
        pointer = self.pointer()
        if pointer is None or pointer.champion is None:
            return Writer(name=None, alias=BASE if isinstance(self._generator, Adaptable) else None)
        with self._lock:
            try:
                self.load(pointer.champion, str(pointer.champion_path))
            except Exception as error:
                self.trouble = f"adapter {pointer.champion!r} cannot be loaded ({error}); the base model writes"
                log.exception("%s", self.trouble)
                return Writer(name=None, alias=BASE if isinstance(self._generator, Adaptable) else None)
            self.trouble = None
            return self._take(pointer.champion)

    def _take(self, name: str) -> Writer:
        with self._lock:
            if name == BASE:
                return Writer(name=None, alias=BASE)
            alias = self._aliases.get(name)
            if alias is None:
                raise Refused(f"no adapter {name!r} is loaded", hint="load it first")
            self._held[name] += 1
            return Writer(name=name, alias=alias)

    def _let_go(self, name: str | None) -> None:
        if name is None:
            return
        with self._lock:
            self._held[name] -= 1
            if name in self._leaving and not self._held[name]:
                self._free(name)

    def _free(self, name: str) -> None:
        self._leaving.discard(name)
        alias = self._aliases.pop(name, None)
        if alias is not None and isinstance(self._generator, Adaptable):
            self._generator.unload(alias)

    def _misfit(self, name: str, path: str) -> str | None:
        """Why an adapter does not fit the model that serves; None if it does, or if that cannot be told here."""
        source = getattr(self._generator, "source", None)
        if source is None:
            return None  # the model's files are on a server, which looks for itself
        try:
            trained = json.loads((self._home / path / MANIFEST).read_text(encoding="utf-8"))["base"]
            now = identity_of(source)
        except (OSError, ValueError, KeyError, RepriseError):
            return None
        pairs = (("weights", "sha256"), ("tokenizer", "tokenizer_sha256"), ("template", "template_sha256"))
        other = [what for what, key in pairs if key in trained and trained[key] != getattr(now, what)]
        if not other:
            return None
        return (
            f"adapter {name!r} was trained on another model than {self._generator.name!r} (other {', '.join(other)}); "
            "the base model writes until a retrain passes its gate"
        )
