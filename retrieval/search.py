"""Search: dense and BM25 arms fused by the index, through the visibility filter that no caller can skip."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qdrant_client import models

from ingest.library import Library, Placed
from kernel.epochs import Epochs
from kernel.errors import UserError
from kernel.ids import now_ms
from kernel.index.schema import DENSE, SPARSE, keyword, sparse_query, visible
from kernel.ports import VectorIndex
from kernel.types import Passage, When
from retrieval.live import LiveRetriever, Pinned

if TYPE_CHECKING:
    import numpy as np

MAX_K = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where and when a question looks. None leaves a side open; `when` None is the committed epoch, now."""

    workspace: str | None = None
    document: str | None = None
    when: When | None = None
    documents: frozenset[str] | None = None
    """Ids it may look in; none at all where it is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Passages, best first, and what they were found with."""

    passages: tuple[Passage, ...]
    when: When
    adapter: str | None = None
    ms: dict[str, float] = field(default_factory=dict)


class Search:
    """Questions to passages. Safe from several threads; takes no lock."""

    def __init__(self, index: VectorIndex, epochs: Epochs, library: Library, live: LiveRetriever, depth: int) -> None:
        self._index, self._epochs, self._library, self._live, self._depth = (
            index,
            epochs,
            library,
            live,
            depth,
        )

    def when(self, as_of: int | None = None, epoch: int | None = None) -> When:
        """The committed epoch and now, moved by `as_of` (ms) or `epoch`.

        Raises:
            UserError: the epoch was never committed.
        """
        committed = self._epochs.committed()
        if epoch is not None and not 0 <= epoch <= committed:
            raise UserError(
                f"epoch {epoch} is not one of 0 to {committed}", hint="`reprise changes --since 0` lists them"
            )
        return When(epoch=committed if epoch is None else epoch, at=now_ms() if as_of is None else as_of)

    def search(self, query: str, k: int = 10, scope: Scope | None = None, pinned: Pinned | None = None) -> Found:
        """The `k` best passages by dense + BM25, fused.

        Raises:
            UserError: an empty query, or a `k` outside 1..1000.
        """
        scope = scope or Scope()
        if not query.strip():
            raise UserError("the question is empty", hint="ask with at least one word")
        if not 1 <= k <= MAX_K:
            raise UserError(f"k is {k}", hint=f"give 1 to {MAX_K}")
        started = time.perf_counter()
        while True:
            with self._epochs.one_index() as held:
                vectors, adapter = self._live.encode([query], pinned)
                embedded = time.perf_counter()
                when = scope.when or self.when()
                if held.moved:  # another index serves, and this one lacks what came since
                    continue
                passages, missing = self._fused(query, vectors[0], k, scope, when)
                if missing and scope.when is None:  # a purge ran between the index's answer and the rows
                    when = self.when()
                    if held.moved:
                        continue
                    passages, _ = self._fused(query, vectors[0], k, scope, when)
                break
        ended = time.perf_counter()
        ms = {"embed": embedded - started, "search": ended - embedded, "total": ended - started}
        return Found(
            passages=tuple(passages),
            when=when,
            adapter=adapter,
            ms={name: round(s * 1000, 3) for name, s in ms.items()},
        )

    def rank(
        self, queries: Sequence[str], vectors: np.ndarray, k: int, scope: Scope, *, fused: bool
    ) -> list[list[Passage]]:
        """Passages for each query by given query vectors (n, d): what evaluation compares adapters with.

        `fused` ranks as served; otherwise by the dense arm alone.
        """
        when = scope.when or self.when()
        seen = self._filter(scope, when)
        requests = [
            self._hybrid(query, vector, k, seen, scope, when)
            if fused
            else models.QueryRequest(query=vector.tolist(), using=DENSE, filter=seen, limit=k)
            for query, vector in zip(queries, vectors, strict=True)
        ]
        answers = self._index.query(requests) if requests else []
        placed = self._library.place(sorted({str(p.id) for answer in answers for p in answer}), when)
        return [
            [_passage(placed[str(p.id)], p.score, rank) for rank, p in enumerate(answer, 1) if str(p.id) in placed]
            for answer in answers
        ]

    def _fused(self, query: str, vector: np.ndarray, k: int, scope: Scope, when: When) -> tuple[list[Passage], bool]:
        request = self._hybrid(query, vector, k, self._filter(scope, when), scope, when)
        answer = self._index.query([request])[0]
        placed = self._library.place([str(p.id) for p in answer], when)
        there = [p for p in answer if str(p.id) in placed]
        return [_passage(placed[str(p.id)], p.score, rank) for rank, p in enumerate(there, 1)], len(there) < len(answer)

    def _filter(self, scope: Scope, when: When) -> models.Filter:
        """What this question may see: chunks, visible at `when`, in scope."""
        rule = visible(when)
        must = [keyword("kind", "chunk"), *(rule.must or [])]  # type: ignore[misc]
        if scope.workspace is not None:
            must.append(keyword("ws", scope.workspace))
        if scope.document is not None:
            must.append(keyword("doc", scope.document))
        if scope.documents is not None:  # no document has the id "", so an empty set matches nothing
            must.append(keyword("doc", *(sorted(scope.documents) or [""])))
        return models.Filter(must=must, must_not=rule.must_not)

    def _hybrid(
        self, query: str, vector: np.ndarray, k: int, seen: models.Filter, scope: Scope, when: When
    ) -> models.QueryRequest:
        depth = max(self._depth, k)
        dense = models.Prefetch(query=vector.tolist(), using=DENSE, limit=depth, filter=seen)
        words = sparse_query(query)
        if not words.indices:  # nothing but stop words: BM25 has nothing to say
            return models.QueryRequest(query=vector.tolist(), using=DENSE, filter=seen, limit=k)
        # IDF is taken over what is visible in the workspace, so superseded text and examples do not distort it.
        corpus = self._filter(Scope(workspace=scope.workspace), when)
        sparse = models.Prefetch(
            query=words,
            using=SPARSE,
            limit=depth,
            filter=seen,
            params=models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus)),
        )
        fusion = models.FusionQuery(fusion=models.Fusion.DBSF)
        return models.QueryRequest(prefetch=[dense, sparse], query=fusion, limit=k)


def _passage(placed: Placed, score: float, rank: int) -> Passage:
    return Passage(
        chunk=placed.point,
        document=placed.document,
        name=placed.name,
        title=placed.title,
        version=placed.version,
        start=placed.start,
        end=placed.end,
        text=placed.text,
        heading=placed.heading,
        page=placed.page,
        score=float(score),
        rank=rank,
        since=placed.since,
    )
