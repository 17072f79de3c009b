"""The live adapter pointer: which retriever adapter turns questions into vectors right now.

The pointer is one row in SQL, read at every question, so a promote or rollback reaches every process at once. Adapters
stay loaded under their own names (names are never reused): the champion and the previous one are warm, so going back is
one row and no loading. An adapter that cannot be loaded never takes the platform down: the base model serves, and
`trouble` says why. So it is with an adapter that was trained on another embedder than the one that serves: it waits
until that serves again, or until a retrain takes its place.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from kernel.database import Database
from kernel.errors import NotFound, Refused, RepriseError
from kernel.ids import now_ms
from kernel.serving import LocalEmbedder
from retrieval.encoder import MANIFEST, QueryEncoder, read_model, weights_sha256
from retrieval.tables import Pointer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

log = logging.getLogger(__name__)
RETRIEVER = "retriever"
_BASES = 2
"""Base models kept at a time: what serves, and what served until a moment ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """An adapter that a question asks for by name, whatever serves; `path` None is the base model."""

    name: str
    path: str | None
    """Relative to the home folder."""


class LiveRetriever:
    """Questions to vectors through the adapter that serves. Safe from several threads."""

    def __init__(self, db: Database, embedder: LocalEmbedder, home: Path) -> None:
        self._db, self._embedder, self._home = db, embedder, home
        self._encoders: dict[
            str, tuple[QueryEncoder, set[str]]
        ] = {}  # by base: the encoder, the adapters it has loaded
        self._misfits: dict[tuple[str, str], str | None] = {}
        self._lock = RLock()
        self.trouble: str | None = None

    def champion(self) -> str | None:
        """Name of the adapter that serves; None for the base model."""
        pointer = self.pointer()
        return pointer.champion if pointer else None

    def fitting(self) -> str | None:
        """The champion, if it was trained on the embedder that serves: what a retrain goes on from."""
        pointer = self.pointer()
        if pointer is None or pointer.champion is None:
            return None
        return None if self._misfit(pointer.champion, str(pointer.champion_path)) else pointer.champion

    def pointer(self) -> Pointer | None:
        with self._db.read() as session:
            return session.get(Pointer, RETRIEVER)

    def encode(self, texts: Sequence[str], pinned: Pinned | None = None) -> tuple[np.ndarray, str | None]:
        """Vectors of shape (len(texts), dimension), and the name of the adapter that made them.

        Raises:
            Refused, NotFound: a pinned adapter does not fit the embedder that serves, or is not there: what somebody
                asked for by name is not silently replaced by another.
        """
        if pinned is not None:
            return self._encode_pinned(pinned, texts), pinned.name if pinned.path else None
        pointer = self.pointer()
        if pointer is None or pointer.champion is None:
            return self._embedder.embed_queries(texts), None
        misfit = self._misfit(pointer.champion, str(pointer.champion_path))
        if misfit is not None:
            self.trouble = misfit
            return self._embedder.embed_queries(texts), None
        try:
            self.load(pointer.champion, str(pointer.champion_path))
        except Exception as error:
            self.trouble = f"adapter {pointer.champion!r} cannot be loaded ({error}); the base model serves"
            log.exception("%s", self.trouble)
            return self._embedder.embed_queries(texts), None
        self.trouble = None
        return self.encode_with(pointer.champion, texts), pointer.champion

    def encode_with(self, adapter: str | None, texts: Sequence[str]) -> np.ndarray:
        """Vectors by a named, loaded adapter; None is the base model."""
        if adapter is None:
            return self._embedder.embed_queries(texts)
        return self._encoder()[0].encode(texts, adapter)

    def _encode_pinned(self, pinned: Pinned, texts: Sequence[str]) -> np.ndarray:
        if pinned.path is None:
            return self.encode_with(None, texts)
        misfit = self._misfit(pinned.name, pinned.path)
        if misfit is not None:
            raise Refused(misfit, hint="ask without naming an adapter", code="adapter_misfit")
        self.load(pinned.name, pinned.path)
        try:
            return self.encode_with(pinned.name, texts)
        except NotFound:  # a promotion freed what does not serve, between the two lines
            self.load(pinned.name, pinned.path)
            return self.encode_with(pinned.name, texts)

    def load(self, name: str, path: str) -> None:
        """Have an adapter ready under its name; nothing happens if it is. `path` is relative to the home folder."""
        with self._lock:
            encoder, loaded = self._encoder()
            if name not in loaded:
                encoder.load(name, str(self._home / path))
                loaded.add(name)

    def warm(self) -> None:
        """Load the champion and the previous one, so that neither a question nor a rollback waits."""
        pointer = self.pointer()
        for name, path in (
            ((pointer.champion, pointer.champion_path), (pointer.previous, pointer.previous_path)) if pointer else ()
        ):
            if name is not None and path is not None:
                misfit = self._misfit(name, path)
                if misfit is not None:
                    self.trouble = misfit if pointer is not None and name == pointer.champion else self.trouble
                    continue
                try:
                    self.load(name, path)
                except Exception as error:
                    self.trouble = f"adapter {name!r} cannot be loaded: {error}"
                    log.exception("%s", self.trouble)

    def unload_all_but(self, names: set[str | None]) -> None:
        """Free adapters that no longer serve."""
        with self._lock:
            encoder, loaded = self._encoder()
            for name in loaded - names:
                encoder.unload(str(name))
                loaded.discard(name)

    def _encoder(self) -> tuple[QueryEncoder, set[str]]:
        """The encoder over the embedder that serves, and what it has loaded."""
        base = self._embedder.path
        with self._lock:
            if base not in self._encoders:
                self._encoders[base] = (QueryEncoder(base), set())
                while len(self._encoders) > _BASES:
                    del self._encoders[next(iter(self._encoders))]
            return self._encoders[base]

    def _misfit(self, name: str, path: str) -> str | None:
        """Why an adapter does not fit the embedder that serves; None if it does, or if that shows when it is loaded."""
        base = self._embedder.path
        if (name, base) not in self._misfits:
            self._misfits[name, base] = self._compare(name, self._home / path / MANIFEST, base)
        return self._misfits[name, base]

    def _compare(self, name: str, manifest: Path, base: str) -> str | None:
        try:
            trained_on = json.loads(manifest.read_text(encoding="utf-8")).get("base", {}).get("sha256")
            if trained_on is None or trained_on == weights_sha256(read_model(base).folder):
                return None
        except (OSError, ValueError, RepriseError):
            return None
        return (
            f"adapter {name!r} was trained on another embedder than {self._embedder.name!r}; "
            "the base model serves until a retrain passes its gate"
        )


def point(session: Session, kind: str, champion: tuple[str, str] | None, previous: tuple[str, str] | None) -> None:
    """Set the pointer of `kind` to (name, path relative to the home folder) pairs, in the caller's transaction."""
    row = session.get(Pointer, kind)
    if row is None:
        row = Pointer(kind=kind)
        session.add(row)
    row.champion, row.champion_path = champion or (None, None)
    row.previous, row.previous_path = previous or (None, None)
    row.changed = now_ms()
