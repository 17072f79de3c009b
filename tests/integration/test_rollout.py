"""An adapter's way to everybody and back: the states, who may move it, and what the votes do by themselves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from finetune.rival import about
from finetune.rollout import Rollouts
from finetune.routes import speaks_for
from finetune.sequential import TestPlan
from finetune.tables import Run
from kernel import audit
from kernel.errors import Conflict, NotFound, Refused, RepriseError, UserError
from kernel.ids import now_ms
from kernel.types import OPEN
from rehearsal.tables import Example
from retrieval.conversations import Conversations
from retrieval.tables import Difference, Exposure
from tests.doors import memory_folder
from tests.rolling import DEEDS, REFUSED, STEPS, Desk, furnish

pytestmark = pytest.mark.integration
QUICK = TestPlan(min_votes=4, margin=0.3, beta=0.4)
"""Few votes are enough, so that a test needs few."""


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with memory_folder(tmp_path_factory.mktemp("rollout")) as folder:
        yield furnish(folder / "plain")


@pytest.fixture
def desk(furnished: Path, quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A champion `a`, and a candidate `b`."""
    numbers = count()
    monkeypatch.setattr("finetune.rollout.fresh", lambda prefix: f"{prefix}-{next(numbers)}")  # no chance in the arms
    desk = Desk(Path(shutil.copytree(furnished, quick_folder / "home")))
    yield desk
    desk.close()


def vote(desk: Desk, users: range, good: float = 1.0, *, champion_good: float = 1.0) -> None:
    """Everybody asks and votes once; `good` of the canary's votes are up."""
    heard = {"canary": 0, "champion": 0}
    for n in users:
        turn = desk.ask(f"user {n}")
        arm = desk.arm(turn)
        assert arm is not None
        share = good if arm == "canary" else champion_good
        up = int((heard[arm] + 1) * share) > int(heard[arm] * share)
        heard[arm] += 1
        desk.turns.vote(turn, "up" if up else "down", None)


# --- the states ------------------------------------------------------------------------------------


def test_of_two_accepted_against_the_same_champion_the_second_is_judged_again_first(desk: Desk) -> None:
    desk.add("c")
    assert not any(row["stale"] for row in desk.registry.listing())
    desk.registry.promote("b")
    told = {row["adapter"]: (row["against"], row["stale"]) for row in desk.registry.listing()}
    assert told == {"a": (None, False), "b": ("a", False), "c": ("a", True)}
    before = desk.picture()
    for move in (desk.registry.promote, desk.rollouts.start, lambda name: desk.routes.set(name, "law")):
        with pytest.raises(Refused, match="'c' was judged against 'a', and 'b' serves by now") as refusal:
            move("c")
        assert refusal.value.code == "stale_verdict"
        assert "`reprise rejudge run-c`" in refusal.value.hint
    assert desk.picture() == before
    desk.judged_again("c")
    desk.rollouts.start("c", share=0.5)
    assert desk.registry.promote("c")["previous"] == "b"


