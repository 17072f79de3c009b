"""Two ranked lists made one: distribution-based score fusion with a weight, in the open.

Each arm's scores are put on one scale by their own distribution, `(score - (mean - 3 s)) / (6 s)`, so that a hit that
wins its arm by far counts for more than one that wins by a hair; what an arm did not find has 0 there. Then the two
are added, `weight` of the words' and `1 - weight` of the vectors'. That is Qdrant's DBSF, done on our side so that it
can be weighed and explained (docs/decisions/0015). Pure: it knows neither index nor texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WEIGHT = 0.6
"""Of BM25 where nothing was measured: loses to neither arm alone on any of eight sets (docs/decisions/0015)."""

Ranked = Sequence[tuple[str, float]]
"""(id, score), best first; no id twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a candidate stands in one list."""

    rank: int
    """From 1."""
    score: float
    """As the list had it: a cosine, or a sum of BM25 weights."""
    normal: float
    """On the common scale: .5 is the list's mean, and most lie between 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """A candidate of either arm; None where an arm did not find it among its first."""

    id: str
    score: float
    dense: Standing | None = None
    words: Standing | None = None


def fuse(dense: Ranked, words: Ranked, weight: float = WEIGHT) -> list[Fused]:
    """Every candidate of both lists, best first; equal scores in order of id. `weight` is of `words`, 0 to 1.

    An arm that found nothing has no say, and the other's order stands.
    """
    near, said = standings(dense), standings(words)
    weight = (weight if near else 1.0) if said else 0.0
    found = [
        Fused(
            id=one,
            score=weight * _normal(said.get(one)) + (1 - weight) * _normal(near.get(one)),
            dense=near.get(one),
            words=said.get(one),
        )
        for one in near | said
    ]
    return sorted(found, key=lambda candidate: (-candidate.score, candidate.id))


def standings(ranked: Ranked) -> dict[str, Standing]:
    """The list by id, with scores on the common scale."""
    normal = normalised([score for _, score in ranked])
    return {
        one: Standing(rank=rank, score=score, normal=normal[rank - 1]) for rank, (one, score) in enumerate(ranked, 1)
    }


def normalised(scores: Sequence[float]) -> list[float]:
    """Scores by their own mean and three standard deviations to either side; all .5 where they do not differ."""
    if not scores:
        return []
    mean = math.fsum(scores) / len(scores)
    spread = math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / (len(scores) - 1)) if len(scores) > 1 else 0.0
    if spread < 1e-9 * max(1.0, abs(mean)):
        return [0.5] * len(scores)
    return [0.5 + (score - mean) / (6 * spread) for score in scores]


def blended(first: Sequence[float], second: Sequence[float], share: float) -> list[float]:
    """Two scorings of the same candidates on one scale; `share` is of the second."""
    return [(1 - share) * a + share * b for a, b in zip(normalised(list(first)), normalised(list(second)), strict=True)]


def _normal(standing: Standing | None) -> float:
    return standing.normal if standing else 0.0
