"""What a point is: its vectors, its payload, and the one rule that says who sees it.

    payload     of
    kind        chunk | example
    ws          workspace
    doc         document id of a chunk; of an example only its slice and split are here
    slice       slice of an example
    split       train | held-out (an example)
    pinned      0 | 1 (an example; an integer because Edge reads a bool as an integer and then matches nothing)
    born, died  epochs: what the system knew when
    from, until UTC milliseconds: when it counts in the world

Text is never in a payload: an engine's log and segments keep deleted payloads until compaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from kernel.types import OPEN, When

if TYPE_CHECKING:
    import qdrant_edge

DENSE, SPARSE = "dense", "sparse"
KEYWORDS = ("kind", "ws", "doc", "slice", "split")
INTEGERS = ("born", "died", "from", "until", "pinned")

BM25_K, BM25_B = 0.9, 0.4
"""BM25 parameters (Robertson and Zaragoza 2009, eq. 3.15); measured on paragraphs, see docs/decisions/0005."""
BM25_AVERAGE_TOKENS = 110
"""Expected terms of a chunk after stop words, for length normalisation."""


def keyword(key: str, *values: str) -> models.FieldCondition:
    """The field is one of `values`."""
    match = models.MatchValue(value=values[0]) if len(values) == 1 else models.MatchAny(any=list(values))
    return models.FieldCondition(key=key, match=match)


def number(key: str, **bounds: int) -> models.FieldCondition:
    """The field lies within the bounds `gt`, `gte`, `lt`, `lte`."""
    return models.FieldCondition(key=key, range=models.Range(**bounds))


def visible(when: When) -> models.Filter:
    """born <= E and from <= T and not (died <= E and until <= T): the visibility rule, in its only place."""
    return models.Filter(
        must=[number("born", lte=when.epoch), number("from", lte=when.at)],
        must_not=[models.Filter(must=[number("died", lte=when.epoch), number("until", lte=when.at)])],
    )


def unborn(point: str, dense: Sequence[float], text: str, starts: int, **payload: Any) -> models.PointStruct:
    """A new point that nobody sees until a flip sets `born`. `starts` (ms) is its `from`."""
    return models.PointStruct(
        id=point,
        vector={DENSE: list(dense), SPARSE: sparse_document(text)},
        payload={**payload, "born": OPEN, "died": OPEN, "from": starts, "until": OPEN},
    )


def sparse_document(text: str) -> models.SparseVector:
    return _to_models(_bm25().embed_document(text))


def sparse_query(text: str) -> models.SparseVector:
    return _to_models(_bm25().embed_query(text))


@cache
def _bm25() -> qdrant_edge.Bm25:
    import qdrant_edge

    return qdrant_edge.Bm25(
        qdrant_edge.Bm25Config(k=BM25_K, b=BM25_B, avg_len=BM25_AVERAGE_TOKENS, language="english", ascii_folding=True)
    )


def _to_models(vector: qdrant_edge.SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))
