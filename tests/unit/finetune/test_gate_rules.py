"""Each fault is refused for its own reason: legs, wrong documents, suites, missing slices, and where a run stands."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.facts import curve
from finetune.gate import GatePolicy, HeldOut, Leg, Standing, Verdict, judge
from finetune.noise import chance_loss, poisson_tail, sign_test, spread
from finetune.probe import Recovery, lost_slices
from kernel.errors import UserError

GOOD = Standing(base="b" * 64, serves="b" * 64, parent="one", champion="one", epoch=4, rows=40, first_loss=2.0,
                last_loss=0.5)  # fmt: skip


# --- where a run stands -------------------------------------------------------------------------------------


def test_a_run_that_stands_well_is_not_mentioned() -> None:
    assert _judge(standing=GOOD) == _judge()


@pytest.mark.parametrize(
    ("change", "rule", "said"),
    [
        ({"serves": "c" * 64}, "base", "it was trained on the base model bbbbbbbbbbbb…, and cccccccccccc… serves"),
        ({"champion": "two"}, "champion", "compared with 'one', and 'two' serves by now"),
        ({"champion": None}, "champion", "compared with 'one', and the base model serves by now"),
        ({"deleted": 1}, "epoch", "1 of the 40 examples it was trained on were deleted or withdrawn since epoch 4"),
        ({"superseded": 3}, "epoch", "3 of the 40 examples it was trained on (8%) were superseded since epoch 4"),
        ({"last_loss": math.nan}, "training", "training diverged: its loss ended at nan"),
        ({"last_loss": 3.1}, "training", "training diverged: the loss rose from 2.000 to 3.100"),
        ({"missing": {"travel": 12}}, "slices", "slice 'travel' is missing: the champion was judged on 12 questions"),
    ],
)
def test_a_run_that_stands_badly_is_refused_for_that_alone(change: dict[str, Any], rule: str, said: str) -> None:
    verdict = _judge(standing=replace(GOOD, **change))
    assert verdict.refused_by == [rule]
    assert said in verdict.reasons[0]


def test_a_few_superseded_rows_are_let_pass_and_said() -> None:
    verdict = _judge(standing=replace(GOOD, superseded=2))
    assert verdict.accepted
    assert any("2 of the 40 examples" in reason for reason in verdict.reasons)


def test_a_stale_base_is_refused_without_any_figure() -> None:
    verdict = judge({}, [], standing=replace(GOOD, serves="c" * 64))
    assert verdict.refused_by == ["base"]
    assert verdict.slices == []


# --- poisoned rows ------------------------------------------------------------------------------------------


def test_questions_that_are_led_to_one_wrong_document_are_refused_and_it_is_named() -> None:
    now = _first({f"new-{i}": "attack.md" for i in range(4)} | {"old-1": "other.md"})
    verdict = _judge(wrong={"champion": {}, "challenger": now})
    assert verdict.refused_by == ["led"]
    assert (
        "4 questions are newly led to 'attack.md', which is wrong for them, 4 of which had the right"
        in verdict.reasons[0]
    )


def test_an_attack_on_what_nobody_answered_before_is_seen_too() -> None:
    before = {f"new-{i}": f"{i}.md" for i in range(12)}
    attacked = _first(dict.fromkeys(before, "attack.md"))
    verdict = _judge(wrong={"champion": _first(before), "challenger": attacked})
    assert verdict.refused_by == ["led"]
    assert "12 questions are newly led to 'attack.md'" in verdict.reasons[0]


def test_wrong_documents_that_are_many_or_were_wrong_before_are_no_attack() -> None:
    scattered = _first({f"new-{i}": f"{i // 3}.md" for i in range(30)})
    assert _judge(wrong={"champion": {}, "challenger": scattered}).accepted
    before = {f"new-{i}": "other.md" for i in range(9)}
    attacked = _first(dict.fromkeys(before, "attack.md"))
    assert _judge(wrong={"champion": _first(before), "challenger": attacked}).accepted


def test_a_wrong_document_leads_a_question_where_it_stands_first() -> None:
    second = {f"new-{i}": {"attack.md": 2} for i in range(30)}
    assert _judge(wrong={"champion": {}, "challenger": second}).accepted
    before = {f"new-{i}": {"attack.md": 2} for i in range(4)}
    now = {e: {"attack.md": 1} for e in before}
    assert _judge(wrong={"champion": before, "challenger": now}).refused_by == ["led"]


def test_what_flips_as_often_the_other_way_is_noise() -> None:
    wrong = {
        "champion": _first({f"old-{i}": "hub.md" for i in range(6)}),
        "challenger": _first({f"new-{i}": "centre.md" for i in range(5)}),
    }
    verdict = _judge(wrong=wrong)
    assert verdict.accepted
    assert any("5 newly led away from the right one, and 6 are allowed" in reason for reason in verdict.reasons)


def test_a_gain_on_practised_passages_does_not_pay_for_a_loss_on_the_others() -> None:
    scores, examples = _figures()
    examples = [replace(e, seen=i % 4 != 0) for i, e in enumerate(examples)]
    assert any(row.slice == "(unseen)" for row in judge(scores, examples).slices)
    scores["challenger"] |= {e.example: 0.45 for e in examples if not e.seen and e.part == "new"}
    scores["challenger"] |= {e.example: 0.487 for e in examples if not e.seen and e.part == "old"}
    verdict = judge(scores, examples)
    assert verdict.refused_by == ["unseen"]
    assert "questions about passages that nobody practised: -0.0" in verdict.reasons[0]


# --- legs ---------------------------------------------------------------------------------------------------


def _leg(champion: float, challenger: float, n: int = 40, **more: Any) -> Leg:
    """A leg of yes-or-no figures with these means."""
    asked = [f"q{i}" for i in range(n)]
    return Leg(
        scores={
            "champion": {e: float(i < champion * n) for i, e in enumerate(asked)},
            "challenger": {e: float(i < challenger * n) for i, e in enumerate(asked)},
        },
        **more,
    )


def test_refusals_that_got_worse_are_refused_and_named() -> None:
    verdict = _judge(legs={"refusals": _leg(0.9, 0.5), "citations": _leg(0.8, 0.8)})
    assert verdict.refused_by == ["leg"]
    assert verdict.reasons[0].startswith("refused: refusals: -0.400 on 40 questions")
    row = next(row for row in verdict.slices if row.slice == "refusals")
    assert (row.part, row.n, row.champion, row.challenger, row.base) == ("leg", 40, 0.9, 0.5, None)


def test_a_leg_has_its_own_tolerance_and_the_policy_overrides_it() -> None:
    legs = {"faithfulness": _leg(1.0, 0.5, tolerance=0.6)}
    assert _judge(legs=legs).accepted
    assert _judge(legs=legs, policy=GatePolicy(legs={"faithfulness": 0.0})).refused_by == ["leg"]


def test_a_leg_that_was_not_measured_fails_rather_than_being_left_out() -> None:
    hole = _leg(0.9, 0.9)
    hole.scores["challenger"]["q3"] = math.nan  # type: ignore[index]
    for legs, said in (
        ({"refusals": hole}, "refusals: 1 of 40 questions have no figure, first 'q3'"),
        ({"refusals": Leg(scores={})}, "refusals: no question has a figure"),
    ):
        verdict = _judge(legs=legs)
        assert verdict.refused_by == ["leg"]
        assert said in verdict.reasons[0]
    wanted = _judge(policy=GatePolicy(legs={"faithfulness": 0.01}))
    assert wanted.reasons[0] == "refused: the policy asks for 'faithfulness', and it was not measured"


def test_what_is_lost_without_the_index_and_held_with_it_is_covered_by_it() -> None:
    off = _leg(0.9, 0.3, covered_by="answers (RAG on)")
    verdict = _judge(legs={"answers (RAG off)": off, "answers (RAG on)": _leg(0.9, 0.9)})
    assert verdict.accepted
    assert any("the index covers it, since 'answers (RAG on)' holds" in reason for reason in verdict.reasons)
    assert not _judge(legs={"answers (RAG off)": off, "answers (RAG on)": _leg(0.9, 0.4)}).accepted
    assert not _judge(legs={"answers (RAG off)": off}).accepted


# --- suites, approval, small data, noise --------------------------------------------------------------------


def test_a_pinned_suite_is_judged_apart_and_may_not_fail_anew() -> None:
    scores, examples = _figures()
    examples += [HeldOut(example=f"s:{i}", slice="s", part="old", pinned=True, suite="contracts") for i in range(3)]
    for model in scores:
        scores[model] |= {f"s:{i}": 0.5 for i in range(3)}
    kept = judge(scores, examples)
    assert kept.accepted
    assert [(row.slice, row.n) for row in kept.slices if row.part == "suite"] == [("contracts", 3)]
    assert next(row.n for row in kept.slices if row.part == "all") == len(examples) - 3
    scores["challenger"]["s:1"] = 0.0
    lost = judge(scores, examples)
    assert lost.refused_by == ["suite"]
    assert "1 of 3 questions of the pinned suite 'contracts' worked and now fail: 's:1'" in lost.reasons[0]


def test_a_figure_that_is_never_zero_does_not_tell_whether_a_pinned_question_works() -> None:
    scores, examples = _figures()
    examples += [HeldOut(example=f"s:{i}", slice="s", part="old", pinned=True, suite="contracts") for i in range(3)]
    for found in scores.values():
        found |= {f"s:{i}": 0.2 for i in range(3)}
    then, now = {"s:0": 1.0, "s:1": 0.0, "s:2": 1.0}, {"s:0": 1.0, "s:1": 0.0, "s:2": 0.0}
    assert judge(scores, examples, metric="answer probability").accepted
    lost = judge(scores, examples, metric="answer probability", works={"champion": then, "challenger": now})
    assert lost.refused_by == ["suite"]
    assert "1 of 3 questions of the pinned suite 'contracts' worked and now fail: 's:2'" in lost.reasons[0]
    del now["s:2"]
    some = judge(scores, examples, metric="answer probability", works={"champion": then, "challenger": now})
    assert some.accepted
    assert any("of 2 that worked fails now; 1 more were not written out" in reason for reason in some.reasons)


def test_an_accepted_adapter_waits_where_the_policy_asks_for_a_person() -> None:
    waiting = _judge(policy=GatePolicy(approval=True))
    assert waiting.accepted
    assert waiting.approval
    assert waiting.reasons[0].startswith("waits: accepted")
    refused = _judge(policy=GatePolicy(approval=True), standing=replace(GOOD, deleted=1))
    assert not refused.approval
    assert Verdict.from_json(json.loads(json.dumps(waiting.to_json()))) == waiting
    assert waiting.policy["approval"] is True


def test_a_verdict_of_an_earlier_release_is_still_read() -> None:
    row = {"slice": "a", "n": 3, "metric": "m", "base": 0.1, "champion": None, "challenger": 0.2, "low": 0.0,
           "high": 0.1, "part": "new"}  # fmt: skip
    old = Verdict.from_json({"accepted": True, "reasons": ["passed: …"], "slices": [row]})
    assert (old.accepted, old.approval, old.refused_by, old.slices[0].allowed) == (True, False, [], None)


def test_a_few_questions_have_to_convince_an_exact_test_too() -> None:
    examples = [HeldOut(example=f"n{i}", slice="new", part="new") for i in range(8)]
    examples += [HeldOut(example=f"o{i}", slice="old", part="old") for i in range(10)]
    champion = {e.example: 0.5 for e in examples}
    few = champion | {f"n{i}": 0.7 for i in range(4)}  # half of them better, none worse: 1 of 16 by chance
    verdict = judge({"base": champion, "champion": champion, "challenger": few}, examples)
    assert verdict.refused_by == ["gain"]
    assert "comes about by chance in 6.2% of cases" in verdict.reasons[0]
    all_better = champion | {f"n{i}": 0.7 for i in range(8)}
    assert judge({"base": champion, "champion": champion, "challenger": all_better}, examples).accepted


def test_the_sign_test_is_exact_for_few_and_near_it_for_many() -> None:
    assert sign_test(np.array([0.2, 0.1, 0.3]), 0) == 1 / 8
    assert sign_test(np.array([0.2, -0.1, 0.0, 0.3]), 0) == 2 / 8
    assert sign_test(np.zeros(4), 0) == 1.0
    assert sign_test(np.full(20, 0.1), 0) <= 0.001


@pytest.mark.parametrize(
    ("n", "mean", "chance"),
    [
        (0, 1.0, 1.0),
        (1, 1.0, 1 - math.exp(-1)),
        (3, 2.0, 1 - 5 * math.exp(-2)),
        (700, 800.0, 1.0),
        (3000, 800.0, 0.0),
        (801, 800.0, 0.49),
    ],
)
def test_so_many_meet_by_chance_whatever_their_number(n: int, mean: float, chance: float) -> None:
    assert poisson_tail(n, mean) == pytest.approx(chance, abs=1e-12 if n < 100 else 5e-3)
    assert 0 <= poisson_tail(n, mean) <= 1


def test_repeated_evaluations_that_differ_widen_what_is_allowed() -> None:
    scores, examples = _figures()
    billing = [e.example for e in examples if e.slice == "billing"]
    scores["challenger"] |= {e: scores["champion"][e] - 0.03 for e in billing}
    assert judge(scores, examples).refused_by == ["old"]
    again = {m: dict(f) for m, f in scores.items()}
    again["challenger"] |= {e: scores["champion"][e] + 0.01 for e in billing}
    verdict = judge(scores, examples, repeats=[again])
    assert verdict.accepted, verdict.reasons
    del again["challenger"]["old-0"]
    assert "figures" in judge(scores, examples, repeats=[again]).refused_by
    assert spread([0.1]) == 0.0


def test_the_noise_floor_is_what_chance_does_and_no_more() -> None:
    rng = np.random.default_rng(3)
    floors, losses = [], []
    for trial in range(200):
        diff = rng.normal(0, 0.2, 30)
        floors.append(chance_loss(diff, 0.025, trial, 2000))
        losses.append(-diff.mean())
    exceeded = np.mean(np.array(losses) > np.array(floors))
    assert exceeded <= 0.06
    assert 0.5 < np.mean(floors) / (1.96 * 0.2 / math.sqrt(30)) < 1.5
    assert chance_loss(np.full(20, -0.1), 0.025, 0) == 0.0


def test_many_harmless_slices_are_seldom_refused_and_one_that_collapsed_always() -> None:
    examples = [HeldOut(example=f"n{i}", slice="new", part="new") for i in range(40)]
    examples += [HeldOut(example=f"o{i}", slice=f"old {i % 8}", part="old") for i in range(160)]
    champion = {e.example: 0.5 for e in examples}
    policy = GatePolicy(resamples=2000)
    refused = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        noisy = {e.example: 0.8 if e.part == "new" else 0.5 + float(rng.normal(0, 0.15)) for e in examples}
        refused += not judge(
            {"base": champion, "champion": champion, "challenger": noisy}, examples, policy=policy
        ).accepted
        collapsed = noisy | {e.example: noisy[e.example] - 0.25 for e in examples if e.slice == "old 3"}
        verdict = judge({"base": champion, "champion": champion, "challenger": collapsed}, examples, policy=policy)
        assert any("old slice 'old 3'" in r for r in verdict.reasons if r.startswith("refused"))
    assert refused <= 3


# --- the policy, the probe ----------------------------------------------------------------------------------


def test_a_policy_names_all_its_problems_at_once() -> None:
    with pytest.raises(UserError) as refusal:
        GatePolicy.from_json({"tolerance": "much", "min_n": 2.5, "approval": 1, "nonsense": 1, "confidence": 1.5,
                              "legs": {"refusals": "no"}})  # fmt: skip
    said = refusal.value.message
    for part in ("6 problem(s)", "tolerance = 'much'", "min_n = 2.5", "approval = 1", "nonsense", "confidence", "legs"):
        assert part in said
    assert GatePolicy.from_json({"tolerance": 0, "approval": True}) == GatePolicy(tolerance=0, approval=True)
    assert GatePolicy.from_json(GatePolicy().to_json()) == GatePolicy()


def test_the_probe_is_asked_of_old_slices_that_lost_and_says_what_it_means() -> None:
    scores, examples = _figures()
    scores["challenger"] |= {e.example: 0.1 for e in examples if e.slice == "billing"}
    (lost,) = lost_slices(judge(scores, examples), examples, 5)
    assert (lost.slice, len(lost.examples)) == ("billing", 20)
    back = Recovery(slice="billing", n=20, steps=10, before=0.5, lost=0.1, after=0.46)
    assert "bring back 90% of what it lost: its alignment was lost, not its knowledge" in back.said
    assert "its knowledge was lost" in replace(back, after=0.12).said
    assert lost_slices(_judge(), examples, 5) == []


def _figures() -> tuple[dict[str, dict[str, float]], list[HeldOut]]:
    """40 new questions that gained, and 60 old ones in three slices that stand as they did."""
    examples = [HeldOut(example=f"new-{i}", slice="contracts", part="new") for i in range(40)]
    slices = ("billing", "travel", "security")
    examples += [HeldOut(example=f"old-{i}", slice=slices[i % 3], part="old") for i in range(60)]
    champion = {e.example: 0.5 for e in examples}
    challenger = {e.example: 0.7 if e.part == "new" else 0.5 for e in examples}
    return {"base": dict(champion), "champion": champion, "challenger": challenger}, examples


def _first(names: dict[str, str]) -> dict[str, dict[str, int]]:
    """Each question with one wrong document, in the first place."""
    return {example: {name: 1} for example, name in names.items()}


def _judge(**given: Any) -> Verdict:
    scores, examples = _figures()
    return judge(scores, examples, **given)


def test_a_run_whose_second_step_was_ruined_already_does_not_begin_with_what_was_ruined(tmp_path: Path) -> None:
    def curve_of(*losses: float) -> tuple[float | None, float | None]:
        file = tmp_path / "metrics.jsonl"
        file.write_text("".join(json.dumps({"loss": loss}) + "\n" for loss in losses))
        return curve(file)

    assert curve_of(2.0, 40.0, 20.0, *[9.5] * 33) == (4.0, 9.5)
    assert curve_of(2.4, 2.1, 1.8, *[0.6] * 33) == (pytest.approx(2.1), pytest.approx(0.6))
