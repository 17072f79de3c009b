"""The sequential test of a canary: how often it is wrong, looked at after every vote."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.sequential import (
    Arm,
    Observed,
    TestPlan,
    decide,
    decide_shadow,
    evidence_of_less,
    evidence_of_no_less,
)
from kernel.errors import UserError

TRIALS, VOTES = 100, 120
ARMS = st.integers(1, 200).flatmap(lambda n: st.builds(Arm, n=st.just(n), good=st.integers(0, n)))


def watched(canary: float, champion: float, seed: int, *, share: float, plan: TestPlan) -> str:
    """The first move of a trial that is looked at after every vote: harm, advance, or wait to the end."""
    drawn = random.Random(seed)
    n, good = [0, 0], [0, 0]
    for _ in range(VOTES):
        arm = int(drawn.random() >= share)
        n[arm] += 1
        good[arm] += drawn.random() < (canary, champion)[arm]
        arms = [Arm(n=n[a], good=good[a]) for a in (0, 1)]
        move = decide(plan, Observed(canary=arms[0], champion=arms[1], canary_votes_now=n[0])).move
        if move != "wait":
            return move
    return "wait"


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_canary_that_is_no_worse_is_taken_back_less_often_than_alpha(share: float) -> None:
    plan = TestPlan(alpha=0.2, min_votes=5)
    harmed = sum(watched(0.8, 0.8, seed, share=share, plan=plan) == "harm" for seed in range(TRIALS))
    assert harmed <= plan.alpha / 2 * TRIALS  # the votes have half of alpha


def test_one_that_is_worse_by_the_margin_goes_on_less_often_than_beta() -> None:
    plan = TestPlan(alpha=0.001, beta=0.2, margin=0.2, min_votes=5)
    advanced = sum(watched(0.6, 0.8, seed, share=0.5, plan=plan) == "advance" for seed in range(TRIALS))
    assert advanced <= plan.beta * TRIALS


def test_one_that_is_much_worse_is_found_out_and_one_that_is_better_goes_on() -> None:
    plan = TestPlan()
    assert sum(watched(0.3, 0.8, seed, share=0.5, plan=plan) == "harm" for seed in range(20)) >= 18
    assert sum(watched(0.95, 0.75, seed, share=0.5, plan=plan) == "advance" for seed in range(20)) >= 14


@given(ARMS, ARMS, st.floats(0, 0.5))
def test_evidence_speaks_for_at_most_one_side(one: Arm, other: Arm, by: float) -> None:
    less, no_less = evidence_of_less(one, other, by), evidence_of_no_less(one, other, by)
    assert math.isfinite(less)
    assert math.isfinite(no_less)
    assert min(less, no_less) <= 1e-9
    assert evidence_of_less(other, one) == pytest.approx(evidence_of_no_less(one, other, 0.0), abs=1e-9)


@given(ARMS, ARMS, st.floats(0, 0.4), st.floats(0, 0.4))
def test_a_wider_margin_is_easier_to_keep_and_harder_to_miss(one: Arm, other: Arm, a: float, b: float) -> None:
    narrow, wide = sorted((a, b))
    assert evidence_of_no_less(one, other, narrow) <= evidence_of_no_less(one, other, wide) + 1e-9
    assert evidence_of_less(one, other, wide) <= evidence_of_less(one, other, narrow) + 1e-9


def test_the_best_of_the_hypothesis_is_the_best_there_is() -> None:
    """Against a search over a fine grid of both rates."""
    one, other, by = Arm(n=20, good=8), Arm(n=40, good=31), 0.05
    grid = [k / 400 for k in range(1, 400)]

    def likely(arm: Arm, rate: float) -> float:
        return arm.good * math.log(rate) + arm.bad * math.log(1 - rate)

    best = max(likely(one, p) + likely(other, q) for p in grid for q in grid if p - q >= -by)
    mixed = sum(math.lgamma(a.good + 0.5) + math.lgamma(a.bad + 0.5) - math.lgamma(a.n + 1) for a in (one, other))
    assert evidence_of_less(one, other, by) == pytest.approx(mixed - 2 * math.log(math.pi) - best, abs=0.01)


def test_nothing_follows_from_nothing_or_from_a_few() -> None:
    plan = TestPlan(min_votes=20)
    assert decide(plan, Observed()).move == "wait"
    few = Observed(canary=Arm(n=19, good=0), champion=Arm(n=900, good=900), canary_votes_now=19)
    assert decide(plan, few).move == "wait"
    assert "19 of 20 votes" in decide(plan, few).reason


def test_each_step_needs_votes_of_its_own() -> None:
    seen = Observed(canary=Arm(n=400, good=380), champion=Arm(n=400, good=300), canary_votes_now=3)
    assert decide(TestPlan(), seen).move == "wait"
    enough = Observed(canary=seen.canary, champion=seen.champion, canary_votes_now=20)
    assert decide(TestPlan(), enough).move == "advance"


def test_a_canary_that_abstains_more_is_harm_without_a_single_vote() -> None:
    seen = Observed(canary_answers=Arm(n=100, good=50), champion_answers=Arm(n=1000, good=900))
    decision = decide(TestPlan(), seen)
    assert decision.move == "harm"
    assert "answers 50 of 100" in decision.reason


def test_the_shadow_goes_on_when_it_was_seen_enough_and_loses_no_answers() -> None:
    plan = TestPlan(min_shadows=50)
    assert decide_shadow(plan, 49, 0, 0, 0).move == "wait"
    assert decide_shadow(plan, 50, 0, 3, 2).move == "advance"
    assert decide_shadow(plan, 50, 1, 0, 0).move == "wait"
    assert decide_shadow(plan, 20, 0, 12, 0).move == "harm"


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"beta": 1.0}, {"margin": float("nan")}, {"min_votes": 0}])
def test_a_plan_that_cannot_be_used_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        TestPlan(**wrong)  # type: ignore[arg-type]


def test_all_that_is_wrong_with_a_plan_that_a_person_asks_for_is_named() -> None:
    wrong = {"alpha": 1.5, "margin": float("nan"), "min_votes": float("inf"), "per_unit": 1.5, "min_shadows": 10**7}
    with pytest.raises(UserError) as told:
        TestPlan.asked(wrong | {"beta": 0.2})
    assert all(name in told.value.message for name in wrong)
    assert "beta" not in told.value.message
    with pytest.raises(UserError, match="no luck"):
        TestPlan.asked({"luck": 1})
    plan = TestPlan.asked({"min_votes": 30.0, "margin": 0.2})
    assert plan == TestPlan(min_votes=30, margin=0.2)
    assert isinstance(plan.min_votes, int)


def test_a_plan_comes_back_from_its_record() -> None:
    plan = TestPlan(margin=0.03, min_votes=7)
    assert TestPlan.from_json(plan.to_json() | {"of a later release": 1}) == plan
