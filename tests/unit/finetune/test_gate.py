"""The gate lets a challenger through for a sure gain at no loss, and refuses everything else with its reason."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from finetune.case import FEW_NEW
from finetune.gate import FEW, TOGETHER, GatePolicy, HeldOut, Verdict, judge
from finetune.routes import speaks_for
from kernel.errors import UserError

NEW, OLD = 40, 60


def test_a_sure_gain_without_loss_is_accepted_and_says_why() -> None:
    verdict = _judge(new=+0.2, old=0.0)
    assert verdict.accepted
    assert any("against the champion on 40 new questions" in r for r in verdict.reasons)
    assert all(r.startswith("passed: ") for r in verdict.reasons)
    row = next(row for row in verdict.slices if row.slice == "contracts")
    assert (row.part, row.n, row.metric) == ("new", NEW, "ndcg@10")
    gain = row.challenger - float(row.champion or 0)
    assert gain == pytest.approx(0.2, abs=0.05)
    assert 0 < row.low < gain < row.high


def test_labels_that_were_shuffled_show_no_gain() -> None:
    verdict = _judge(new=0.0, old=0.0)
    assert not verdict.accepted
    assert "lower bound has to be above" in verdict.reasons[0]


def test_a_gain_that_could_be_chance_is_refused() -> None:
    assert not _judge(new=+0.02, old=0.0, spread=0.3).accepted


def test_a_loss_on_an_old_slice_is_refused_and_the_slice_is_named() -> None:
    verdict = _judge(new=+0.2, old=-0.08)
    assert not verdict.accepted
    assert verdict.reasons[0].startswith("refused: old slice ")
    assert any("'billing'" in reason for reason in verdict.reasons if reason.startswith("refused"))


def test_a_loss_within_the_tolerance_passes() -> None:
    assert _judge(new=+0.2, old=-0.01, spread=0.001).accepted


def test_a_loss_within_the_measured_noise_passes() -> None:
    scores, examples = _figures(new=+0.3, old=0.0)
    billing = [e.example for e in examples if e.slice == "billing"]
    scores["challenger"] = dict(scores["champion"]) | {e.example: 0.9 for e in examples if e.part == "new"}
    scores["challenger"][billing[5]] -= 0.5  # one question of twenty: a mean of -.025 with a standard error of .025
    verdict = judge(scores, examples)
    assert verdict.accepted, verdict.reasons
    assert any("measured noise" in reason for reason in verdict.reasons)


def test_many_small_losses_are_one_large_one() -> None:
    examples = [_held(f"n{i}", "contracts", "new") for i in range(40)]
    examples += [_held(f"o{i}", f"slice {i % 12}", "old") for i in range(120)]
    rng = np.random.default_rng(0)
    champion = {e.example: 0.5 for e in examples}
    noise = {e.example: float(d) for e, d in zip(examples, rng.normal(0, 0.12, len(examples)), strict=True)}
    challenger = {e.example: 0.8 if e.part == "new" else 0.5 - 0.03 + noise[e.example] for e in examples}
    verdict = judge({"base": champion, "champion": champion, "challenger": challenger}, examples)
    assert not verdict.accepted
    assert any("all old slices together" in r for r in verdict.reasons if r.startswith("refused"))
    assert any(row.slice == TOGETHER for row in verdict.slices)


def test_old_slices_too_small_to_judge_alone_are_judged_together() -> None:
    examples = [_held(f"n{i}", "contracts", "new") for i in range(20)]
    examples += [_held(f"o{i}", f"slice {i}", "old") for i in range(10)]
    champion = {e.example: 0.5 for e in examples}
    challenger = {e.example: 0.8 if e.part == "new" else 0.2 for e in examples}
    verdict = judge({"base": champion, "champion": champion, "challenger": challenger}, examples)
    assert [row.slice for row in verdict.slices if row.part == "old"] == [FEW]
    assert not verdict.accepted


def test_a_lone_question_of_a_small_slice_cannot_refuse_by_chance_and_counts_among_all_old_ones() -> None:
    scores, examples = _figures(new=+0.2, old=0.0)
    lone = HeldOut(example="lone", slice="rare", part="old")
    for model, value in (("base", 0.5), ("champion", 0.5), ("challenger", 0.2)):
        scores[model]["lone"] = value
    verdict = judge(scores, [*examples, lone])
    assert verdict.accepted, verdict.reasons
    (row,) = [row for row in verdict.slices if row.slice == FEW]
    assert (row.n, row.allowed) == (1, None)
    assert next(row for row in verdict.slices if row.slice == TOGETHER).n == OLD + 1
    only = [e for e in examples if e.part == "new"] + [lone]
    verdict = judge(scores, only)
    assert verdict.accepted, verdict.reasons
    assert any("one question alone cannot tell a loss from chance" in reason for reason in verdict.reasons)


def test_a_few_questions_of_small_slices_that_all_fail_are_not_let_pass_where_they_are_all_there_is() -> None:
    scores, examples = _figures(new=+0.2, old=0.0)
    few = [HeldOut(example=f"few-{n}", slice=f"rare-{n}", part="old") for n in range(3)]
    for model, value in (("base", 0.8), ("champion", 0.8), ("challenger", 0.0)):
        scores[model] |= {e.example: value for e in few}
    verdict = judge(scores, [*(e for e in examples if e.part == "new"), *few])
    assert not verdict.accepted
    assert verdict.reasons[0].startswith("refused: all old slices together: -0.800")


def test_a_pinned_question_that_worked_must_not_fail() -> None:
    scores, examples = _figures(new=+0.2, old=0.0)
    pinned = next(e for e in examples if e.pinned)
    scores["champion"][pinned.example], scores["challenger"][pinned.example] = 0.3, 0.0
    verdict = judge(scores, examples)
    assert not verdict.accepted
    assert f"1 of 3 pinned questions worked and now fail: {pinned.example!r}" in verdict.reasons[0]


def test_a_pinned_question_that_never_worked_may_go_on_failing() -> None:
    scores, examples = _figures(new=+0.2, old=0.0)
    pinned = next(e for e in examples if e.pinned)
    scores["champion"][pinned.example] = scores["challenger"][pinned.example] = 0.0
    assert judge(scores, examples).accepted


@pytest.mark.parametrize("model", ["base", "champion", "challenger"])
@pytest.mark.parametrize("figure", [math.nan, None, "missing"])
def test_a_figure_that_is_no_number_fails_rather_than_being_left_out(model: str, figure: object) -> None:
    scores, examples = _figures(new=+0.2, old=0.0)
    if figure == "missing":
        del scores[model]["new-0"]
    else:
        scores[model]["new-0"] = figure  # type: ignore[assignment]
    verdict = judge(scores, examples)
    assert not verdict.accepted
    assert f"refused: 1 of 100 questions have no ndcg@10: 'new-0' ({model})" in verdict.reasons


def test_too_few_questions_are_refused_however_good_they_look() -> None:
    examples = [_held(f"q{i}", "contracts", "new") for i in range(9)]
    scores = {"base": {e.example: 0.0 for e in examples}, "challenger": {e.example: 1.0 for e in examples}}
    verdict = judge(scores, examples)
    assert not verdict.accepted
    assert verdict.reasons[0] == (
        "refused: only 9 questions are held out, and 10 are needed to tell a gain from chance; "
        "one example in five is held out, so add examples"
    )


def test_no_question_at_all_is_refused() -> None:
    verdict = judge({"base": {}, "challenger": {}}, [])
    assert not verdict.accepted
    assert verdict.slices == []


def test_without_a_champion_all_questions_may_show_the_gain() -> None:
    scores, examples = _figures(new=+0.2, old=+0.1)
    del scores["champion"]
    verdict = judge(scores, examples)
    assert verdict.accepted
    assert any("against the base on 100 questions" in r for r in verdict.reasons)
    assert all(row.champion is None for row in verdict.slices)


def test_with_a_champion_only_new_questions_can_show_a_gain() -> None:
    scores, examples = _figures(new=+0.2, old=0.0)
    old = [e for e in examples if e.part == "old"]
    verdict = judge(scores, old)
    assert not verdict.accepted
    assert "only 0 new questions could show a gain" in verdict.reasons[0]


def test_a_new_slice_that_loses_is_not_paid_for_by_another_that_gains() -> None:
    scores, examples = _figures(new=0.2, old=0.0)
    new = [e for e in examples if e.part == "new"]
    halves = {e.example: ("first", "second")[n % 2] for n, e in enumerate(new)}
    split = [replace(e, slice=halves.get(e.example, e.slice)) for e in examples]
    verdict = judge(scores, split)
    assert verdict.accepted
    rows = {row.slice: row for row in verdict.slices if row.part == "new"}
    assert all(row.allowed is not None for row in rows.values())
    lost = {e.example: scores["champion"][e.example] - 0.05 for e in split if e.slice == "second"}
    scores["challenger"] |= lost
    verdict = judge(scores, split)
    assert verdict.refused_by == ["new"]
    assert verdict.reasons[0].startswith(f"refused: new slice 'second': -0.050 ndcg@10 on {len(lost)} questions")
    assert judge(scores, examples).accepted  # one slice is judged by its gain
    few = set(list(lost)[:4])
    scores["challenger"] |= {e: scores["champion"][e] + 0.2 for e in lost if e not in few}
    small = [replace(e, slice="small" if e.example in few else e.slice) for e in split]
    assert judge(scores, small).accepted  # four questions are too few to tell


def test_small_new_slices_that_lose_together_are_not_paid_for_by_a_large_one_that_gains() -> None:
    scores, examples = _figures(new=0.4, old=0.0)
    small = [_held(f"few-{n}", f"rare-{n // 4}", "new") for n in range(32)]
    for model, value in (("base", 0.5), ("champion", 0.5), ("challenger", 0.25)):
        scores[model] |= {e.example: value for e in small}
    verdict = judge(scores, [*examples, *small])
    assert verdict.refused_by == ["new"]
    assert verdict.reasons[0].startswith("refused: small new slices together: -0.250 ndcg@10 on 32 questions")
    rows = {row.slice: row for row in verdict.slices if row.part == "new"}
    assert (rows[FEW_NEW].n, rows[FEW_NEW].allowed) == (32, GatePolicy().tolerance)
    assert (rows["rare-0"].n, rows["rare-0"].allowed) == (4, None)
    assert speaks_for(verdict.to_json(), "contracts")[0]  # refused only for other slices
    assert not speaks_for(verdict.to_json(), "rare-0")[0]
    few = judge(scores, [*examples, *small[:3]])  # too few to tell, however many slices they are of
    assert few.accepted
    assert FEW_NEW not in {row.slice for row in few.slices}


def test_where_all_new_slices_are_small_the_gain_alone_judges_them_if_one_is_asked() -> None:
    scores, examples = _figures(new=0.2, old=0.0)
    small = [replace(e, slice=f"rare-{n // 4}") if e.part == "new" else e for n, e in enumerate(examples)]
    gained = judge(scores, small)
    assert gained.accepted
    assert FEW_NEW not in {row.slice for row in gained.slices}
    scores["challenger"] |= {e.example: scores["champion"][e.example] - 0.1 for e in small if e.part == "new"}
    assert judge(scores, small).refused_by == ["gain"]
    assert judge(scores, small, policy=GatePolicy(gain=False)).refused_by == ["new"]


def test_harmless_runs_are_not_refused_more_often_for_small_new_slices() -> None:
    quick = GatePolicy(resamples=1_000)
    asked = [_held(f"large-{n}", "large", "new") for n in range(30)]
    asked += [_held(f"few-{n}", f"rare-{n // 4}", "new") for n in range(32)]
    before = {e.example: 0.5 for e in asked}
    refused = 0
    for seed in range(200):
        drift = np.random.default_rng(seed).normal(0, 0.1, len(asked))
        now = {e.example: 0.5 + float(d) for e, d in zip(asked, drift, strict=True)}
        scores = {"base": before, "champion": before, "challenger": now}
        refused += "new" in judge(scores, asked, policy=quick).refused_by
    assert refused <= 10  # 2.5 % of them would be 5, for the large one and the small ones together


def test_answers_as_served_must_not_get_worse() -> None:
    scores, examples = _figures(new=+0.2, old=0.0)
    same = {e.example: 0.6 for e in examples}
    worse = {e.example: 0.55 for e in examples}
    served = {"base": same, "champion": same, "challenger": same}
    assert judge(scores, examples, served_scores=served).accepted
    verdict = judge(scores, examples, served_scores={**served, "challenger": worse})
    assert not verdict.accepted
    assert verdict.reasons[0].startswith("refused: as served: -0.050")
    lost = judge(scores, examples, served_scores={**served, "challenger": {}})
    assert "100 of 100 questions have no figure as served" in lost.reasons[0]


def test_the_policy_decides_how_strict_the_gate_is() -> None:
    scores, examples = _figures(new=+0.2, old=-0.05, spread=0.001)
    assert not judge(scores, examples).accepted
    assert judge(scores, examples, policy=GatePolicy(tolerance=0.06)).accepted
    assert not judge(scores, examples, policy=GatePolicy(tolerance=0.06, min_gain=0.3)).accepted


def test_a_verdict_survives_json() -> None:
    verdict = _judge(new=+0.2, old=-0.08)
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False))) == verdict


def test_the_same_figures_give_the_same_verdict_in_any_order() -> None:
    scores, examples = _figures(new=+0.2, old=-0.01)
    assert judge(scores, examples[::-1]) == judge(scores, examples)


def test_the_gate_says_what_it_was_not_given() -> None:
    with pytest.raises(UserError, match=r"no figures of \['challenger'\]"):
        judge({"base": {}}, [])
    with pytest.raises(UserError, match="given twice"):
        judge({"base": {}, "challenger": {}}, [_held("a", "s", "new")] * 2)


def _held(example: str, slice: str, part: str, pinned: bool = False) -> HeldOut:
    return HeldOut(example=example, slice=slice, part=part, pinned=pinned)  # type: ignore[arg-type]


def test_origins_have_rows_of_their_own_by_which_nothing_is_refused() -> None:
    scores, examples = _figures(new=-0.2, old=+0.1)
    origins = {e.example: "correction" if e.part == "new" else "import" for e in examples}
    few = {e.example: "thumbs" for e in examples[-3:]}
    plain, told = judge(scores, examples), judge(scores, examples, origins=origins | few)
    assert [(row.slice, row.n) for row in told.slices if row.part == "origin"] == [("correction", NEW), ("import", 57)]
    lost = next(row for row in told.slices if row.slice == "correction")
    assert (lost.low < lost.high < 0, lost.allowed) == (True, None)
    assert replace(told, slices=[row for row in told.slices if row.part != "origin"]) == plain
    assert judge(scores, examples, origins=dict.fromkeys(origins, "import")) == plain  # all of them say nothing new


def _figures(*, new: float, old: float, spread: float = 0.05) -> tuple[dict[str, dict[str, float]], list[HeldOut]]:
    """40 new questions and 60 old ones in three slices, three of them pinned; the challenger differs by so much."""
    examples = [_held(f"new-{i}", "contracts", "new") for i in range(NEW)]
    slices = ("billing", "travel", "security")
    examples += [_held(f"old-{i}", slices[i % 3], "old", pinned=i < 3) for i in range(OLD)]
    rng = np.random.default_rng(5)
    champion = {e.example: float(v) for e, v in zip(examples, rng.uniform(0.4, 0.6, len(examples)), strict=True)}
    noise = rng.normal(0, spread, len(examples))
    noise -= noise.mean()
    shift = {"new": new, "old": old}
    challenger = {
        e.example: champion[e.example] + shift[e.part] + (float(d) if e.part == "new" or old else 0.0)
        for e, d in zip(examples, noise, strict=True)
    }
    base = {e.example: champion[e.example] - 0.05 for e in examples}
    return {"base": base, "champion": champion, "challenger": challenger}, examples


def _judge(*, new: float, old: float, spread: float = 0.05) -> Verdict:
    scores, examples = _figures(new=new, old=old, spread=spread)
    typed: Mapping[str, Mapping[str, float]] = scores
    return judge(typed, examples, seed=1)
