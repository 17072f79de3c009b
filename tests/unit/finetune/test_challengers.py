"""A fresh challenger comes every fourth cycle or after two refusals, and the better of two runs is preferred."""

from __future__ import annotations

import dataclasses
from typing import Any

from finetune.challengers import Cycle, beside, challengers, due, preferred
from finetune.kinds import BASE, Options

ASKED = Options(policy="mixed", rho=0.2, seed=3)
FIRST = Cycle(fresh=True, accepted=True)
WARM, REFUSED = Cycle(fresh=False, accepted=True), Cycle(fresh=False, accepted=False)


def test_every_fourth_cycle_is_fresh() -> None:
    history: list[Cycle] = []
    fresh = []
    for _ in range(12):
        both = len(challengers(ASKED, history)) == 2
        fresh.append(both or not history)  # the first of all begins from the base anyway
        history.append(Cycle(fresh=fresh[-1], accepted=True))
    assert [n for n, was in enumerate(fresh) if was] == [0, 4, 8]


def test_two_refusals_in_a_row_bring_a_fresh_challenger() -> None:
    assert not due([FIRST, REFUSED])
    assert due([FIRST, REFUSED, REFUSED])
    assert not due([FIRST, REFUSED, WARM])
    assert not due([REFUSED, REFUSED, Cycle(fresh=True, accepted=False)]), "it was just tried"


def test_the_fresh_one_differs_in_its_start_alone() -> None:
    first, second = challengers(ASKED, [FIRST, REFUSED, REFUSED])
    assert first == ASKED
    assert second == dataclasses.replace(ASKED, start=BASE)


def test_who_asks_for_something_particular_gets_exactly_that() -> None:
    for particular in (
        {"control": "shuffled"},
        {"start": "base"},
        {"without": ("d1",)},
        {"merged": ("a", "b")},
        {"sibling": "run-1"},
    ):
        asked = dataclasses.replace(ASKED, **particular)
        assert challengers(asked, [FIRST, REFUSED, REFUSED]) == [asked]


def test_the_better_accepted_run_is_preferred_and_a_tie_goes_to_the_first() -> None:
    warm, fresh = _run("warm", "accepted", 0.7), _run("fresh", "accepted", 0.8)
    assert preferred([warm, fresh]) == "fresh"
    assert preferred([warm, _run("fresh", "accepted", 0.7)]) == "warm"
    assert preferred([warm, _run("fresh", "rejected", 0.9)]) == "warm"
    assert preferred([_run("warm", "rejected", 0.7), _run("fresh", "failed", None)]) is None
    assert preferred([warm, _run("fresh", "trained", None)]) is None, "one is under way"
    assert preferred([warm, _run("fresh", "declined", None)]) == "warm", "nobody will ever train the other"


def test_a_run_says_which_of_the_two_challengers_is_preferred() -> None:
    warm = _run("warm", "accepted", 0.7) | {"run": "run-w", "options": {}, "preferred": "fresh"}
    fresh = _run("fresh", "accepted", 0.8) | {"run": "run-f", "options": {"start": BASE}, "preferred": "fresh"}
    told = beside(warm, fresh)
    assert told.startswith("the other challenger of this cycle, run-f, began fresh from the base model;")
    assert told.endswith("fresh is preferred")
    told = beside(fresh, warm)
    assert "run-w, went on from the champion" in told
    assert told.endswith("this one is preferred")
    neither = beside(warm | {"state": "rejected", "preferred": None}, fresh | {"state": "failed"})
    assert neither.endswith("neither of the two was accepted")
    assert beside(warm | {"preferred": None}, fresh | {"state": "drawn"}).endswith("told when both have ended")


def _run(adapter: str, state: str, figure: float | None) -> dict[str, Any]:
    verdict = None if figure is None else {"slices": [{"slice": "(all)", "challenger": figure}]}
    return {"adapter": adapter, "state": state, "verdict": verdict}
