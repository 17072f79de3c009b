"""Vectors of chunks, each text embedded once: the embedding cache.

A vector is kept by the digest of its text and the fingerprint of its embedder, in the database, so that it survives
restarts and restores. A delete takes those that no remaining chunk needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ingest.tables import Embedding
from kernel.database import Database
from kernel.errors import TryAgain
from kernel.ports import Embedder

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 500
"""Parameters of one statement; SQLite takes some thousands at most."""


class Vectors:
    """The embedder behind its cache. Safe from several threads."""

    def __init__(self, db: Database, embedder: Embedder) -> None:
        self._db, self._embedder = db, embedder

    def of(
        self, digests: Sequence[str], texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """float32 of shape (len(texts), dimension): row i is the vector of `texts[i]`, whose digest is `digests[i]`.

        `progress` is told how many of those that had to be embedded are done.

        Raises:
            TryAgain: another embedder serves since.
        """
        import numpy as np

        out = np.empty((len(texts), self._embedder.dimension), dtype=np.float32)
        if not texts:
            return out
        fingerprint = self._embedder.fingerprint
        known = self._known(digests, fingerprint)
        missing = {digest: i for i, digest in enumerate(digests) if digest not in known}
        if missing:
            made = self._embedder.embed_documents([texts[i] for i in missing.values()], progress)
            if self._embedder.fingerprint != fingerprint:
                raise TryAgain("the embedder was switched meanwhile", hint="try again", code="moved")
            fresh = {digest: vector.astype("<f4").tobytes() for digest, vector in zip(missing, made, strict=True)}
            self._keep(fresh, fingerprint)
            known |= fresh
        for i, digest in enumerate(digests):
            out[i] = np.frombuffer(known[digest], dtype="<f4")
        return out

    def _known(self, digests: Iterable[str], fingerprint: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with self._db.read() as session:
            for some in _in_parts(sorted(set(digests))):
                ours = (Embedding.digest.in_(some), Embedding.embedder == fingerprint)
                found |= dict(session.execute(select(Embedding.digest, Embedding.vector).where(*ours)).all())
        return found

    def _keep(self, vectors: dict[str, bytes], fingerprint: str) -> None:
        with self._db.write() as session:
            for some in _in_parts(sorted(vectors)):
                rows: list[dict[str, object]] = [
                    {"digest": key, "embedder": fingerprint, "vector": vectors[key]} for key in some
                ]
                _insert(session, rows)


def _insert(session: Session, rows: list[dict[str, object]]) -> None:
    """Another publish may have embedded the same text meanwhile: its vector is as good."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(Embedding).on_conflict_do_nothing(), rows)


def _in_parts(values: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
