"""Rehearsal by what is known of each example's memory: when it is due, and how badly it was last answered."""

from __future__ import annotations

from collections.abc import Sequence

from rehearsal.policies.picks import Candidate, NewExamples, Pick, chance, credible, draw, eligible, short, without

DAY = 86_400_000
"""Milliseconds; the interval of an example that was practised once."""
GROWTH, LEAST_GROWTH = 2.0, 1.3
HARDER = 0.2
"""By so much less an interval grows for each time that the example was forgotten."""
STRONGEST = 10.0
"""Beyond this strength the interval grows no more: about three years."""
SURPRISING = 0.5
"""At most this share of the budget is chosen by loss."""


def due(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """The most overdue first: by the time since an example was practised, in intervals of its own.

    An interval doubles with each practice that found the example remembered, grows more slowly for one that was
    forgotten before, and starts over when it is forgotten (its strength is 0 again). What was never practised is due.
    The order depends on ratios of times alone: cycles of minutes and cycles of weeks give the same.

    Papers: Settles and Meeder, A trainable spaced repetition model for language learning, ACL 2016 (the half-life);
    the least growth is that of SM-2 (Wozniak, Optimization of learning, 1990). Review per item against uniform replay
    for language models: arXiv 2608.17530.
    """
    pool = eligible(candidates, new)
    now = max([new.at or 0, *(c.last_rehearsed for c in pool if c.last_rehearsed is not None)])

    def waited(c: Candidate) -> float:
        return float("inf") if c.last_rehearsed is None else (now - c.last_rehearsed) / interval(c)

    ordered = sorted(pool, key=lambda c: (-waited(c), chance(seed, c.example)))[: max(0, n)]
    return [Pick(example=c.example, reason=_when(c, now)) for c in ordered]


def interval(c: Candidate) -> float:
    """Milliseconds after which an example is due again."""
    growth = max(LEAST_GROWTH, GROWTH - HARDER * c.forgotten)
    return float(DAY * growth ** min(max(c.strength, 0.0), STRONGEST))


def surprise(candidates: Sequence[Candidate], new: NewExamples, n: int, seed: int) -> list[Pick]:
    """Half of the budget by the highest last loss, without the very highest; the other half by chance.

    The very highest losses are suspected to be wrong labels, and are asked last. The cap is there because mining errors
    alone collapses: with it, replay of surprising examples gains (SuRe, arXiv 2511.22367); without it, one production
    study fell from .59 to .07 (PinSieve, arXiv 2608.24040).
    """
    pool = eligible(candidates, new)
    trusted = credible(pool)
    known = sorted(
        (c for c in trusted if c.last_loss is not None),
        key=lambda c: (-(c.last_loss or 0.0), chance(seed, c.example)),
    )
    picks = [
        Pick(example=c.example, reason=f"surprise: last loss {short(c.last_loss or 0.0)}")
        for c in known[: int(SURPRISING * max(0, n))]
    ]
    because = "random, beside the surprising" if picks else "random, as no loss is known"
    rest = draw(without(trusted, picks), n - len(picks), seed)
    picks += [Pick(example=c.example, reason=because) for c in rest]
    suspected = draw(without(pool, picks), n - len(picks), seed)
    return picks + [Pick(example=c.example, reason="suspected noise, as 'surprise' ran out") for c in suspected]


def _when(c: Candidate, now: int) -> str:
    if c.last_rehearsed is None:
        return "due: never practised again"
    days = (now - c.last_rehearsed - interval(c)) / DAY
    state = f"overdue by {days:.1f} days" if days >= 0 else f"next due, in {-days:.1f} days"
    return f"due: {state}, strength {short(c.strength)}"