def promoted_at_once(desk: Desk, *names: str) -> list[RepriseError]:
    """Promote these from a thread each, all of which pass the first look before one moves; what was refused."""
    refused: list[RepriseError] = []
    together = threading.Barrier(len(names))
    held = desk.rack.held

    def late(name: str, path: str) -> AbstractContextManager[None]:
        together.wait(60)
        return held(name, path)

    desk.rack.held = late  # type: ignore[method-assign]

    def promote(name: str) -> None:
        try:
            desk.registry.promote(name)
        except RepriseError as error:
            refused.append(error)

    threads = [threading.Thread(target=promote, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    desk.rack.held = held  # type: ignore[method-assign]
    return refused


def test_of_two_that_are_promoted_at_once_one_is_refused(desk: Desk) -> None:
    """The second is looked at again when it is alone."""
    desk.add("c")
    assert [error.code for error in promoted_at_once(desk, "b", "c")] == ["stale_verdict"]
    assert [entry[0] for entry in desk.audited()].count("promote") == 2  # of `a` before, and of one of the two


def test_an_adapter_that_is_promoted_twice_at_once_does_not_come_before_itself(desk: Desk) -> None:
    """A rollback goes back to what served before the first of them."""
    assert [error.message for error in promoted_at_once(desk, "b", "b")] == ["'b' is the champion already"]
    assert {name: state for name, (state, _) in desk.states().items()} == {"a": "previous", "b": "champion"}
    assert desk.audited()[0][:2] == ("promote", "b")
    assert [entry[:2] for entry in desk.audited()].count(("promote", "b")) == 1
    assert desk.registry.rollback()["champion"] == "a"


def test_what_served_before_comes_back_and_a_reason_lets_a_stale_one_serve(desk: Desk) -> None:
    desk.add("c")
    desk.registry.promote("b")
    assert desk.registry.promote("a")["champion"] == "a"
    assert desk.registry.promote("c")["champion"] == "c"  # `a` serves again, which it was judged against
    desk.add("d")
    desk.registry.rollback()
    with pytest.raises(Refused, match="'d' was judged against 'c', and 'a' serves"):
        desk.registry.promote("d")
    assert desk.registry.promote("d", override="the pages were compared by hand")["champion"] == "d"


def test_a_trial_goes_on_by_itself_only_against_whom_it_was_judged(desk: Desk) -> None:
    """Nobody can put another champion beside a trial; were it so, its last step would not be made."""
    desk.rollouts.start("b", share=0.5, steps=[0.5], plan=QUICK)
    with desk.db.write() as session:
        run = session.get_one(Run, "run-b")
        run.verdict = about(run.verdict or {}, "somebody else")
    vote(desk, range(60))
    assert desk.rollouts.tick() == []
    assert desk.states()["a"] == ("champion", 0.5)


def test_an_adapter_goes_from_the_shadow_by_shares_to_everybody(desk: Desk) -> None:
    users = [f"user {n}" for n in range(200)]
    assert desk.rollouts.start("b", shadow=True)["stage"] == "shadow"
    assert desk.states() == {"a": ("champion", 1.0), "b": ("shadow", 0.0)}
    assert {desk.serves(user) for user in users} == {"a"}
    before: set[str] = set()
    for share in (0.05, 0.25):
        assert desk.rollouts.advance()["share"] == share
        assert desk.states() == {"a": ("champion", 1 - share), "b": ("canary", share)}
        with_b = {user for user in users if desk.serves(user) == "b"}
        assert before < with_b
        assert 0 < len(with_b) < 100
        before = with_b
    assert desk.rollouts.advance()["state"] == "promoted"
    assert desk.states() == {"a": ("previous", 0.0), "b": ("champion", 1.0)}
    assert {desk.serves(user) for user in users} == {"b"}
    actions = [action for action, subject, _ in desk.audited() if subject == "b"]
    assert actions == ["promote", "rollout.advance", "rollout.advance", "rollout.start"]
    assert desk.registry.rollback()["champion"] == "a"


@pytest.mark.parametrize(("asked", "taken_back"), [("how are you?", False), ("question {n}?", True)])
def test_one_question_alone_takes_no_challenger_back_however_often_it_is_asked(
    desk: Desk, asked: str, taken_back: bool
) -> None:
    trial = desk.rollouts.start("b", shadow=True)["rollout"]
    lost = {"overlap": 1.0, "rbo": 1.0, "first_changed": 0, "abstained": 0, "shadow_abstained": 1, "error": None}
    turns = [desk.ask("ann", question=asked.format(n=n)) for n in range(40)]
    with desk.db.write() as session:
        for turn in turns:
            session.add(Difference(rollout=trial, turn=turn, ms=1.0, shadow_ms=1.0, dropped=0, created=0, **lost))
    assert [event["move"] for event in desk.rollouts.tick()] == (["harm"] if taken_back else [])
    assert desk.rollouts.listing()[0]["shadow"]["answers_lost"] == (40 if taken_back else 1)


def test_only_a_candidate_is_tried_and_one_of_a_kind_at_a_time(desk: Desk) -> None:
    desk.add("c")
    with pytest.raises(Refused, match="'a' is champion"):
        desk.rollouts.start("a")
    with pytest.raises(NotFound):
        desk.rollouts.start("nobody")
    desk.rollouts.start("b")
    with pytest.raises(Conflict, match="'b' is being tried already"):
        desk.rollouts.start("c")
    desk.rollouts.stop()
    assert desk.states()["b"] == ("candidate", 0.0)
    desk.rollouts.start("c")
    with pytest.raises(NotFound, match="no adapter is being tried"):
        desk.rollouts.stop("generator")


def test_what_the_gate_refused_is_tried_with_a_reason_only_and_the_reason_goes_with_it(desk: Desk) -> None:
    desk.add("bad", REFUSED)
    for given in (None, "  "):
        with pytest.raises(Refused, match="the gate did not accept 'bad': refused: it lost"):
            desk.rollouts.start("bad", override=given)
    assert desk.states()["bad"] == ("candidate", 0.0)
    desk.rollouts.start("bad", share=0.5, override="to see")
    desk.rollouts.advance()
    with desk.db.read() as session:
        entries = [e for e in audit.entries(session) if e["subject"] == "bad"]
    assert [e["action"] for e in entries] == ["promote", "rollout.start"]
    assert {e["detail"]["override"] for e in entries} == {"to see"}
    assert not entries[0]["detail"]["accepted"]


@pytest.mark.parametrize("shares", [[0.3, 0.2], [0.0, 1.0], [0.5, 1.5], [1.0], [0.1, 0.1]])
def test_shares_have_to_grow(desk: Desk, shares: list[float]) -> None:
    with pytest.raises(UserError):
        desk.rollouts.start("b", steps=shares)
    assert desk.states()["b"] == ("candidate", 0.0)


def test_what_it_is_compared_with_going_away_ends_a_trial(desk: Desk) -> None:
    desk.add("c")
    desk.rollouts.start("b", share=0.5)
    desk.registry.promote("c")
    trial = desk.rollouts.listing()[0]
    assert (trial["state"], trial["reason"]) == ("superseded", "'c' was promoted")
    assert desk.states() == {"a": ("previous", 0.0), "b": ("candidate", 0.0), "c": ("champion", 1.0)}
    assert {desk.serves(f"user {n}") for n in range(50)} == {"c"}
    desk.judged_again("b")
    desk.rollouts.start("b", share=0.5)
    desk.registry.rollback()
    assert desk.rollouts.listing()[0]["state"] == "superseded"
    assert {desk.serves(f"user {n}") for n in range(50)} == {"a"}


def test_promoting_the_one_that_is_tried_ends_its_trial_well(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.1)
    assert desk.registry.promote("b")["previous"] == "a"
    assert desk.rollouts.listing()[0]["state"] == "promoted"
    assert desk.states() == {"a": ("previous", 0.0), "b": ("champion", 1.0)}


def test_a_kill_at_any_step_leaves_a_move_made_or_not_made(quick_folder: Path) -> None:
    code = (
        f"from pathlib import Path; from tests.rolling import move_and_die; move_and_die(Path({str(quick_folder)!r}))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[2])
    pictures: dict[str, Any] = json.loads((quick_folder / "pictures.json").read_text())
    for deed in DEEDS:
        before, after = pictures[f"{deed}-before"], pictures[f"{deed}-never"]
        assert before != after
        for step in STEPS[deed]:
            assert pictures[f"{deed}-{step}"] == (after if step == "flipped" else before), (deed, step)


# --- by itself -------------------------------------------------------------------------------------


def test_bad_votes_take_a_canary_back_by_themselves_with_the_reason(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.5, plan=QUICK)
    vote(desk, range(60), good=0.1)
    (move,) = desk.rollouts.tick()
    assert (move["adapter"], move["move"]) == ("b", "harm")
    assert "worse, with an e-value of" in move["reason"]
    assert desk.states() == {"a": ("champion", 1.0), "b": ("retired", 0.0)}
    assert {desk.serves(f"user {n}") for n in range(60)} == {"a"}
    trial = desk.rollouts.listing()[0]
    assert (trial["state"], trial["reason"]) == ("harm", move["reason"])
    assert desk.audited()[0] == ("rollout.harm", "b", "rollout")
    assert desk.rollouts.tick() == []
    with pytest.raises(Refused, match="a trial took 'b' back"):
        desk.rollouts.start("b")
    desk.rollouts.start("b", override="it was trained anew on what failed")


def harm(desk: Desk) -> str:
    """Let the votes take `b` back; why."""
    desk.rollouts.start("b", share=0.5, plan=QUICK)
    vote(desk, range(60), good=0.1)
    return str(desk.rollouts.tick()[0]["reason"])


def test_what_a_trial_took_back_serves_nobody_without_a_reason(desk: Desk) -> None:
    why = harm(desk)
    before = desk.picture()
    for move in (desk.registry.promote, desk.rollouts.start, lambda name: desk.routes.set(name, "law")):
        with pytest.raises(Refused) as refusal:
            move("b")
        assert (refusal.value.code, refusal.value.message) == ("did_harm", f"a trial took 'b' back: {why}")
        assert "`reprise rejudge run-b`" in refusal.value.hint
    assert desk.picture() == before
    assert {row["adapter"]: row["harm"] for row in desk.registry.listing()} == {"a": None, "b": why}
    desk.routes.set("b", "law", override="those who ask there like it")
    assert desk.registry.listing()[0]["harm"] == why  # one place is not everywhere


def test_a_second_trial_that_is_stopped_does_not_forget_what_the_first_one_found(desk: Desk) -> None:
    harm(desk)
    desk.rollouts.start("b", override="to see it again")
    desk.rollouts.stop()
    assert desk.states()["b"] == ("candidate", 0.0)
    for move in (desk.registry.promote, desk.rollouts.start):
        with pytest.raises(Refused, match="a trial took 'b' back"):
            move("b")


def test_a_promotion_with_a_reason_or_a_new_verdict_lets_it_move_again(desk: Desk) -> None:
    harm(desk)
    desk.judged_again("b")
    desk.rollouts.start("b", override="it is retired")
    desk.rollouts.stop()
    harm(desk)
    with pytest.raises(Refused, match="a trial took 'b' back"):
        desk.registry.promote("b")
    desk.registry.promote("b", override="the votes were about something else")
    desk.registry.rollback()
    assert desk.registry.promote("b")["champion"] == "b"


def test_good_votes_carry_a_canary_step_by_step_to_everybody(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.4, steps=[0.4, 0.6, 1.0], plan=QUICK)
    vote(desk, range(60))
    assert [move["move"] for move in desk.rollouts.tick()] == ["advance"]
    assert desk.states()["b"] == ("canary", 0.6)
    assert desk.rollouts.tick() == []  # this step has no votes of its own yet
    vote(desk, range(60, 80))
    assert [move["move"] for move in desk.rollouts.tick()] == ["advance"]
    assert desk.states() == {"a": ("previous", 0.0), "b": ("champion", 1.0)}
    trial = desk.rollouts.listing()[0]
    assert trial["state"] == "promoted"
    assert "not worse by 30%" in trial["reason"]


def test_two_ticks_at_once_make_one_move(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.4, steps=[0.4, 0.6], plan=QUICK)
    vote(desk, range(60))
    other = Rollouts(desk.db, desk.registry, desk.lending)
    moves: list[dict[str, Any]] = []

    def meanwhile(step: str) -> None:
        if step == "loaded":  # the one has decided; the other decides and moves before it
            moves.extend(other.tick())

    desk.rollouts.step = meanwhile
    moves += desk.rollouts.tick()
    assert len(moves) == 1
    assert desk.states()["b"] == ("canary", 0.6)


def test_a_canary_that_cannot_be_moved_on_does_not_stop_the_tick(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.4, plan=QUICK)
    vote(desk, range(60))
    desk.rack.broken = {"b"}
    desk.rack.loaded.clear()
    assert desk.rollouts.tick() == []
    assert desk.states()["b"] == ("canary", 0.4)
    desk.rack.broken = set()
    assert [move["move"] for move in desk.rollouts.tick()] == ["advance"]


# --- what counts -----------------------------------------------------------------------------------


def test_feedback_belongs_to_the_arm_that_answered(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.5)
    vote(desk, range(40), good=0.0, champion_good=1.0)
    arms = desk.rollouts.listing()[0]["arms"]
    assert arms["canary"]["votes"] + arms["champion"]["votes"] == 40
    assert arms["canary"]["votes"] > 5
    assert (arms["canary"]["good"], arms["champion"]["good"]) == (0, arms["champion"]["votes"])


def test_a_person_counts_once_and_a_correction_is_no_praise(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.turns.now_ms", count(now_ms()).__next__)  # nobody votes twice in a millisecond
    desk.rollouts.start("b", share=0.5)
    user = next(f"user {n}" for n in range(50) if desk.serves(f"user {n}") == "b")
    first, second = desk.ask(user), desk.ask(user)
    desk.turns.vote(first, "up", "it should have said something else")
    desk.turns.vote(first, "up", None)
    desk.turns.vote(second, "up", None)
    canary = desk.rollouts.listing()[0]["arms"]["canary"]
    assert (canary["votes"], canary["good"], canary["answers"]) == (1, 0, 1)


def test_who_has_answered_under_the_champion_is_heard_again_when_drawn_into_the_canary(desk: Desk) -> None:
    """Or nobody of a team would be left to tell that the canary does harm, once each has said one word."""
    desk.rollouts.start("b", share=0.1, steps=[0.1, 0.6], plan=QUICK)
    vote(desk, range(60))
    before = desk.rollouts.listing()[0]["arms"]
    desk.rollouts.advance()
    vote(desk, range(60), good=0.1)
    arms = desk.rollouts.listing()[0]["arms"]
    in_canary = sum(desk.serves(f"user {n}") == "b" for n in range(60))
    assert arms["canary"]["votes"] == arms["canary"]["answers"] == in_canary > before["canary"]["votes"] + 20
    assert arms["champion"]["votes"] == arms["champion"]["answers"] == before["champion"]["votes"]  # once in each arm
    assert [move["move"] for move in desk.rollouts.tick()] == ["harm"]


def test_an_abstention_of_the_canary_counts_of_whom_the_champion_has_answered_before(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.1, steps=[0.1, 0.6], plan=QUICK)
    for n in range(60):
        desk.ask(f"user {n}")
    desk.rollouts.advance()
    for n in range(60):
        desk.ask(f"user {n}", abstained=desk.serves(f"user {n}") == "b")
    (move,) = desk.rollouts.tick()
    assert move["move"] == "harm"
    assert "answers" in move["reason"]


def test_the_first_word_on_an_answer_counts_though_the_next_one_comes_in_the_same_moment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.turns.now_ms", lambda: 1)
    desk.rollouts.start("b", share=0.5)
    for n in range(8):
        turn = desk.ask(f"user {n}")
        for word in ("up", "down", "down"):
            desk.turns.vote(turn, word, None)
    arms = desk.rollouts.listing()[0]["arms"].values()
    assert sum(arm["votes"] for arm in arms) == sum(arm["good"] for arm in arms) == 8


def test_what_another_adapter_answered_in_its_place_takes_no_part(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.999)
    desk.rack.broken = {"b"}
    desk.rack.loaded.clear()
    turn = desk.ask("ann")
    assert desk.arm(turn) is None
    assert desk.serves("ann") == "a"
    assert "'b' cannot be loaded" in str(desk.lending.trouble)
    desk.rack.broken = set()
    desk.rack.holding.clear()
    assert desk.arm(desk.ask("ann")) == "canary"
    assert desk.lending.trouble is None


def test_what_a_person_takes_away_is_gone_from_the_trial(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.5)
    desk.turns.vote(desk.ask("ann"), "down", None)
    with desk.db.write() as session:
        Conversations(desk.db, exchanges=1, chars=1).forget(session, "ann")
    arms = desk.rollouts.listing()[0]["arms"]
    assert sum(arm["votes"] + arm["answers"] for arm in arms.values()) == 0
    with desk.db.read() as session:
        assert not list(session.scalars(select(Exposure)))


def test_a_name_is_not_in_what_is_written_down_of_a_trial(desk: Desk) -> None:
    desk.rollouts.start("b", share=0.5)
    desk.ask("ann")
    with desk.db.read() as session:
        (row,) = session.scalars(select(Exposure))
    assert "ann" not in row.unit


# --- routes ----------------------------------------------------------------------------------------


def test_a_route_goes_before_the_champion_in_its_workspace_and_slice_only(desk: Desk) -> None:
    desk.routes.set("b", "law")
    desk.add("c")
    desk.routes.set("c", "law", "tax", override="measured by hand")
    assert desk.serves(workspace="default") == "a"
    assert desk.serves(workspace="law") == "b"
    assert desk.serves(workspace="law", slice="tax") == "c"
    assert desk.serves(workspace="law", slice="family") == "b"
    assert [(r["workspace"], r["slice"], r["adapter"]) for r in desk.routes.listing()] == [
        ("law", None, "b"),
        ("law", "tax", "c"),
    ]
    desk.registry.promote("c", override="another champion")
    assert desk.serves(workspace="law") == "b"
    assert desk.rack.loaded >= {"a", "b", "c"}  # routed ones stay warm
    desk.routes.remove("law")
    assert desk.serves(workspace="law") == "c"
    with pytest.raises(NotFound):
        desk.routes.remove("law")


def test_a_route_needs_a_verdict_for_that_workspace_or_a_reason(desk: Desk) -> None:
    desk.add("elsewhere", workspace="medicine")
    desk.add("bad", REFUSED)
    for name, match in (("elsewhere", "about workspace 'medicine'"), ("bad", "it lost")):
        with pytest.raises(Refused, match=match):
            desk.routes.set(name, "law")
    assert desk.routes.listing() == []
    desk.routes.set("elsewhere", "medicine")
    (route,) = desk.routes.set("bad", "medicine", override="an experiment")
    assert route["reason"] == "override: an experiment"
    assert desk.audited()[0][:2] == ("route.set", "bad")


def test_a_route_to_what_is_gone_serves_the_base_and_says_so(desk: Desk) -> None:
    desk.routes.set("b", "law")
    desk.rack.broken = {"b"}
    desk.rack.loaded.clear()
    assert desk.serves(workspace="law") is None
    assert "'b' cannot be loaded" in str(desk.lending.trouble)
    assert "the base model serves" in str(desk.lending.trouble)
    assert desk.serves() == "a"


def row(slice_name: str, gain: float, low: float, n: int = 30) -> dict[str, Any]:
    figures = {"base": 0.4, "champion": 0.5, "challenger": 0.5 + gain, "low": low, "high": gain + 0.1}
    return {"slice": slice_name, "n": n, "metric": "ndcg@10", **figures}


@pytest.mark.parametrize(
    ("accepted", "refused_by", "slices", "may"),
    [
        (True, [], [row("tax", 0.0, -0.1)], True),
        (True, [], [row("tax", -0.1, -0.2)], False),
        (True, [], [row("family", 0.1, 0.05)], False),
        (True, [], [row("tax", 0.1, 0.05) | {"part": "origin"}], False),
        (True, [], [row("tax", 0.1, 0.05, n=3)], False),
        (True, [], [row("tax", float("nan"), 0.05)], False),
        (False, ["old"], [row("tax", 0.1, 0.05)], True),
        (False, ["old"], [row("tax", 0.1, -0.01)], False),
        (False, ["old"], [row("tax", -0.1, -0.15)], False),
        (False, ["old", "pinned"], [row("tax", 0.1, 0.05)], False),
        (False, [], [row("tax", 0.1, 0.05)], False),
        # A slice of which a part is new and a part was asked before.
        (True, [], [row("tax", 0.1, 0.05), row("tax", -0.02, -0.1)], True),
        (True, [], [row("tax", 0.1, 0.05, n=5), row("tax", -0.06, -0.1, n=40)], False),
        (False, ["old"], [row("tax", 0.1, 0.05), row("tax", -0.01, -0.03)], True),
        (False, ["old"], [row("tax", 0.1, 0.05, n=3), row("tax", -0.01, -0.1)], False),
        (False, ["old"], [row("tax", 0.02, -0.005), row("tax", 0.02, -0.005)], True),
        (False, ["old"], [row("tax", 0.1, 0.05), row("tax", -0.02, -0.1)], False),
        (False, ["old"], [row("tax", 0.1, -0.01), row("tax", 0.0, -0.1)], False),
    ],
)
def test_a_slice_is_given_to_what_its_verdict_speaks_for(
    accepted: bool, refused_by: list[str], slices: list[dict[str, Any]], may: bool
) -> None:
    verdict = {"accepted": accepted, "reasons": [], "refused_by": refused_by, "slices": slices}
    assert speaks_for(verdict, "tax")[0] is may
    assert speaks_for(verdict, None)[0] is accepted


def test_a_route_is_judged_by_the_policy_of_its_run() -> None:
    verdict = {"accepted": True, "reasons": [], "slices": [row("tax", -0.01, -0.02)]}
    assert speaks_for(verdict, "tax")[0]
    assert not speaks_for(verdict | {"policy": {"tolerance": 0.005}}, "tax")[0]
    refused = {"accepted": False, "reasons": [], "refused_by": ["old"], "slices": [row("tax", 0.1, 0.05)]}
    assert speaks_for(refused, "tax")[0]
    assert not speaks_for(refused | {"policy": {"approval": True}}, "tax")[0]  # nobody could have approved it


def test_the_gate_names_a_loss_elsewhere_as_routes_look_for_it() -> None:
    from finetune.gate import HeldOut, judge

    asked = [
        HeldOut(example=f"{s}{n}", slice=s, part="new" if s == "tax" else "old")
        for s in ("tax", "old", "odd")
        for n in range(20)
    ]
    champion = {e.example: 0.5 for e in asked}
    worse = {e.example: 0.9 if e.slice == "tax" else 0.3 for e in asked}
    verdict = judge({"base": champion, "champion": champion, "challenger": worse}, asked).to_json()
    assert not verdict["accepted"]
    assert speaks_for(verdict, "tax")[0]
    assert not speaks_for(verdict, "old")[0]
    asked = [replace(e, part="new") for e in asked]
    worse |= {e.example: 1.0 for e in asked if e.slice == "odd"}
    verdict = judge({"base": champion, "champion": champion, "challenger": worse}, asked).to_json()
    assert verdict["refused_by"] == ["new"]
    assert [speaks_for(verdict, name)[0] for name in ("tax", "odd", "old")] == [True, True, False]


def test_figures_of_a_slice_of_several_workspaces_speak_for_none_of_them(desk: Desk) -> None:
    verdict = {"accepted": True, "reasons": [], "slices": [row("tax", 0.1, 0.05)]}
    everywhere, law = desk.add("c", verdict), desk.add("d", verdict, workspace="law")
    held("law", desk)
    desk.routes.set(everywhere, "law", "tax")
    assert [r["adapter"] for r in desk.routes.set(law, "law", "tax")] == [law]
    held("support", desk)
    for name in (everywhere, law):  # a gate asks in all workspaces, whichever its run was for
        with pytest.raises(Refused, match=r"those of 2 workspaces together \(law, support\); a slice of its own in"):
            desk.routes.set(name, "law", "tax")
    assert [r["adapter"] for r in desk.routes.set(everywhere, "law", "tax", override="looked at")] == [everywhere]


def test_figures_of_a_slice_of_another_workspace_speak_for_this_one_as_little(desk: Desk) -> None:
    verdict = {"accepted": True, "reasons": [], "slices": [row("tax", 0.1, 0.05)]}
    desk.add("c", verdict)
    with pytest.raises(Refused, match="no question of slice 'tax' is held out"):
        desk.routes.set("c", "law", "tax")
    held("support", desk)
    with pytest.raises(Refused, match="its figures of slice 'tax' are those of workspace 'support'"):
        desk.routes.set("c", "law", "tax")
    assert [r["workspace"] for r in desk.routes.set("c", "support", "tax")] == ["support"]


def held(workspace: str, desk: Desk) -> None:
    """A held-out question about taxes."""
    values = {"question_key": "k", "slice": "tax", "origin": "import", "split": "held-out", "pinned": 0, "reason": ""}
    values |= {"status": "approved", "born": 1, "died": OPEN, "created": now_ms()}
    with desk.db.write() as session:
        session.add(Example(id=f"ex-{workspace}", point=workspace, question="q", workspace=workspace, **values))


def test_an_adapter_of_a_model_that_serves_no_more_is_no_champion(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.registry.champion("retriever") == "a"
    monkeypatch.setattr(desk.rack, "fitting", lambda: None)
    assert desk.registry.champion("retriever") is None
    assert desk.registry.lineage("retriever") == []
