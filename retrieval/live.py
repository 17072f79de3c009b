"""The live retriever: which adapter turns questions into vectors, and the encoder that wears it.

The pointer is one row in SQL, read at every question, so a promote or rollback reaches every process at once. Adapters
stay loaded under their own names (names are never reused): the champion and the previous one are warm, so going back is
one row and no loading. An adapter that cannot be loaded never takes the platform down: the base model serves, and
`trouble` says why. So it is with an adapter that was trained on another embedder than the one that serves: it waits
until that serves again, or until a retrain takes its place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from kernel.database import Database
from kernel.errors import NotFound, Refused, RepriseError
from kernel.ids import now_ms
from kernel.serving import LocalEmbedder
from retrieval.choosing import Pinned
from retrieval.encoder import MANIFEST, QueryEncoder, read_model, weights_sha256
from retrieval.holding import MISFIT
from retrieval.shelf import LiveAdapters
from retrieval.tables import Pointer

if TYPE_CHECKING:
    import numpy as np

RETRIEVER = "retriever"
_BASES = 2
"""Base models kept at a time: what serves, and what served until a moment ago."""


class LiveRetriever(LiveAdapters):
    """Questions to vectors, with whichever adapter a request was decided for. Safe from several threads."""

    kind = RETRIEVER

    def __init__(self, db: Database, embedder: LocalEmbedder, home: Path) -> None:
        super().__init__(db, home)
        self._embedder = embedder
        self._encoders: dict[
            str, tuple[QueryEncoder, set[str]]
        ] = {}  # by base: the encoder, the adapters it has loaded
        self._misfits: dict[tuple[str, str], str | None] = {}
        self._paths: dict[str, str] = {}  # of every name that was ever loaded
        self._lock = RLock()

    def encode(self, texts: Sequence[str], pinned: Pinned | None = None) -> tuple[np.ndarray, str | None]:
        """Vectors of shape (len(texts), dimension), and the name of the adapter that made them; None is the base model.

        `pinned` None is the champion of this moment, for whoever has no request that was decided for.

        Raises:
            Refused, NotFound: a strict adapter does not fit the embedder that serves, or is not there: what somebody
                asked for by name is not silently replaced by another.
        """
        if pinned is None:
            pointer = self.pointer()
            if pointer is None or pointer.champion is None:
                return self._embedder.embed_queries(texts), None
            pinned = Pinned(name=pointer.champion, path=str(pointer.champion_path), strict=False)
        with self._holding.lent([pinned]) as lent:
            if lent is None:
                return self._embedder.embed_queries(texts), None
            return self.encode_with(lent.name, texts), lent.name

    def encode_with(self, adapter: str | None, texts: Sequence[str]) -> np.ndarray:
        """Vectors by a named adapter that was loaded before; None is the base model."""
        if adapter is None:
            return self._embedder.embed_queries(texts)
        while True:
            try:
                return self._encoder()[0].encode(texts, adapter)
            except NotFound:  # freed since it was loaded, as nothing that stands names it, or the embedder was switched
                if adapter not in self._paths:
                    raise
                self.load(adapter, self._paths[adapter])

    def load(self, name: str, path: str) -> None:
        misfit = self._misfit(name, path)
        if misfit is not None:
            raise Refused(misfit, hint="retrain on this embedder, or ask without naming an adapter", code=MISFIT)
        with self._lock:
            encoder, loaded = self._encoder()
            if name not in loaded:
                encoder.load(name, str(self._home / path))
                loaded.add(name)
                self._paths[name] = path

    def _loaded(self) -> set[str]:
        return set(self._encoder()[1])

    def _unload(self, name: str) -> None:
        with self._lock:
            encoder, loaded = self._encoder()
            if name in loaded:
                encoder.unload(name)
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
