"""The default: a floor for what must not be missing, and everything else as it comes, in fair parts.

It neither looks at likeness nor measures interference: neither kept more than chance did (docs/decisions/0031).
"""

from __future__ import annotations

from collections.abc import Sequence

from rehearsal.policies.floor import pinned
from rehearsal.policies.picks import Candidate, NewExamples, Pick, eligible, without
from rehearsal.policies.spread import proportional, strata

FLOOR = 0.2
"""Share of the budget that the floor has at most."""


def mixed(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The default: at most 20 % pinned, rare and incident, and a draw from every slice in proportion to its size.

    What the floor took counts as its slice's, so that no slice has more than its part but by the floor itself.
    """
    pool = eligible(candidates, new)
    floor = pinned(pool, new, min(n, round(FLOOR * n)), seed)
    left = without(pool, floor)
    kept = {pick.example for pick in floor}
    had = [c for c in pool if c.example in kept]
    return floor + strata(left, n - len(floor), seed, "spread", growth=proportional, had=had)
