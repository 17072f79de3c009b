"""Slices that something new came to: what came may show the gain, and what was there is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from finetune.case import ALL_NEW
from finetune.gate import GatePolicy, HeldOut, Verdict, judge

CAME, THERE = 60, 240


def test_a_gain_on_what_came_is_seen_though_the_slice_is_mostly_about_something_else() -> None:
    verdict = _judge(came=+0.04, there=0.0)
    assert verdict.accepted, verdict.reasons
    assert f"on {CAME} new questions" in verdict.reasons[0]
    assert "97.5% between" in verdict.reasons[0]  # two looks, each more strictly


def test_a_gain_that_only_the_slice_as_a_whole_shows_counts_as_well() -> None:
    verdict = _judge(came=+0.01, there=+0.03)
    assert verdict.accepted, verdict.reasons
    assert f"on {CAME + THERE} questions of slices with something new" in verdict.reasons[0]


def test_no_gain_in_either_is_refused_with_both() -> None:
    verdict = _judge(came=0.0, there=0.0)
    assert verdict.refused_by == ["gain"]
    assert f"on {CAME} new questions" in verdict.reasons[0]
    assert f"on {CAME + THERE} questions of slices" in verdict.reasons[0]


def test_what_was_there_is_old_and_its_loss_is_not_paid_for_by_what_came() -> None:
    verdict = _judge(came=+0.3, there=-0.03)
    assert verdict.refused_by == ["old"]
    assert verdict.reasons[0].startswith("refused: old slice 'contracts' (what was asked before): -0.03")


def test_what_came_and_got_worse_is_not_paid_for_by_what_was_there() -> None:
    verdict = _judge(came=-0.08, there=+0.06)
    assert verdict.refused_by == ["new"]
    assert verdict.reasons[0].startswith("refused: new slice 'contracts' (what came since): -0.08")


def test_what_was_there_does_not_pay_for_small_slices_that_are_new_and_lose() -> None:
    scores, examples = _figures(came=0.0, there=+0.03)
    small = [replace(e, slice=f"small {n // 4}") for n, e in enumerate(examples[:24])]
    kept = [*small, *examples[CAME:]]
    scores["challenger"] |= {e.example: scores["champion"][e.example] - 0.1 for e in small}
    verdict = judge(scores, kept)
    assert verdict.refused_by == ["new"]
    assert verdict.reasons[0].startswith("refused: all that is new together: -0.100 ndcg@10 on 24 questions")
    assert [row.n for row in verdict.slices if row.slice == ALL_NEW] == [24]


def test_where_no_test_could_see_a_gain_on_what_is_new_the_slice_is_looked_at_with_all_confidence() -> None:
    scores, examples = _figures(came=+0.4, there=+0.03)
    verdict = judge(scores, [*examples[: GatePolicy().min_new], *examples[CAME:]])
    assert verdict.accepted, verdict.reasons
    assert "95% between" in verdict.reasons[0]


def test_where_no_gain_is_asked_a_single_new_slice_must_not_lose_either() -> None:
    scores, examples = _figures(came=-0.08, there=0.0)
    new = [e for e in examples if not e.renewed]
    verdict = judge(scores, new, policy=GatePolicy(gain=False))
    assert verdict.refused_by == ["new"]
    assert judge(scores, new).refused_by == ["gain"]  # which says it already


def test_too_few_that_came_leave_the_slice_as_a_whole_to_show_the_gain_at_full_confidence() -> None:
    scores, examples = _figures(came=0.0, there=+0.03)
    few = [e for e in examples if e.renewed or int(e.example[4:]) < GatePolicy().min_new - 1]
    verdict = judge(scores, few)
    assert verdict.accepted, verdict.reasons
    assert "95% between" in verdict.reasons[0]


def test_harmless_runs_that_gain_nothing_are_not_let_pass_more_often_for_two_looks() -> None:
    quick = GatePolicy(resamples=1_000)
    runs = (_figures(came=0.0, there=0.0, seed=seed) for seed in range(200))
    accepted = sum(judge(*figures, policy=quick).accepted for figures in runs)
    assert accepted <= 8  # 2.5 % of them would be 5; with 95 % for either look eleven of these pass


def test_a_verdict_has_a_row_for_either_part() -> None:
    rows = {row.part: row for row in _judge(came=+0.1, there=0.0).slices if row.slice == "contracts"}
    assert {name: row.n for name, row in rows.items()} == {"new": CAME, "old": THERE}


def _figures(*, came: float, there: float, seed: int = 0) -> tuple[dict[str, dict[str, float]], list[HeldOut]]:
    rng = np.random.default_rng(seed)
    examples = [HeldOut(example=f"came{i}", slice="contracts", part="new") for i in range(CAME)]
    examples += [HeldOut(example=f"there{i}", slice="contracts", part="old", renewed=True) for i in range(THERE)]
    before = {e.example: float(v) for e, v in zip(examples, rng.uniform(0.3, 0.6, len(examples)), strict=True)}
    drift = rng.normal(0, 0.06, len(examples))
    for some in (slice(0, CAME), slice(CAME, None)):
        drift[some] -= drift[some].mean() if (came, there) != (0.0, 0.0) else 0.0
    now = {
        e.example: before[e.example] + (there if e.renewed else came) + float(d)
        for e, d in zip(examples, drift, strict=True)
    }
    return {"base": before, "champion": before, "challenger": now}, examples


def _judge(*, came: float, there: float) -> Verdict:
    return judge(*_figures(came=came, there=there))
