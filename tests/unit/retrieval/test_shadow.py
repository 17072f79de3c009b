"""How two rankings are compared."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.shadow import overlap, rank_biased_overlap

LISTS = st.lists(st.sampled_from("abcdefghijklmnop"), unique=True, max_size=10)


@given(LISTS, LISTS)
def test_agreement_lies_between_0_and_1_and_is_the_same_from_both_sides(one: list[str], two: list[str]) -> None:
    for measure in (overlap, rank_biased_overlap):
        assert 0 <= measure(one, two) <= 1 + 1e-12
        assert measure(one, two) == pytest.approx(measure(two, one))
        assert measure(one, one) == pytest.approx(1)


def test_nothing_in_common_is_0() -> None:
    assert overlap("abc", "def") == rank_biased_overlap("abc", "def") == 0


def test_a_change_at_the_top_weighs_more_than_one_below() -> None:
    top, below = rank_biased_overlap("abcdefghij", "bacdefghij"), rank_biased_overlap("abcdefghij", "abcdefghji")
    assert top < below < 1
    assert overlap("abcdefghij", "bacdefghij") == 1


def test_it_is_the_series_as_it_is_defined() -> None:
    """By hand, for three ranks: agreements 0, 1 and 2/3 for abc against bad."""
    p = 0.9
    expected = 2 / 3 * p**3 + (1 - p) / p * (0 * p + 1 * p**2 + 2 / 3 * p**3)
    assert rank_biased_overlap("abc", "bad", p) == pytest.approx(expected)
    assert {rank_biased_overlap("abc", "".join(o)) <= 1 for o in permutations("abc")} == {True}
