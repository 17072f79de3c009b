"""Search: dense and BM25 arms through the visibility filter that no caller can skip, fused, reranked, diversified.

question ─▶ vector and terms ─▶ both arms, in one batch of the index ─▶ fusion by the workspace's tuning
         ─▶ reranker, where it was measured to help ─▶ diversity, if asked for ─▶ passages
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qdrant_client import models

from ingest.library import Library, Placed
from kernel.epochs import Epochs
from kernel.errors import UserError
from kernel.ids import now_ms
from kernel.index.schema import DENSE, SPARSE, keyword, sparse_query, visible
from kernel.ports import Reranker, VectorIndex
from kernel.serving import Held
from kernel.types import Passage, When
from retrieval.choosing import Pinned
from retrieval.diversity import diverse
from retrieval.fusion import Fused, Ranked, blended, fuse
from retrieval.live import LiveRetriever
from retrieval.trace import Trace, traces
from retrieval.tuning import DEFAULT, Tuning, Tunings

if TYPE_CHECKING:
    import numpy as np

MAX_K = 1000
RERANKED = 30
"""Candidates a reranker looks at, best fused first."""
_NOBODY = "-"
"""No document has this id: a filter that names nobody must match nothing, whatever an engine makes of an empty list."""
_DIVERSE = 50
"""Candidates that diversity chooses from, or three times as many as are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where and when a question looks. None leaves a side open; `when` None is the committed epoch, now."""

    workspace: str | None = None
    document: str | None = None
    documents: frozenset[str] | None = None
    """Ids of the documents that may be looked in; an empty set finds nothing."""
    when: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Passages, best first, and what they were found with."""

    passages: tuple[Passage, ...]
    when: When
    adapter: str | None = None
    ms: dict[str, float] = field(default_factory=dict)
    tuning: Tuning = DEFAULT
    reranker: str | None = None
    """Name of the reranker that looked; None where none did."""
    trace: tuple[Trace, ...] = ()
    """Every candidate's way, where it was asked for; those that are shown come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How one search is done. None leaves it to the workspace's tuning."""

    weight: float | None = None
    rerank: bool | None = None
    diversity: float | None = None
    adapter: Pinned | None = None
    """Of the retriever, as it was decided for a request; None is the champion of the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """What each arm found for one question, best first."""

    dense: Ranked
    words: Ranked


class Search:
    """Questions to passages. Safe from several threads; takes no lock."""

    def __init__(
        self,
        index: VectorIndex,
        epochs: Epochs,
        library: Library,
        live: LiveRetriever,
        depth: int,
        tunings: Tunings | None = None,
        *,
        reranker: Reranker | None = None,
        rerank: bool | None = None,
        diversity: float = 0.0,
    ) -> None:
        """`rerank`: whether `reranker` looks at every search; None leaves that to each workspace's tuning."""
        self._index, self._epochs, self._library, self._live = index, epochs, library, live
        self._depth, self._tunings, self._diversity = depth, tunings, diversity
        self.reranker, self._rerank = reranker, rerank

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

    def search(
        self,
        query: str,
        k: int = 10,
        scope: Scope | None = None,
        *,
        how: How | None = None,
        explain: bool = False,
    ) -> Found:
        """The `k` best passages by dense + BM25, fused as the workspace's tuning says, or as `how` does.

        Raises:
            UserError: an empty query, a `k` outside 1..1000, or a `diversity` outside 0..1.
        """
        scope, how = scope or Scope(), how or How()
        if not query.strip():
            raise UserError("the question is empty", hint="ask with at least one word")
        if not 1 <= k <= MAX_K:
            raise UserError(f"k is {k}", hint=f"give 1 to {MAX_K}")
        if not 0 <= (how.diversity or 0) <= 1:
            raise UserError(f"diversity is {how.diversity}", hint="give 0 (none) to 1")
        tuning = self._tuning(scope, how)
        started = time.perf_counter()
        while True:
            with self._epochs.one_index() as held:
                vectors, adapter = self._live.encode([query], how.adapter)
                embedded = time.perf_counter()
                when = scope.when or self.when()
                if held.moved:  # another index serves, and this one lacks what came since
                    continue
                found, missing = self._found(query, vectors[0], k, scope, when, tuning, how, explain)
                if missing and scope.when is None:  # a purge ran between the index's answer and the rows
                    when = self.when()
                    if held.moved:
                        continue
                    found, _ = self._found(query, vectors[0], k, scope, when, tuning, how, explain)
                break
        ended = time.perf_counter()
        ms = {"embed": embedded - started, "search": ended - embedded, "total": ended - started}
        return replace(found, adapter=adapter, ms={name: round(s * 1000, 3) for name, s in ms.items()})

    def one_index(self) -> AbstractContextManager[Held]:
        """Keep one index and its embedder for this thread: for whoever compares vectors with what was found."""
        return self._epochs.one_index()

    def rank(
        self,
        queries: Sequence[str],
        vectors: np.ndarray,
        k: int,
        scope: Scope,
        *,
        fused: bool,
        how: How | None = None,
    ) -> list[list[Passage]]:
        """Passages for each query by given query vectors (n, d): what evaluation compares adapters with.

        `fused` ranks as served, or as `how` says; otherwise by the dense arm alone.
        """
        when = scope.when or self.when()
        if fused:
            how = how or How()
            tuning = self._tuning(scope, how)
            found = self.arms(queries, vectors, scope, when=when, depth=k)
            return [
                list(self._ordered(query, arms, k, when, tuning, how)[0].passages)
                for query, arms in zip(queries, found, strict=True)
            ]
        seen = self._filter(scope, when)
        requests = [models.QueryRequest(query=vector.tolist(), using=DENSE, filter=seen, limit=k) for vector in vectors]
        answers = self._index.query(requests) if requests else []
        placed = self._library.place(sorted({str(p.id) for answer in answers for p in answer}), when)
        return [
            [as_passage(placed[str(p.id)], p.score, rank) for rank, p in enumerate(answer, 1) if str(p.id) in placed]
            for answer in answers
        ]

    def arms(
        self, queries: Sequence[str], vectors: np.ndarray, scope: Scope, *, when: When | None = None, depth: int = 0
    ) -> list[Arms]:
        """What each arm finds for each query, at least `depth` deep: one batch of the index for all."""
        when = when or scope.when or self.when()
        depth = max(self._depth, depth)
        seen = self._filter(scope, when)
        # IDF is taken over what is visible in the workspace, so superseded text and examples do not distort it.
        corpus = models.IdfCorpusParams(corpus=self._filter(Scope(workspace=scope.workspace), when))
        requests, told = [], []
        for query, vector in zip(queries, vectors, strict=True):
            requests.append(models.QueryRequest(query=vector.tolist(), using=DENSE, filter=seen, limit=depth))
            terms = sparse_query(query)
            told.append(bool(terms.indices))
            if told[-1]:  # else nothing but function words: BM25 has nothing to say
                params = models.SearchParams(idf=corpus)
                requests.append(models.QueryRequest(query=terms, using=SPARSE, filter=seen, limit=depth, params=params))
        answers = iter(self._index.query(requests) if requests else [])
        return [Arms(dense=_ranked(next(answers)), words=_ranked(next(answers)) if said else ()) for said in told]

    def by_weight(self, arms: Arms, k: int, weights: Sequence[float]) -> dict[float, tuple[Passage, ...]]:
        """What each weight would show of what `arms` found just now, without a reranker; rows are read once for all."""
        fused = {weight: fuse(arms.dense, arms.words, weight)[:k] for weight in weights}
        placed = self._library.place(sorted({c.id for found in fused.values() for c in found}), self.when())
        return {
            weight: tuple(as_passage(placed[c.id], c.score, rank) for rank, c in enumerate(found, 1) if c.id in placed)
            for weight, found in fused.items()
        }

    def ordered(self, query: str, arms: Arms, k: int, how: How) -> tuple[Passage, ...]:
        """What would be shown of what `arms` found just now."""
        tuning = self._tuning(Scope(), how)
        return self._ordered(query, arms, k, self.when(), tuning, how)[0].passages

    def _tuning(self, scope: Scope, how: How) -> Tuning:
        tuning = self._tunings.of(scope.workspace) if self._tunings is not None else DEFAULT
        weight = tuning.weight if how.weight is None else how.weight
        if self.reranker is None:
            return replace(tuning, weight=weight, rerank=False)
        told = tuning.rerank if tuning.measured_with == self.reranker.name else self.reranker.by_default
        rerank = told if self._rerank is None else self._rerank
        return replace(tuning, weight=weight, rerank=rerank if how.rerank is None else how.rerank)

    def _found(
        self,
        query: str,
        vector: np.ndarray,
        k: int,
        scope: Scope,
        when: When,
        tuning: Tuning,
        how: How,
        explain: bool,
    ) -> tuple[Found, bool]:
        (arms,) = self.arms([query], vector[None, :], scope, when=when, depth=k)
        return self._ordered(query, arms, k, when, tuning, how, explain)

    def _ordered(
        self, query: str, arms: Arms, k: int, when: When, tuning: Tuning, how: How, explain: bool = False
    ) -> tuple[Found, bool]:
        """What is shown of both arms' candidates, and whether one of those was deleted meanwhile."""
        fused = fuse(arms.dense, arms.words, tuning.weight)
        diversity = self._diversity if how.diversity is None else how.diversity
        looks = tuning.rerank and self.reranker is not None and self.reranker.looks(query)
        pool = fused[: max(k, RERANKED if looks else 0, max(_DIVERSE, 3 * k) if diversity else 0)]
        placed = self._library.place([c.id for c in pool], when)
        score = {c.id: c.score for c in pool if c.id in placed}
        reranked = self._reranked(query, pool[:RERANKED], placed, score) if looks else {}
        order = sorted(score, key=score.__getitem__, reverse=True)  # stable: fusion decides between equals
        if diversity and len(order) > 1:
            order = self._diversified(order, score, k, diversity)
        shown = {one: rank for rank, one in enumerate(order[:k], 1)}
        found = Found(
            passages=tuple(as_passage(placed[one], score[one], rank) for one, rank in shown.items()),
            when=when,
            tuning=tuning,
            reranker=self.reranker.name if self.reranker is not None and looks else None,
            trace=traces(fused, reranked, shown, score, len(pool), diverse=bool(diversity)) if explain else (),
        )
        return found, len(placed) < len(pool)

    def _reranked(
        self, query: str, pool: list[Fused], placed: dict[str, Placed], score: dict[str, float]
    ) -> dict[str, float]:
        """What the reranker says of the pool; their `score` is made anew, above the others', where it says anything."""
        assert self.reranker is not None
        ids = [c.id for c in pool if c.id in placed]
        if not ids:
            return {}
        said = self.reranker.rerank(query, [as_passage(placed[one], score[one], n) for n, one in enumerate(ids, 1)])
        if min(said) < max(said):
            mixed = blended([score[one] for one in ids], said, self.reranker.share)
            above = max((score[one] for one in score.keys() - set(ids)), default=0.0) - min(mixed)
            score |= {one: value + max(above, 0.0) for one, value in zip(ids, mixed, strict=True)}
        return dict(zip(ids, said, strict=True))

    def _diversified(self, order: list[str], score: dict[str, float], k: int, diversity: float) -> list[str]:
        import numpy as np

        vectors = {str(p.id): p.vector[DENSE] for p in self._index.retrieve(order, with_vectors=True)}  # type: ignore[call-overload, index]
        order = [one for one in order if one in vectors]
        rows = np.asarray([vectors[one] for one in order], dtype=np.float32)
        return [order[i] for i in diverse([score[one] for one in order], rows, k, diversity)]

    def _filter(self, scope: Scope, when: When) -> models.Filter:
        """What this question may see: chunks, visible at `when`, in scope."""
        rule = visible(when)
        must = [keyword("kind", "chunk"), *(rule.must or [])]  # type: ignore[misc]
        if scope.workspace is not None:
            must.append(keyword("ws", scope.workspace))
        if scope.document is not None:
            must.append(keyword("doc", scope.document))
        if scope.documents is not None:
            must.append(keyword("doc", *sorted(scope.documents) or [_NOBODY]))
        return models.Filter(must=must, must_not=rule.must_not)


def _ranked(answer: Sequence[models.ScoredPoint]) -> Ranked:
    return [(str(point.id), float(point.score)) for point in answer]


def as_passage(placed: Placed, score: float = 0.0, rank: int = 0) -> Passage:
    """A chunk that was placed, as a reader sees it."""
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
