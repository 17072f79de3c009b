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
from typing import Any

from qdrant_client import models

from kernel.index import terms
from kernel.types import OPEN, When

DENSE, SPARSE = "dense", "sparse"
KEYWORDS = ("kind", "ws", "doc", "slice", "split")
INTEGERS = ("born", "died", "from", "until", "pinned")

BM25_K, BM25_B = 0.9, 0.4
"""BM25 parameters (Robertson and Zaragoza 2009, eq. 3.15); measured on paragraphs, see docs/decisions/0005."""
BM25_AVERAGE_TOKENS = 110
"""Terms a chunk is expected to have, for length normalisation. A constant on purpose: see docs/decisions/0015."""


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
    """BM25's weight of each term of a text, without the IDF, which the engine takes over what is visible."""
    counts = terms.of_document(text)
    length = BM25_K * (1 - BM25_B + BM25_B * counts.total() / BM25_AVERAGE_TOKENS)
    weights = {term: count * (BM25_K + 1) / (count + length) for term, count in sorted(counts.items())}
    return models.SparseVector(indices=list(weights), values=list(weights.values()))


def sparse_query(text: str) -> models.SparseVector:
    """The terms of a question, each once."""
    asked = terms.of_query(text)
    return models.SparseVector(indices=asked, values=[1.0] * len(asked))
