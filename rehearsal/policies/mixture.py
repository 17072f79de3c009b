"""The default: no single reason is good enough, so each gets a share of the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rehearsal.policies.floor import pinned
from rehearsal.policies.interference import POOL, told
from rehearsal.policies.nearness import farthest, nearest
from rehearsal.policies.picks import Arm, Candidate, NewExamples, Pick, credible, eligible, without
from rehearsal.policies.spread import strata

SHARES = {"pinned": 0.2, "near": 0.2, "far": 0.1}
"""Of `mixed`, in order of picking; what is left is stratified."""


def mixed(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The default: 20 % pinned, rare and incident, 20 % near, 10 % far, and the rest stratified with what those left.

    Where the rise of the loss was measured, the near share is chosen by it: of eight times as many near rows, those
    that a virtual step on the new examples would hurt most.
    """
    pool = eligible(candidates, new)
    picks: list[Pick] = []
    for name, share in SHARES.items():
        picks += ARMS[name](without(pool, picks), new, min(round(share * n), n - len(picks)), seed)
    return picks + strata(without(pool, picks), n - len(picks), seed)


def near_and_interfered(pool: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """Near rows; those that were measured to suffer come first. Likeness alone predicts forgetting badly."""
    if all(c.rise is None for c in pool):
        return nearest(pool, new, n, seed)
    by_id = {c.example: c for c in credible(pool)}
    close = [pick for pick in nearest(pool, new, POOL * n, seed) if pick.example in by_id]
    hurt = [pick for pick in close if (by_id[pick.example].rise or 0.0) > 0]
    hurt.sort(key=lambda pick: (-(by_id[pick.example].rise or 0.0), pick.example))
    first = [replace(pick, reason=f"{pick.reason}, {told(by_id[pick.example])}") for pick in hurt[: max(0, n)]]
    taken = {pick.example for pick in first}
    return first + [pick for pick in close if pick.example not in taken][: max(0, n - len(first))]


ARMS: Mapping[str, Arm] = {"pinned": pinned, "near": near_and_interfered, "far": farthest}
