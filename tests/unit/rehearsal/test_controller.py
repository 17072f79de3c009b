"""The replay ratio follows what the gate measured, and says why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rehearsal.controller import LEAST, MOST, Judged, control


def judged(run: str, change: float | None = 0.0, *, failed: bool = False, rho: float = 0.2, **more: Any) -> Judged:
    return Judged(run=run, accepted=not failed, rho=rho, change=change, failed=failed, **more)


@pytest.mark.parametrize(
    ("history", "rho"),
    [
        ([], 0.2),
        ([judged("a")], 0.2),
        ([judged("a"), judged("b")], 0.15),
        ([judged("a"), judged("b", -0.01), judged("c")], 0.2),  # a loss in between: not two in a row
        ([judged("a"), judged("b"), judged("c", rho=0.15)], 0.15),
        ([judged("a"), judged("b"), judged("c", rho=0.15), judged("d", rho=0.15)], 0.1125),
        ([judged("a", -0.04, failed=True)], 0.3),
        ([judged("a", -0.04, failed=True), judged("b", -0.04, failed=True, rho=0.3)], 0.45),
        ([judged(str(i), -0.04, failed=True, rho=0.5) for i in range(5)], MOST),
        ([judged(str(i), rho=0.05) for i in range(30)], LEAST),
        ([judged("a"), judged("b", -0.04, failed=True), judged("c", rho=0.3)], 0.3),  # a failure ends the streak
        ([judged("a", None), judged("b", None)], 0.2),  # nothing old was judged
        ([judged("a", -0.04, failed=True, rho=0.0)], 0.2),  # less replay than was due says nothing of what is due
        ([judged("a", rho=0.4), judged("b", rho=0.4)], 0.2),  # nor does more
        ([Judged(run="a", accepted=False, rho=0.2, change=0.0, failed=False)] * 4, 0.2),  # refused for its gain
    ],
)
def test_the_ratio_follows_the_verdicts(history: list[Judged], rho: float) -> None:
    assert control(history, 0.2).replay.rho == rho


def test_a_slice_that_was_lost_is_practised_more_than_one_that_was_not() -> None:
    slices = {"billing": -0.041, "answers": 0.01}
    history = [judged("run_1", -0.02, failed=True, slices=slices, failed_slices=("billing",))]
    replay = control(history, 0.2).replay
    assert (replay.of("billing"), replay.of("answers"), replay.of("unheard of")) == (0.3, 0.2, 0.3)
    assert replay.reasons == (
        "rho .30: refused on old questions in run run_1 (-0.020)",
        "rho .30 for 'billing': refused there in run run_1 (-0.041)",
    )


def test_each_change_is_kept_with_its_reason() -> None:
    changes = control([judged("a"), judged("b"), judged("c", -0.04, failed=True, rho=0.15)], 0.2).changes
    assert [(c.slice, c.before, c.after, c.run) for c in changes] == [(None, 0.2, 0.15, "b"), (None, 0.15, 0.225, "c")]
    assert changes[0].reason == "2 clean passes in a row, runs a and b"


def test_where_nothing_was_judged_the_start_is_the_reason() -> None:
    assert control([], 0.1).replay.to_json() == {"rho": 0.1, "slices": {}, "reasons": ["rho .10: where it starts"]}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.builds(
            judged,
            st.sampled_from("abcdef"),
            st.floats(-0.1, 0.1) | st.none(),
            failed=st.booleans(),
            rho=st.sampled_from([0.05, 0.2, 0.5]),
            slices=st.dictionaries(st.sampled_from("ab"), st.floats(-0.1, 0.1)),
            failed_slices=st.sampled_from([(), ("a",), ("a", "b")]),
        ),
        max_size=8,
    )
)
def test_every_ratio_stays_within_its_bounds(history: list[Judged]) -> None:
    replay = control(history, 0.2).replay
    assert all(LEAST <= rho <= MOST for rho in (replay.rho, *replay.slices.values()))
