"""Sequential tests of a canary: what feedback says so far, valid however often and whenever one looks.

The evidence is an e-value from counts alone: for each arm a Beta mixture over its rate (Robbins 1970, "Statistical
methods related to the law of the iterated logarithm"), against the best that the hypothesis can do for both arms
together (Wasserman, Ramdas & Balakrishnan 2020, "Universal inference", PNAS 117, whose sequential form this is). Under
the hypothesis the numerator over the likelihood at the true rates is a martingale that starts at 1, and the best of the
hypothesis is at least that likelihood; so by Ville's inequality the chance that the e-value ever reaches 1/alpha is at
most alpha. It may be looked at after every vote, the shares may change on the way, and nothing is approximated.

What is assumed: within an arm each observation is good with the same chance, whatever came before. Votes of one person
are not, so each person (or conversation, or question) counts a bounded number of times in each arm. Whoever was drawn
into a growing share counts in both, and there the product of the arms' likelihoods is not exact: but who is easily
pleased is so by both, which moves the two rates together and not apart, so that mistakes become rarer and a true
difference is told later (`benchmarks.canary` has the figures).

    hypothesis                                    given up at    then
    the canary's answers are as good or better    2/alpha        harm: it goes, by itself
    it abstains at most `guard` more often        2/alpha        harm likewise (the two share alpha)
    it is worse by `margin` or more               1/beta         the next step, if there are `min_votes` of it

It knows counts and figures, and nothing of adapters or rows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kernel.errors import UserError

_RATES, _COUNTS = ("alpha", "beta", "margin", "guard"), ("min_votes", "per_unit", "min_shadows")
_MOST = 1_000_000
"""Votes or turns: more than that is not waited for, so asking for more is a slip."""
_HALVINGS = 40
"""Of an interval within 0 to 1: to twelve digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPlan:
    """Figures of the test. They are stored with a trial, so that it can be told by which rules it was decided."""

    __test__ = False  # pytest takes it for a test of its own

    alpha: float = 0.05
    """Chance at most that a canary which is no worse is taken back."""
    beta: float = 0.10
    """Chance at most that one which is worse by `margin` or more goes on to a larger share."""
    margin: float = 0.10
    """Of good votes, the share by which a canary may be worse and still pass for no worse."""
    guard: float = 0.05
    """By how much more often it may abstain, as a share of all answers."""
    min_votes: int = 20
    """Votes of the canary at each step, below which nothing follows from votes."""
    per_unit: int = 1
    """Votes and answers in each arm that count of one user, conversation or question."""
    min_shadows: int = 50
    """Questions compared in the shadow, before the first share."""

    def __post_init__(self) -> None:
        rates = {name: getattr(self, name) for name in _RATES}
        wrong = [name for name, value in rates.items() if not (0 < value < 1)]
        wrong += [n for n in _COUNTS if not getattr(self, n) >= 1]
        if wrong:
            raise UserError(
                f"the test's {', '.join(wrong)} cannot be used", hint="rates lie between 0 and 1, counts are 1 or more"
            )

    def to_json(self) -> dict[str, Any]:
        """JSON values only; `from_json` takes it back."""
        return dataclasses.asdict(self)

    @classmethod
    def asked(cls, given: Mapping[str, Any]) -> TestPlan:
        """The usual plan, but for the figures that a person gives.

        Raises:
            UserError: one there is none of, or that cannot be used; all of them are named.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise UserError(f"the test has no {', '.join(unknown)}", hint=f"it has: {', '.join(known)}")
        wrong = [f"{name} {value!r}" for name, value in given.items() if not _usable(name, value)]
        if wrong:
            raise UserError(
                f"the test cannot use {', '.join(wrong)}",
                hint=f"{', '.join(_RATES)} lie between 0 and 1, the others are whole numbers from 1 to {_MOST:,}",
            )
        return cls(**{name: value if name in _RATES else int(value) for name, value in given.items()})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TestPlan:
        """The plan that `to_json` gave, of this release or another one."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What was observed of one arm: `good` of `n`."""

    n: int = 0
    good: int = 0

    @property
    def bad(self) -> int:
        return self.n - self.good

    @property
    def rate(self) -> float | None:
        return self.good / self.n if self.n else None

    def turned(self) -> Arm:
        """Good taken for bad."""
        return Arm(n=self.n, good=self.bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a trial has seen so far."""

    canary: Arm = Arm()
    champion: Arm = Arm()
    """Votes."""
    canary_answers: Arm = Arm()
    champion_answers: Arm = Arm()
    """All answers; good is one that did not abstain."""
    canary_votes_now: int = 0
    """Votes of the canary since its present step began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows, and why in one sentence."""

    move: Literal["harm", "advance", "wait"]
    reason: str


def evidence_of_less(one: Arm, other: Arm, by: float = 0.0) -> float:
    """Log of the e-value against "rate(one) - rate(other) >= -by": large where `one` is lower by more than `by`."""
    return -math.inf if not (one.n and other.n) else _mixed(one) + _mixed(other) - _best(one, other, -by)


def evidence_of_no_less(one: Arm, other: Arm, by: float) -> float:
    """Log of the e-value against "rate(one) - rate(other) <= -by": large where `one` is not lower by `by` or more."""
    return evidence_of_less(one.turned(), other.turned(), -by)


def decide(plan: TestPlan, seen: Observed) -> Decision:
    """What a canary's figures call for. It takes no step of its own accord when there is nothing to tell."""
    harm, least = math.log(2 / plan.alpha), f"2/alpha is {2 / plan.alpha:.0f}"
    worse = evidence_of_less(seen.canary, seen.champion)
    abstains = evidence_of_less(seen.canary_answers, seen.champion_answers, plan.guard)
    told = f"{_told(seen.canary)} of the canary's votes are good, {_told(seen.champion)} of the champion's"
    if seen.canary.n >= plan.min_votes and worse >= harm:
        return Decision(move="harm", reason=f"{told}: worse, with an e-value of {_shown(worse)} ({least})")
    if seen.canary_answers.n >= plan.min_votes and abstains >= harm:
        canary, champion = _told(seen.canary_answers), _told(seen.champion_answers)
        answers = f"the canary answers {canary} of its questions, the champion {champion}"
        return Decision(move="harm", reason=f"{answers}: less, with an e-value of {_shown(abstains)} ({least})")
    if seen.canary_votes_now < plan.min_votes:
        lacking = f"{seen.canary_votes_now} of {plan.min_votes} votes that this step needs"
        return Decision(move="wait", reason=f"{lacking}; {told}")
    holds = evidence_of_no_less(seen.canary, seen.champion, plan.margin)
    needed = f"with an e-value of {_shown(holds)} (1/beta is {1 / plan.beta:.0f})"
    if holds >= math.log(1 / plan.beta):
        return Decision(move="advance", reason=f"{told}: not worse by {plan.margin:.0%}, {needed}")
    return Decision(move="wait", reason=f"{told}: not told yet whether it is worse by {plan.margin:.0%}, {needed}")


def decide_shadow(plan: TestPlan, compared: int, failed: int, lost: int, gained: int) -> Decision:
    """What the shadow's figures call for: of `compared` questions it lost the answer of some to an abstention, and
    gained one on others; on `failed` turns it failed.

    Both answered the same questions, so only those count where one of the two abstained: under the hypothesis that the
    challenger abstains no more often than the champion it is the one that does in at most half of them.
    """
    told = f"{compared} questions compared: {lost} answers lost to an abstention, {gained} gained"
    pairs = Arm(n=lost + gained, good=lost)
    evidence = _mixed(pairs) - _likely(pairs, min(0.5, pairs.rate or 0.0))
    if evidence >= math.log(1 / plan.alpha):
        return Decision(
            move="harm", reason=f"{told}, with an e-value of {_shown(evidence)} (1/alpha is {1 / plan.alpha:.0f})"
        )
    if failed:
        return Decision(move="wait", reason=f"{failed} turns failed in the shadow: a person has to look; {told}")
    if compared < plan.min_shadows:
        return Decision(move="wait", reason=f"{compared} of {plan.min_shadows} questions that the shadow needs; {told}")
    return Decision(move="advance", reason=told)


def _usable(name: str, value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value < 1 if name in _RATES else 1 <= value <= _MOST and value == int(value)


def _told(arm: Arm) -> str:
    return f"{arm.good} of {arm.n}"


def _shown(log_e: float) -> str:
    return "0" if log_e < -20 else f"{math.exp(min(log_e, 300.0)):.3g}"


def _mixed(arm: Arm) -> float:
    """Log-likelihood of an arm under the Beta(1/2, 1/2) mixture over its rate."""
    return _log_beta(arm.good + 0.5, arm.bad + 0.5) - _log_beta(0.5, 0.5)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _best(one: Arm, other: Arm, least: float) -> float:
    """The largest log-likelihood of both arms where rate(one) - rate(other) >= least.

    Each arm's is concave in its rate, so where the rates as they are do not fit, the best lies on the line between, on
    which the slope of the sum falls: its zero is found by halving.
    """
    p, q = one.good / one.n, other.good / other.n
    if p - q >= least:
        return _likely(one, p) + _likely(other, q)
    low, high = max(0.0, -least), min(1.0, 1.0 - least)  # of the other's rate
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(one, middle + least) + _slope(other, middle) > 0:
            low = middle
        else:
            high = middle
    at = (low + high) / 2
    return _likely(one, min(1.0, max(0.0, at + least))) + _likely(other, at)


def _likely(arm: Arm, rate: float) -> float:
    return _times_log(arm.good, rate) + _times_log(arm.bad, 1.0 - rate)


def _times_log(count: int, rate: float) -> float:
    if not count:
        return 0.0
    return count * math.log(rate) if rate > 0 else -math.inf


def _slope(arm: Arm, rate: float) -> float:
    up = arm.good / rate if rate > 0 else (math.inf if arm.good else 0.0)
    down = arm.bad / (1.0 - rate) if rate < 1 else (math.inf if arm.bad else 0.0)
    return up - down
