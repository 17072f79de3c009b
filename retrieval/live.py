"""The live adapter pointer: which retriever adapter turns questions into vectors right now.

The pointer is one row in SQL, read at every question, so a promote or rollback reaches every process at once. Adapters
stay loaded under their own names (names are never reused): the champion and the previous one are warm, so going back is
one row and no loading. An adapter that cannot be loaded never takes the platform down: the base model serves, and
`trouble` says why.
"""

from __future__ import annotations

import logging
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from kernel.database import Database
from kernel.embedder import SentenceTransformerEmbedder
from kernel.ids import now_ms
from retrieval.encoder import QueryEncoder
from retrieval.tables import Pointer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

log = logging.getLogger(__name__)
RETRIEVER = "retriever"


class LiveRetriever:
    """Questions to vectors through the adapter that serves. Safe from several threads."""

    def __init__(self, db: Database, embedder: SentenceTransformerEmbedder, home: Path) -> None:
        self._db, self._embedder, self._home = db, embedder, home
        self._encoder: QueryEncoder | None = None
        self._loaded: set[str] = set()
        self._lock = RLock()
        self.trouble: str | None = None

    def champion(self) -> str | None:
        """Name of the adapter that serves; None for the base model."""
        pointer = self.pointer()
        return pointer.champion if pointer else None

    def pointer(self) -> Pointer | None:
        with self._db.read() as session:
            return session.get(Pointer, RETRIEVER)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, str | None]:
        """Vectors of shape (len(texts), dimension), and the name of the adapter that made them."""
        pointer = self.pointer()
        if pointer is None or pointer.champion is None:
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
        return self._get_encoder().encode(texts, adapter)

    def load(self, name: str, path: str) -> None:
        """Have an adapter ready under its name; nothing happens if it is. `path` is relative to the home folder."""
        with self._lock:
            if name not in self._loaded:
                self._get_encoder().load(name, str(self._home / path))
                self._loaded.add(name)

    def warm(self) -> None:
        """Load the champion and the previous one, so that neither a question nor a rollback waits."""
        pointer = self.pointer()
        for name, path in (
            ((pointer.champion, pointer.champion_path), (pointer.previous, pointer.previous_path)) if pointer else ()
        ):
            if name is not None and path is not None:
                try:
                    self.load(name, path)
                except Exception as error:
                    self.trouble = f"adapter {name!r} cannot be loaded: {error}"
                    log.exception("%s", self.trouble)

    def unload_all_but(self, names: set[str | None]) -> None:
        """Free adapters that no longer serve."""
        with self._lock:
            for name in self._loaded - names:
                self._get_encoder().unload(str(name))
                self._loaded.discard(name)

    def _get_encoder(self) -> QueryEncoder:
        with self._lock:
            if self._encoder is None:
                self._encoder = QueryEncoder(self._embedder.path)
            return self._encoder


def point(session: Session, kind: str, champion: tuple[str, str] | None, previous: tuple[str, str] | None) -> None:
    """Set the pointer of `kind` to (name, path relative to the home folder) pairs, in the caller's transaction."""
    row = session.get(Pointer, kind)
    if row is None:
        row = Pointer(kind=kind)
        session.add(row)
    row.champion, row.champion_path = champion or (None, None)
    row.previous, row.previous_path = previous or (None, None)
    row.changed = now_ms()
