"""The seams of the house: what domain code asks for, and what each engine promises.

Domain code speaks `qdrant_client.models` for queries and filters; an engine translates where it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from qdrant_client import models

    from kernel.types import Ask, Exchange, Judgement, Passage, Proposal, Sentences


class VectorIndex(Protocol):
    """One collection of points with a `dense` and a `sparse` vector and a small payload; never any text.

    Every acknowledged write survives a killed process. Writes are safe from several threads. Reads see each single
    write whole or not at all, and nothing is promised across two writes: visibility is the business of epochs.
    """

    def insert(self, points: Sequence[models.PointStruct]) -> None:
        """Add points whose ids are new. A point whose id exists is left exactly as it is."""

    def set_payload(self, payload: dict[str, Any], ids: Sequence[str]) -> None:
        """Merge `payload` into the points of `ids` that exist; missing ones do no harm. Repeatable."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points by id; missing ones do no harm."""

    def query(self, requests: Sequence[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        """Answer each request, in order, best first."""

    def scroll(
        self, filter: models.Filter | None, *, with_vectors: bool = False, page_size: int = 1000
    ) -> Iterator[models.Record]:
        """All points that match, in order of id, payload included."""

    def retrieve(self, ids: Sequence[str], *, with_vectors: bool = False) -> list[models.Record]:
        """The points of `ids` that exist, payload included; the order is not promised."""

    def count(self, filter: models.Filter | None = None) -> int:
        """How many points match, exactly."""

    def maintain(self) -> None:
        """Compact and build search structures. May be slow and may hold the process: not while serving."""

    def close(self) -> None:
        """Flush and let go of files and connections. The index is not usable afterwards."""


class Blobs(Protocol):
    """Content-addressed bytes. A key is the SHA-256 of the content in hex."""

    def put(self, content: bytes) -> str:
        """Store and return the key. Storing the same bytes again changes nothing. Atomic.

        Raises:
            DiskFull: there is no room; nothing was stored.
        """

    def put_file(self, path: Path) -> str:
        """As `put`, of the bytes of a file that nobody changes any more, whatever its size. The file stays: remove it.

        Raises:
            DiskFull: there is no room; nothing was stored.
        """

    def get(self, key: str) -> bytes:
        """The bytes of `key`.

        Raises:
            NotFound: no such blob, or its bytes no longer match the key.
        """

    def delete(self, key: str) -> bool:
        """Remove; True if it was there."""

    def keys(self) -> Iterator[str]:
        """All keys, in no order."""


class Embedder(Protocol):
    """Text to unit vectors. Documents and queries differ in the signature because they differ in some models."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def fingerprint(self) -> str:
        """Name, weights hash, dimension, pooling and prefixes, as one string. Equal fingerprints mean equal vectors."""

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        """float32 of shape (len(texts), dimension), rows of length 1. `progress` is told how many are done."""

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """float32 of shape (len(texts), dimension), rows of length 1."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model would see it, special tokens not counted, not truncated."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that the model reads, special tokens not counted; what is beyond is not embedded."""


class Generator(Protocol):
    """Passages to an answer, sentence by sentence. Marks are 1-based positions in `passages`."""

    @property
    def name(self) -> str: ...

    def stream(self, ask: Ask, passages: Sequence[Passage]) -> Sentences:
        """Answer from the passages alone: each sentence as soon as it is complete, then the usage as return value.

        There may be no sentence at all. What was handed out stays valid if the stream breaks later. A stream that
        nobody reads on must be closed, so that the work for it ends.

        Raises:
            NotFound: no adapter is loaded under the name that the ask has.
            Upstream: a model server did not answer well.
        """

    def rewrite(self, question: str, history: Sequence[Exchange]) -> str | None:
        """The question so that it stands alone without `history`; None where this generator cannot write one.

        Raises:
            Upstream: a model server did not answer well.
        """


@runtime_checkable
class Proposing(Protocol):
    """A generator that can ask: questions for training, from a passage."""

    def propose(self, passage: Passage, most: int) -> list[Proposal]:
        """Up to `most` questions that `passage` answers, written by the model without any adapter; none checked.

        Raises:
            UserError: not even a part of the passage fits the model.
            Upstream: a model server did not answer well.
        """


@runtime_checkable
class Adaptable(Protocol):
    """A generator whose adapters come and go while it serves: load, flip with `use`, unload.

    A name is used once and never again. An answer is written to its end with the adapter it began with.
    """

    @property
    def adapter(self) -> str | None:
        """The adapter that serves; None is the base model."""

    @property
    def adapters(self) -> set[str]:
        """Names of the adapters that are loaded, here or by this process on a server."""

    def load_adapter(self, name: str, path: str) -> None:
        """Have the adapter in the folder `path` ready under `name`. It serves after `use(name)`, not before.

        Raises:
            Conflict: the name was used before.
            NotFound: there is no adapter in `path`.
            Refused: it cannot be served: another kind, another base model, unsafe weights.
            Upstream: the model server did not load it.
        """

    def use(self, name: str | None) -> None:
        """Answer with this adapter from the next request on; None is the base model.

        Raises:
            NotFound: no adapter is loaded under that name.
        """

    def unload(self, name: str) -> None:
        """Free an adapter that does not serve, once the last answer that began with it is over.

        Raises:
            Conflict: it serves.
            NotFound: no adapter is loaded under that name.
            TryAgain: answers were still being written with it after a minute.
            Upstream: the model server did not let go of it.
        """


class Verifier(Protocol):
    """Claims to judgements: whether texts say what a sentence says. Safe from several threads."""

    @property
    def name(self) -> str: ...

    def judge(self, claims: Sequence[str], evidence: Sequence[Sequence[str]]) -> list[Judgement]:
        """One judgement for each claim, in order; `evidence[i]` are the texts that `claims[i]` cites.

        A claim without words, or without evidence, has no support and no contradiction. One call for a whole answer is
        cheaper than one for each sentence, and gives the same judgements.
        """


class Reranker(Protocol):
    """A second, closer look at the best candidates. Safe from several threads."""

    @property
    def name(self) -> str: ...

    @property
    def share(self) -> float:
        """Its say in the final order, 0 to 1; the rest is fusion's."""

    @property
    def by_default(self) -> bool:
        """Whether it may look where nothing was measured: it gained or did nothing wherever it was."""

    def looks(self, question: str) -> bool:
        """Whether it has anything to say about such a question. Where not, no candidates are read for it."""

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[float]:
        """How well each passage answers the question, in order of `passages`: the higher the better, on any scale.

        Where all are the same it has nothing to say, and the order of fusion stands.

        Raises:
            UserError: the model cannot be loaded.
        """
