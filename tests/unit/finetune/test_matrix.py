"""The matrix gives the published figures, and a cell that was never measured is nobody's gain or loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from finetune import matrix
from finetune.matrix import Row
from kernel.errors import UserError

R = np.array(
    [
        [0.80, 0.30, 0.20],
        [0.70, 0.90, 0.25],
        [0.60, 0.85, 0.95],
    ]
)


def test_the_figures_are_those_of_the_papers() -> None:
    assert matrix.average_accuracy(R) == pytest.approx((0.60 + 0.85 + 0.95) / 3)
    assert matrix.backward_transfer(R) == pytest.approx(((0.60 - 0.80) + (0.85 - 0.90)) / 2)
    assert matrix.forward_transfer(R, [0.5, 0.2, 0.2]) == pytest.approx(((0.30 - 0.2) + (0.25 - 0.2)) / 2)
    assert matrix.forgetting(R) == pytest.approx(((0.80 - 0.60) + (0.90 - 0.85)) / 2)


def test_forgetting_is_against_the_best_ever_and_not_against_the_first() -> None:
    better = R.copy()
    better[1, 0] = 0.88  # learning the second task had helped the first
    assert matrix.forgetting(better) == pytest.approx(((0.88 - 0.60) + 0.05) / 2)
    assert matrix.backward_transfer(better) == pytest.approx(matrix.backward_transfer(R))


def test_a_cell_that_was_not_measured_is_left_out() -> None:
    holes = R.copy()
    holes[0, 0] = math.nan
    assert matrix.backward_transfer(holes) == pytest.approx(-0.05)
    assert matrix.forgetting(holes) == pytest.approx(((0.70 - 0.60) + 0.05) / 2)
    holes[2] = math.nan
    assert math.isnan(matrix.average_accuracy(holes))
    assert math.isnan(matrix.forgetting(holes))


def test_one_model_has_forgotten_nothing_that_could_be_told() -> None:
    assert math.isnan(matrix.backward_transfer(R[:1]))
    assert math.isnan(matrix.forgetting(R[:1]))
    assert matrix.average_accuracy(R[:1, :1]) == 0.80
    assert math.isnan(matrix.average_accuracy(np.zeros((0, 0))))


def test_slices_are_learnt_where_their_runs_say_so() -> None:
    rows = [
        Row(model="one", figures={"a": {"1": 0.8}, "b": {"2": 0.6}}, learnt=("a", "b")),
        Row(model="two", figures={"a": {"1": 0.7}, "b": {"2": 0.6}, "c": {"3": 0.9, "4": math.nan}}, learnt=("a", "c")),
    ]
    names = matrix.slices_of(rows)
    built = matrix.build(rows, names)
    assert names == ["a", "b", "c"]
    assert np.array_equal(built, [[0.8, 0.6, math.nan], [0.7, 0.6, 0.9]], equal_nan=True)
    learnt = matrix.learnt_at(rows, names)
    assert learnt == [0, 0, 1]
    assert matrix.backward_transfer(built, learnt) == pytest.approx(-0.05)
    assert matrix.forgotten(built, learnt)[:2] == pytest.approx([0.1, 0.0])
    assert math.isnan(matrix.forgotten(built, learnt)[2])


def test_two_rows_are_compared_over_the_questions_that_both_were_asked() -> None:
    before = Row(model="one", figures={"a": {str(i): 0.5 for i in range(30)} | {"gone": 1.0}})
    after = Row(model="two", figures={"a": {str(i): 0.4 for i in range(30)} | {"new": 0.0}, "b": {"x": 1.0}})
    (change,) = matrix.compare(before, after)
    assert (change.slice, change.n, change.before, change.after) == ("a", 30, 0.5, pytest.approx(0.4))
    assert change.low == pytest.approx(-0.1)
    assert change.high == pytest.approx(-0.1)


def test_what_does_not_fit_together_is_said() -> None:
    with pytest.raises(UserError, match="for 3 slices"):
        matrix.forward_transfer(R, [0.1])
    with pytest.raises(UserError, match="2 rows are named for 3 slices"):
        matrix.forgetting(R, [0, 1])
    with pytest.raises(UserError, match="R has shape"):
        matrix.average_accuracy(np.zeros(3))
