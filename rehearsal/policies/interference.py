"""Rehearsal by interference: recall what learning the new examples would hurt most.

How much that is, a virtual step says: train a little on what is new, look at the loss of old examples before and after,
and throw the step away. The measurement is not made here; it arrives as `Candidate.rise`.

Paper: Aljundi et al., Online continual learning with maximally interfered retrieval, NeurIPS 2019. There the pool is a
random part of the memory; here half of it is that, stratified, and half is what lies nearest to the new questions. As
there, redundant rows are passed over; here by MMR.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rehearsal.policies.nearness import diverse, nearest
from rehearsal.policies.picks import Candidate, NewExamples, Pick, credible, eligible, short, unit, without
from rehearsal.policies.spread import filled, strata

POOL = 8
"""Rows whose rise is worth measuring, for each that will be recalled."""
MOST_MEASURED = 512
UNMEASURED = "stratified, as no rise of the loss was measured"


def mir(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """Those whose loss a virtual step raises most, diversified. Nothing measured: a stratified draw that says so."""
    pool = eligible(candidates, new)
    if all(c.rise is None for c in pool):
        return strata(pool, n, seed, UNMEASURED)
    return filled("mir", interfered, candidates, new, n, seed)


def interfered(pool: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The arm: of what was measured and does rise, the highest first, each unlike the ones before it."""
    rising = [c for c in credible([c for c in pool if c.rise is not None]) if (c.rise or 0.0) > 0]
    if not rising or n <= 0:
        return []
    rises = np.array([c.rise for c in rising], dtype=np.float32)
    order = diverse(rises / rises.max(), unit(_stacked(rising)), n)
    return [Pick(example=rising[i].example, reason=f"mir: {told(rising[i])}") for i in order]


def worth_measuring(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[str]:
    """Examples whose rise is to be measured before `n` are picked: half near, half stratified, and a bounded cost."""
    pool, most = eligible(candidates, new), min(POOL * n, MOST_MEASURED)
    close = nearest(pool, new, (most + 1) // 2, seed)
    others = strata(without(pool, close), most - len(close), seed)
    return sorted(pick.example for pick in (*close, *others))


def told(c: Candidate) -> str:
    """What was measured, for a reason."""
    rise = c.rise or 0.0
    return f"loss {'+' if rise >= 0 else ''}{short(rise)} after a virtual step"


def _stacked(members: Sequence[Candidate]) -> np.ndarray:
    """Vectors (members, dimension); one that has none is like nothing."""
    known = next((c.vector for c in members if c.vector is not None), np.zeros(1))
    return np.stack([np.zeros_like(known) if c.vector is None else c.vector for c in members])
