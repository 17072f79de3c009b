"""Conditions that start retrains: how they are written, when there is drift, and what the gate orders."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.triggers import Ended, Triggers, Window, drift, order, parse, refused_on_old
from kernel.errors import UserError


def test_conditions_are_read_as_people_write_them_and_told_the_same_way() -> None:
    triggers = parse(["examples >= 50", "drift", "gate>=3"], days=14, turns=20)
    assert triggers == Triggers(examples=50, drift=0.05, gate=3, days=14, turns=20)
    assert triggers.conditions == ["examples>=50", "drift>=0.05", "gate>=3"]
    assert Triggers.from_json(triggers.to_json()) == triggers
    assert not Triggers.from_json({})


@pytest.mark.parametrize(
    "wrong", ["examples", "examples>=0", "examples>=1.5", "drift>=2", "drift>=.", "moon>=1", "gate>=0", ""]
)
def test_what_is_no_condition_is_refused(wrong: str) -> None:
    with pytest.raises(UserError, match="no condition"):
        parse([wrong])


def test_a_condition_twice_or_a_window_without_turns_is_refused() -> None:
    with pytest.raises(UserError):
        parse(["gate", "gate>=3"])
    with pytest.raises(UserError, match="window"):
        parse(["drift"], turns=2)


def window(turns: int, unhappy: int, support: float = 0.8, variance: float = 0.01) -> Window:
    return Window(turns=turns, refused=unhappy, answered=turns - unhappy, support=support, variance=variance)


@pytest.mark.parametrize(
    ("before", "recent", "worse"),
    [
        (window(200, 20), window(200, 60), "rose"),  # 10 % to 30 %
        (window(200, 20), window(200, 26), None),  # 10 % to 13 %: chance alone does that
        (window(40, 4), window(40, 10), None),  # 10 % to 25 % of few
        (window(5000, 500), window(5000, 650), None),  # sure, and too little to matter
        (window(200, 60), window(200, 20), None),  # better
        (window(200, 0, 0.80), window(200, 0, 0.70), "support"),
        (window(200, 0, 0.80, 0.5), window(200, 0, 0.70, 0.5), None),  # within its noise
        (window(200, 0, 0.70), window(200, 0, 0.80), None),
    ],
)
def test_drift_is_a_change_that_is_sure_and_large_enough(before: Window, recent: Window, worse: str | None) -> None:
    change = drift(before, recent, 30)
    assert change is not None
    said = change.surely(0.05)
    assert (said is None) == (worse is None)
    assert worse is None or worse in str(said)


def test_too_few_turns_say_nothing() -> None:
    assert drift(window(29, 0), window(500, 400), 30) is None
    assert drift(Window(), Window(), 30) is None


def test_chance_alone_seldom_looks_like_drift() -> None:
    """The bound is at 99 %: of 2,000 pairs of windows of the same stream about one in a hundred may pass."""
    import numpy as np

    rng = np.random.default_rng(5)
    draws = rng.binomial(100, 0.15, size=(2000, 2))
    found = [drift(window(100, int(a)), window(100, int(b)), 30) for a, b in draws]
    assert sum(c is not None and c.surely(0.05) is not None for c in found) < 40


def ended(number: int, **given: Any) -> Ended:
    return Ended(**{"run": f"run-{number}", "accepted": False, "refused_on_old": True, "rho": 0.2} | given)


def test_a_refusal_on_old_slices_orders_more_rehearsal_up_to_a_half() -> None:
    found = order([ended(1)], 3)
    assert found is not None
    assert (found.after, found.options) == ("run-1", {"rho": 0.3})
    most = order([ended(1, rho=0.4)], 3)
    assert most is not None
    assert most.options == {"rho": 0.5}


def test_refusals_in_a_row_or_no_more_room_order_a_challenger_from_the_base() -> None:
    for row in ([ended(2, rho=0.3), ended(1)], [ended(2, refused_on_old=False), ended(1)], [ended(1, rho=0.5)]):
        found = order(row, 2)
        assert found is not None
        assert found.options["start"] == "base"


def test_an_order_is_given_once_and_not_after_a_pass_or_a_refused_base() -> None:
    assert order([], 2) is None
    assert order([ended(1)], 2, answered={"run-1"}) is None
    assert order([ended(2, accepted=True, refused_on_old=False), ended(1)], 2) is None
    assert order([ended(3, start="base"), ended(2), ended(1)], 2) is None
    assert order([ended(1, refused_on_old=False)], 2) is None  # a gain that was too small: more rehearsal is no help


def test_a_pass_ends_the_row() -> None:
    found = order([ended(3), ended(2, accepted=True), ended(1)], 2)
    assert found is not None
    assert found.options == {"rho": 0.3}


def test_a_verdict_says_whether_it_refuses_for_old_slices() -> None:
    assert refused_on_old({"reasons": ["refused: old slice 'law': -0.05 ndcg@10", "passed: x"]})
    assert refused_on_old({"reasons": [], "refused_by": ["old"]})
    assert not refused_on_old({"reasons": ["refused: old slice"], "refused_by": ["gain"]})
    assert not refused_on_old({"reasons": ["refused: +0.001 ndcg@10"]})
    assert not refused_on_old(None)
