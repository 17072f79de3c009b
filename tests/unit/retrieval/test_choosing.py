"""Who answers: the order of what may decide, and draws that hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retrieval.choosing import Asks, Pinned, Standing, bucket, choose, unit_of

UNITS = st.text(min_size=1, max_size=40)
SHARES = st.floats(0, 1)


def adapter(name: str) -> Pinned:
    return Pinned(name=name, path=f"runs/{name}", strict=False)


def standing(**given: object) -> Standing:
    of: dict[str, object] = {"kind": "retriever", "champion": adapter("champion"), "challenger": adapter("challenger")}
    return Standing(**(of | {"stage": "canary", "rollout": "trial", "share": 0.5} | given))  # type: ignore[arg-type]


def name(chosen: object) -> str | None:
    order = chosen.order  # type: ignore[attr-defined]
    return order[0].name if order else None


@given(UNITS, UNITS, SHARES, SHARES)
def test_whoever_is_in_a_share_stays_in_when_it_grows(trial: str, unit: str, one: float, two: float) -> None:
    small, large = sorted((one, two))
    of = [
        choose(standing(rollout=trial, share=share), Asks(workspace="w", unit=unit)).why == "canary"
        for share in (small, large)
    ]
    assert of[0] <= of[1]


@given(UNITS, UNITS)
def test_a_draw_lies_from_0_up_to_but_not_1_and_holds(trial: str, unit: str) -> None:
    assert 0 <= bucket(trial, unit) < 1
    assert bucket(trial, unit) == bucket(trial, unit)


@given(UNITS)
def test_a_share_of_nothing_is_nobody_and_of_everything_everybody(unit: str) -> None:
    asks = Asks(workspace="w", unit=unit)
    assert name(choose(standing(share=0.0), asks)) == "champion"
    assert name(choose(standing(share=1.0), asks)) == "challenger"


def test_draws_are_spread_evenly_and_anew_by_each_trial() -> None:
    drawn = [[bucket(trial, f"user {n}") < 0.25 for n in range(4000)] for trial in ("one", "two")]
    assert all(900 < sum(of) < 1100 for of in drawn)
    both = sum(a and b for a, b in zip(*drawn, strict=True))
    assert 190 < both < 310  # a sixteenth: who was in the first trial is in the second as anybody is


@given(st.sampled_from(["shadow", "canary", None]), SHARES, st.none() | UNITS, st.none() | UNITS)
def test_what_is_named_goes_before_a_route_and_a_route_before_a_trial(
    stage: str | None, share: float, unit: str | None, slice_name: str | None
) -> None:
    routes = {"": adapter("workspace's"), "tax": adapter("tax's")}
    stands = standing(stage=stage, share=share, routes=routes)
    asks = Asks(workspace="w", slice=slice_name, unit=unit)
    assert name(choose(stands, asks, adapter("named"))) == "named"
    assert name(choose(stands, asks)) == ("tax's" if slice_name == "tax" else "workspace's")
    tax = choose(standing(stage=stage, share=share, routes={"tax": adapter("tax's")}), Asks(workspace="w", slice="tax"))
    assert (tax.why, tax.shadow, tax.arm) == ("route", None, None)


def test_a_canary_falls_back_to_the_champion_and_a_route_to_the_base() -> None:
    everybody = choose(standing(share=1.0), Asks(workspace="w", unit="u"))
    assert [p.name for p in everybody.order] == ["challenger", "champion"]
    routed = choose(standing(routes={"": adapter("routed")}), Asks(workspace="w", unit="u"))
    assert [p.name for p in routed.order] == ["routed"]


def test_in_the_shadow_the_champion_answers_and_the_challenger_as_well() -> None:
    both = choose(standing(stage="shadow", share=0.0), Asks(workspace="w", unit="u"))
    assert (name(both), both.why, both.shadow) == ("champion", "champion", adapter("challenger"))


def test_without_anything_the_base_serves() -> None:
    nothing = choose(Standing(kind="retriever"), Asks(workspace="w", unit="u"))
    assert (nothing.order, nothing.why) == ((), "base")


def test_a_draw_is_for_the_user_else_the_conversation_else_the_question() -> None:
    assert unit_of("ann", "c-1", "q") == unit_of("ann", None, "r")
    assert unit_of("local", "c-1", "q") == unit_of("local", "c-1", "r") != unit_of("local", "c-2", "q")
    assert unit_of("local", None, "How  much?") == unit_of("local", None, "how much?") != unit_of("local", None, "no")
    assert unit_of("c-1", None, "q") != unit_of("local", "c-1", "q")  # a user may be called as a conversation is


def test_who_asks_to_measure_takes_no_part_in_trials() -> None:
    unit = unit_of("", "c-1", "q")
    assert unit is None
    for stage in ("canary", "shadow"):
        measured = choose(standing(stage=stage, share=1.0), Asks(workspace="w", unit=unit))
        assert (name(measured), measured.arm, measured.shadow) == ("champion", None, None)
