"""The canary's test: how often it is wrong and how many votes it needs, looked at after every vote.

    python -m benchmarks.canary [--trials 2000] [--votes 1000]

Each row is many seeded trials: votes come to the canary with the chance of its share, and are good with the chance of
their arm. `harm` where the canary is no worse, and `advance` where it is worse by the margin, are mistakes: they must
stay below alpha / 2 and beta. All trials of a row are told at once; that the figures are those of `finetune.sequential`
is checked on counts drawn at random, first.

The second table is of a team: everybody votes once at a share of 5 %, then whoever is drawn into 50 % votes once more.
A person's two words depend on each other as closely as they can: who likes the arm that fewer like likes the other one.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np

from finetune.sequential import Arm, TestPlan, evidence_of_less

CASES = ((0.8, 0.8), (0.5, 0.5), (0.7, 0.8), (0.9, 0.8), (0.6, 0.8), (0.4, 0.8))
SHARES = (0.5, 0.05)
GROWN = (0.05, 0.5)
"""Shares of a team's two rounds of votes."""
_HALVINGS = 30
Counts = np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--votes", type=int, default=1000, help="of both arms together, at most")
    asked = parser.parse_args()
    plan, evidence = TestPlan(), Evidence(asked.votes)
    _check(evidence, asked.votes)
    print(f"{asked.trials} trials of up to {asked.votes} votes; alpha {plan.alpha}, beta {plan.beta}, ", end="")
    print(f"margin {plan.margin}, min_votes {plan.min_votes}\n")
    print("| canary | champion | share | harm | advance | neither | median votes to the move |")
    print("|---|---|---|---|---|---|---|")
    for canary, champion in CASES:
        for share in SHARES:
            told = trials(strangers(canary, champion, share, asked.votes, asked.trials), asked.trials, plan, evidence)
            print(f"| {canary:.0%} | {champion:.0%} | {share:.0%} | {told} |", flush=True)
    people = asked.votes // 2
    print(f"\na team of {people}\n\n| canary | champion | harm | advance | neither | median votes to the move |")
    print("|---|---|---|---|---|---|")
    for canary, champion in CASES:
        told = trials(team(canary, champion, people, asked.trials), asked.trials, plan, evidence)
        print(f"| {canary:.0%} | {champion:.0%} | {told} |", flush=True)


Votes = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Of each trial whether the next vote is the canary's, whether there is one, and whether it is good."""


def strangers(canary: float, champion: float, share: float, votes: int, count: int) -> Votes:
    """Nobody votes twice."""
    drawn = np.random.default_rng(0)
    for _ in range(votes):
        to_canary = drawn.random(count) < share
        liked = drawn.random(count) < np.where(to_canary, canary, champion)
        yield to_canary, np.ones(count, dtype=bool), liked


def team(canary: float, champion: float, people: int, count: int) -> Votes:
    """Everybody votes once in each arm that answers them while the share grows."""
    drawn = np.random.default_rng(0)
    place, mood = drawn.random((2, people, count))
    for share, before in zip(GROWN, (0.0, *GROWN), strict=False):
        for where, likes in zip(place, mood, strict=True):
            to_canary = where < share
            again = (before > 0) & ((where < before) | ~to_canary)  # has voted in this arm
            yield to_canary, ~again, likes < np.where(to_canary, canary, champion)


def trials(votes: Votes, count: int, plan: TestPlan, evidence: Evidence) -> str:
    """How often the first move was which, and after how many votes of both arms: cells of a row."""
    n, good = np.zeros((2, count), dtype=int), np.zeros((2, count), dtype=int)
    move, when = np.zeros(count, dtype=int), np.zeros(count, dtype=int)
    for to_canary, there, liked in votes:
        for arm, takes in enumerate((to_canary & there, ~to_canary & there)):
            n[arm] += takes
            good[arm] += takes & liked
        ready = np.flatnonzero((move == 0) & there & (n[0] >= plan.min_votes) & (n[1] > 0))
        if not len(ready):
            continue
        of = n[0][ready], good[0][ready], n[1][ready], good[1][ready]
        harm = evidence.of_less(*of, 0.0) >= math.log(2 / plan.alpha)
        holds = evidence.of_less(of[0], of[0] - of[1], of[2], of[2] - of[3], -plan.margin) >= math.log(1 / plan.beta)
        move[ready] = np.where(harm, 1, np.where(holds, 2, 0))
        when[ready] = of[0] + of[2]
    told = " | ".join(f"{np.mean(move == what):.1%}" for what in (1, 2, 0))
    return f"{told} | " + (f"{np.median(when[move > 0]):.0f}" if np.mean(move > 0) >= 0.5 else "-")


class Evidence:
    """`evidence_of_less` for arrays of counts, up to `most` in all."""

    def __init__(self, most: int) -> None:
        self._half = np.array([math.lgamma(k + 0.5) for k in range(most + 1)])
        self._whole = np.array([math.lgamma(k + 1.0) for k in range(most + 1)])

    def of_less(self, n: Counts, good: Counts, m: Counts, loved: Counts, by: float) -> np.ndarray:
        p, q = good / n, loved / m
        fits = p - q >= -by
        low, high = np.full(len(n), max(0.0, by)), np.full(len(n), min(1.0, 1.0 + by))
        with np.errstate(divide="ignore", invalid="ignore"):
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                rising = _slope(n, good, middle - by) + _slope(m, loved, middle) > 0
                low, high = np.where(rising, middle, low), np.where(rising, high, middle)
        at = (low + high) / 2
        other, one = np.where(fits, q, at), np.where(fits, p, np.clip(at - by, 0.0, 1.0))
        best = _likely(n, good, one) + _likely(m, loved, other)
        return self._mixed(n, good) + self._mixed(m, loved) - best

    def _mixed(self, n: Counts, good: Counts) -> np.ndarray:
        return self._half[good] + self._half[n - good] - self._whole[n] - math.log(math.pi)


def _likely(n: Counts, good: Counts, rate: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(good > 0, good * np.log(rate), 0.0)
        return up + np.where(n > good, (n - good) * np.log(1.0 - rate), 0.0)


def _slope(n: Counts, good: Counts, rate: np.ndarray) -> np.ndarray:
    return np.where(good > 0, good / rate, 0.0) - np.where(n > good, (n - good) / (1.0 - rate), 0.0)


def _check(evidence: Evidence, votes: int) -> None:
    drawn = np.random.default_rng(1)
    n, m = drawn.integers(1, votes // 2, 200), drawn.integers(1, votes // 2, 200)
    good, loved = drawn.integers(0, n + 1), drawn.integers(0, m + 1)
    for by in (0.0, 0.1, -0.1):
        ours = evidence.of_less(n, good, m, loved, by)
        for k, value in enumerate(ours):
            one, other = Arm(n=int(n[k]), good=int(good[k])), Arm(n=int(m[k]), good=int(loved[k]))
            assert math.isclose(value, evidence_of_less(one, other, by), abs_tol=1e-5), (one, other, by)


if __name__ == "__main__":
    main()
