"""Policies by likeness to what is new: near (and diverse), and far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rehearsal.policies.picks import (
    Candidate,
    NewExamples,
    Pick,
    centroid,
    chance,
    draw,
    quotas,
    short,
    slices,
    stack,
    unit,
)
from rehearsal.policies.spread import filled

MOST_COMPARED = 512
"""New examples, by chance, that old ones are compared with: the table of all with all outgrows the memory."""
NEIGHBOURS = 16
"""Nearest old examples of each new question that `near` considers."""
CENTRE = 32
"""Examples of a slice, by chance, that say where it lies."""
DIVERSITY = 0.5
"""MMR's lambda: 1 is likeness to the new questions alone, 0 is unlikeness to what is picked already."""


def near(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The nearest old questions of each new one, diversified: like the new ones, and unlike each other."""
    return filled("near", nearest, candidates, new, n, seed)


def far(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """A draw from every slice, in quotas that grow with its distance from the new questions.

    Paper: Wang et al., InsCL: a data-efficient continual learning paradigm, NAACL 2024, which gives distant
    tasks more of the budget (there by Wasserstein distance, here by the cosine of centroids).
    """
    return filled("far", farthest, candidates, new, n, seed)


def nearest(pool: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The arm of `near`, in order of picking."""
    known = [c for c in pool if c.vector is not None]
    if not known or not len(new.examples) or n <= 0:
        return []
    vectors = unit(stack(known))
    some = sorted(sorted(range(len(new.examples)), key=lambda i: chance(seed, new.examples[i]))[:MOST_COMPARED])
    alike = vectors @ unit(new.vectors[some]).T  # (candidates, some of the new)
    wanted, k = np.zeros(0, dtype=np.int64), NEIGHBOURS
    while len(wanted) < min(n, len(known)):  # new questions may share neighbours: look further until there are enough
        k = min(k, len(known))
        wanted = np.unique(np.argpartition(-alike, k - 1, axis=0)[:k])
        k *= 2
    best, closest = alike[wanted].max(axis=1), alike[wanted].argmax(axis=1)
    return [
        Pick(
            example=known[wanted[i]].example,
            reason=f"near: cosine {short(best[i])} to new question {new.examples[some[closest[i]]]!r}",
        )
        for i in diverse(best, vectors[wanted], n)
    ]


def diverse(relevance: np.ndarray, vectors: np.ndarray, n: int) -> list[int]:
    """Up to `n` rows, one after another: relevant (m,), and unlike what is picked already by unit vectors (m, d).

    Paper: Carbonell and Goldstein, The use of MMR, diversity-based reranking, SIGIR 1998.
    """
    score = DIVERSITY * np.asarray(relevance, dtype=np.float32)
    picked: list[int] = []
    crowded = np.zeros(len(score), dtype=np.float32)  # likeness to what is picked already
    open_ = np.zeros(len(score), dtype=np.float32)
    while len(picked) < min(n, len(score)):
        at = int(np.argmax(open_ + score - (1 - DIVERSITY) * crowded))
        alike = vectors @ vectors[at]
        crowded = np.maximum(crowded, alike) if picked else alike
        picked.append(at)
        open_[at] = -np.inf
    return picked


def farthest(pool: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The arm of `far`."""
    if not len(new.examples):
        return []
    members = slices([c for c in pool if c.vector is not None])
    centre = centroid(new.vectors)
    middles = {name: centroid(stack(draw(some, CENTRE, seed))) for name, some in members.items()}
    distances = {name: max(0.0, 1 - float(middle @ centre)) for name, middle in middles.items()}
    shares = quotas({name: len(some) for name, some in members.items()}, distances, n)
    return [
        Pick(example=c.example, reason=f"far: slice {name!r} at distance {short(distances[name])}")
        for name, some in members.items()
        for c in draw(some, shares[name], seed)
    ]
