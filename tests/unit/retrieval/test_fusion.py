"""Fusion and diversity, as promises over plain lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.diversity import diverse
from retrieval.fusion import blended, fuse, normalised

DENSE = [("a", 0.9), ("b", 0.5), ("c", 0.4)]
WORDS = [("c", 20.0), ("d", 9.0), ("a", 8.0)]
RANKED = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 50), max_size=8).map(
    lambda found: sorted(found.items(), key=lambda pair: -pair[1])
)


def order(weight: float) -> list[str]:
    return [candidate.id for candidate in fuse(DENSE, WORDS, weight)]


def test_a_weight_of_one_keeps_the_words_order_and_of_zero_the_vectors() -> None:
    assert order(1.0)[:3] == ["c", "d", "a"]
    assert order(0.0)[:3] == ["a", "b", "c"]


def test_who_is_high_in_both_arms_comes_first() -> None:
    assert set(order(0.5)[:2]) == {"a", "c"}


def test_each_candidate_tells_where_it_stood() -> None:
    (d,) = (candidate for candidate in fuse(DENSE, WORDS) if candidate.id == "d")
    assert d.dense is None
    assert d.words is not None
    assert (d.words.rank, d.words.score) == (2, 9.0)


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0])
def test_an_arm_that_found_nothing_has_no_say(weight: float) -> None:
    assert [c.id for c in fuse(DENSE, [], weight)] == ["a", "b", "c"]
    assert [c.id for c in fuse([], WORDS, weight)] == ["c", "d", "a"]
    assert fuse([], [], weight) == []


@given(RANKED, RANKED, st.floats(0, 1))
def test_everything_that_an_arm_found_is_there_once_in_one_order(
    dense: list[tuple[str, float]], words: list[tuple[str, float]], weight: float
) -> None:
    fused = fuse(dense, words, weight)
    assert sorted(c.id for c in fused) == sorted({one for one, _ in [*dense, *words]})
    assert [c.score for c in fused] == sorted((c.score for c in fused), reverse=True)
    assert fused == fuse(dense, words, weight)


def test_scores_that_do_not_differ_are_all_in_the_middle() -> None:
    assert normalised([3.0, 3.0]) == [0.5, 0.5]
    assert normalised([7.0]) == [0.5]
    assert normalised([]) == []


def test_a_blend_is_the_one_or_the_other_at_its_ends() -> None:
    first, second = [3.0, 2.0, 1.0], [0.1, 0.2, 0.9]
    assert list(np.argsort(blended(first, second, 0.0))) == [2, 1, 0]
    assert list(np.argsort(blended(first, second, 1.0))) == [0, 1, 2]


def test_diversity_lets_a_twin_stand_back_and_none_keeps_the_order() -> None:
    vectors = np.array([[1.0, 0.0], [0.999, 0.045], [0.0, 1.0]])
    assert diverse([1.0, 0.99, 0.5], vectors, 2, 0.0) == [0, 1]
    assert diverse([1.0, 0.99, 0.5], vectors, 2, 0.6) == [0, 2]
    assert diverse([], np.zeros((0, 2)), 2, 0.6) == []
