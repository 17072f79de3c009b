"""Ranking metrics against values worked out by hand, and the bootstrap against what is known of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from finetune.metrics import mrr_at_k, ndcg_at_k, paired_bootstrap, recall_at_k
from kernel.errors import UserError


def test_ndcg_of_a_hit_at_rank_three_of_one() -> None:
    assert ndcg_at_k([0, 0, 1], 1) == pytest.approx(1 / math.log2(4))  # .5


def test_ndcg_of_two_hits_among_three_relevant() -> None:
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at_k([1, 0, 1, 0], 3) == pytest.approx((1 + 1 / math.log2(4)) / ideal)  # .704


def test_ndcg_uses_grades_as_they_are() -> None:
    # grades 1 then 3, best order 3 then 1: (1 + 3/1.585) / (3 + 1/1.585)
    assert ndcg_at_k([1, 3], [3, 1]) == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))


def test_ndcg_is_one_for_the_best_order_and_cannot_be_more() -> None:
    assert ndcg_at_k([1] * 10, 25, k=10) == pytest.approx(1.0)


def test_hits_below_k_do_not_count() -> None:
    assert ndcg_at_k([0] * 10 + [1], 1) == 0
    assert recall_at_k([0] * 10 + [1], 1) == 0
    assert mrr_at_k([0] * 10 + [1], 1) == 0


def test_recall_and_reciprocal_rank() -> None:
    assert recall_at_k([0, 1, 0, 1], 4) == 0.5
    assert mrr_at_k([0, 1, 0, 1], 4) == 0.5
    assert recall_at_k([2, 0], [2, 1, 0]) == 0.5


@pytest.mark.parametrize("metric", [ndcg_at_k, recall_at_k, mrr_at_k])
@pytest.mark.parametrize("relevant", [0, [], [0.0]])
def test_a_question_without_anything_relevant_has_no_figure(
    metric: Callable[..., float], relevant: int | list[float]
) -> None:
    assert math.isnan(metric([1, 0], relevant))


def test_the_bootstrap_agrees_with_the_normal_interval_on_many_questions() -> None:
    diff = np.random.default_rng(0).normal(0.05, 0.2, size=2000)
    mean, low, high = paired_bootstrap(diff, seed=1)
    error = diff.std(ddof=1) / math.sqrt(len(diff))
    assert mean == pytest.approx(diff.mean())
    assert low == pytest.approx(mean - 1.96 * error, abs=0.001)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.001)


def test_the_bootstrap_is_the_same_for_the_same_seed() -> None:
    diff = np.random.default_rng(0).normal(size=50)
    assert paired_bootstrap(diff, seed=3) == paired_bootstrap(diff, seed=3)
    assert paired_bootstrap(diff, seed=3) != paired_bootstrap(diff, seed=4)


def test_equal_differences_leave_no_doubt() -> None:
    assert paired_bootstrap(np.full(20, 0.25), seed=0) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("diff", [[], [0.1, float("nan")], [float("inf")]])
def test_the_bootstrap_refuses_what_is_not_a_number(diff: list[float]) -> None:
    with pytest.raises(UserError, match="not finite"):
        paired_bootstrap(np.array(diff), seed=0)
