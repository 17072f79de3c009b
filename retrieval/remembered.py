"""Vectors that were made a moment ago: of questions, and of the sentences that questions brought up.

A question is read twice, by the search and by the reading of what it found, and popular passages come up again and
again. What is kept is the digest of a text and its vector, never the text; the least recently used go first. A vector
says something of its text, so a deleted document's must go: everything is dropped as soon as the audit log has another
entry, and deletes and expiries of every process stand there. To sort out whose they were would need the documents kept
beside them, and deletes are rare.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from kernel.database import Database
from kernel.serving import LocalEmbedder
from kernel.tables import AuditEntry

if TYPE_CHECKING:
    import numpy as np

BYTES = 64 * 2**20
"""Of all vectors that are kept: 40,000 sentences of the packaged model."""
AT_ONCE = 128
"""Texts of a call that is kept; one with more comes from an evaluation and would push everything else out."""

Embed = Callable[[Sequence[str]], "np.ndarray"]


class RememberingEmbedder:
    """The `LocalEmbedder` port over another, for the serving side. Safe from several threads."""

    def __init__(self, embedder: LocalEmbedder, db: Database, limit: int = BYTES) -> None:
        self._embedder, self._db, self._limit = embedder, db, limit
        self._kept: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._bytes = self._deeds = 0
        self._lock = Lock()

    def __len__(self) -> int:
        """How many vectors are kept."""
        return len(self._kept)

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def path(self) -> str:
        return self._embedder.path

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    @property
    def fingerprint(self) -> str:
        return self._embedder.fingerprint

    @property
    def max_tokens(self) -> int:
        return self._embedder.max_tokens

    def load(self) -> None:
        self._embedder.load()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        if progress is not None:
            return self._embedder.embed_documents(texts, progress)
        return self._of("document", texts, self._embedder.embed_documents)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._of("query", texts, self._embedder.embed_queries)

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """`ingest.delete.Eraser`: this process forgets at once; others do when they are asked next."""
        deeds = self._now()
        with self._lock:
            self._clear()
            self._deeds = max(deeds, self._deeds)  # what is being embedded at this moment is not kept
        return {}

    def _of(self, kind: str, texts: Sequence[str], embed: Embed) -> np.ndarray:
        import numpy as np

        if not texts or len(texts) > AT_ONCE:
            return embed(texts)
        deeds, fingerprint = self._now(), self._embedder.fingerprint
        keys = [_key(kind, fingerprint, text) for text in texts]
        with self._lock:
            if deeds > self._deeds:
                self._clear()
                self._deeds = deeds
            known = {key: self._kept[key] for key in keys if key in self._kept}
            for key in known:
                self._kept.move_to_end(key)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            made = dict(zip(missing, embed(list(missing.values())), strict=True))
            if self._embedder.fingerprint != fingerprint:  # switched meanwhile: nothing of both may be mixed
                return embed(texts)
            with self._lock:
                if deeds == self._deeds:
                    self._keep(made)
            known |= made
        return np.stack([known[key] for key in keys])

    def _now(self) -> int:
        """How many entries the audit log has."""
        with self._db.read() as session:
            return session.scalar(select(func.max(AuditEntry.seq))) or 0

    def _keep(self, made: dict[bytes, np.ndarray]) -> None:
        for key, vector in made.items():
            if key not in self._kept:
                self._kept[key] = vector.copy()  # a row would keep its whole batch
                self._bytes += vector.nbytes
        while self._bytes > self._limit:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _clear(self) -> None:
        self._kept.clear()
        self._bytes = 0


def _key(kind: str, fingerprint: str, text: str) -> bytes:
    return hashlib.blake2b(f"{kind}\0{fingerprint}\0{text}".encode(), digest_size=16).digest()
