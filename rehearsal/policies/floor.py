"""The floor under every mix: what a person pinned, what is rare, and what was found forgotten before."""

from __future__ import annotations

from collections.abc import Sequence

from rehearsal.policies.picks import Candidate, NewExamples, Pick, chance, slices
from rehearsal.policies.spread import filled


def pinned_floor(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """Pinned examples, then those of rare slices, then those that were forgotten; in each the least rehearsed first."""
    return filled("pinned", pinned, candidates, new, n, seed)


def times(n: int) -> str:
    """In words: once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def pinned(pool: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The arm. A slice is rare when it holds less than half of what it would if all were equal."""
    members = slices(pool)
    equal_share = len(pool) / max(1, len(members))
    rare = {name: len(m) for name, m in members.items() if len(m) < equal_share / 2}

    def rank(c: Candidate) -> int:
        return 0 if c.pinned else 1 if c.slice in rare else 2

    def reason(c: Candidate) -> str:
        if c.pinned:
            return "pinned"
        if c.slice in rare:
            return f"rare: slice {c.slice!r} holds {rare[c.slice]} of {len(pool)}"
        return f"incident: found forgotten {times(c.forgotten)}"

    wanted = [c for c in pool if rank(c) < 2 or c.forgotten]
    wanted.sort(key=lambda c: (rank(c), c.times_rehearsed, chance(seed, c.example)))
    return [Pick(example=c.example, reason=reason(c)) for c in wanted[: max(0, n)]]
