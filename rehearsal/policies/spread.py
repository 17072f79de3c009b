"""Policies that spread the budget over what there is: random, stratified, balanced. The strong floor of rehearsal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from rehearsal.policies.picks import Arm, Candidate, NewExamples, Pick, draw, eligible, quotas, slices, without


def random_sample(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """Every old example has the same chance."""
    pool = eligible(candidates, new)
    drawn = draw(pool, n, seed)
    return [Pick(example=c.example, reason=f"random: one of {len(drawn)} of {len(pool)} old examples") for c in drawn]


def stratified(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """A draw from every slice, in quotas that grow with the square root of its size: small slices are heard."""
    return strata(eligible(candidates, new), n, seed)


def balanced(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """A draw of the same size from every slice, as far as it has so many.

    Paper: Prabhu et al., GDumb: a simple approach that questions our progress in continual learning, ECCV 2020, whose
    buffer is balanced by class.
    """
    return strata(eligible(candidates, new), n, seed, "balanced", growth=lambda size: 1.0)


def strata(
    pool: Sequence[Candidate],
    n: int,
    seed: int,
    because: str = "stratified",
    growth: Callable[[int], float] = math.sqrt,
    had: Sequence[Candidate] = (),
) -> list[Pick]:
    """A draw from each slice of an eligible pool, in quotas by `growth` of its size times its weight.

    `had` were picked before, and count: the quotas are of both together, as far as a slice has not had more already.
    """
    members, whole = slices(pool), slices([*pool, *had])
    sizes = {name: len(some) for name, some in members.items()}
    weights = {name: growth(len(some)) * some[0].weight for name, some in whole.items()}
    if had:
        fair = quotas({name: len(some) for name, some in whole.items()}, weights, n + len(had))
        counts = Counter(c.slice for c in had)
        weights = {name: float(max(0, fair[name] - counts[name])) for name in members}
    shares = quotas(sizes, weights, n)
    short_of = min(n, len(pool)) - sum(shares.values())
    if short_of > 0:  # slices of weight 0 are asked last, rather than give less than was asked for
        left = {name: sizes[name] - shares[name] for name in sizes}
        more = quotas(left, {name: growth(sizes[name]) for name in sizes}, short_of)
        shares = {name: shares[name] + more[name] for name in sizes}
    return [
        Pick(example=c.example, reason=f"{because}: slice {name!r} {shares[name]} of {sizes[name]}")
        for name, some in members.items()
        for c in draw(some, shares[name], seed)
    ]


def proportional(size: int) -> float:
    """A growth: twice as large, twice as many."""
    return float(size)


def filled(name: str, arm: Arm, candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The arm's picks, and a stratified draw for what it could not fill."""
    pool = eligible(candidates, new)
    picks = arm(pool, new, n, seed)
    return picks + strata(without(pool, picks), n - len(picks), seed, f"stratified, as {name!r} ran out")
