"""What every selection policy promises, and what each of them is for."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import UserError
from rehearsal.policies import POLICIES, Candidate, NewExamples, mixed, n_old, near, quotas

DIMENSION = 4


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Candidate], NewExamples, int, int]:
    """Old examples in uneven slices, some without a vector, some of them new; how many to pick, and a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = draw(st.integers(0, 60))
    old = [
        Candidate(
            example=f"e{i}",
            slice=str(rng.choice(["answers", "billing", "rare"], p=[0.7, 0.25, 0.05])),
            pinned=bool(rng.random() < 0.1),
            vector=rng.normal(size=DIMENSION) if rng.random() < 0.9 else None,
            times_rehearsed=int(rng.integers(0, 4)),
        )
        for i in range(count)
    ]
    ids = [f"n{i}" for i in range(draw(st.integers(0, 5)))] + [c.example for c in old[: draw(st.integers(0, 3))]]
    new = NewExamples(examples=tuple(ids), vectors=rng.normal(size=(len(ids), DIMENSION)))
    return old, new, draw(st.integers(0, 80)), draw(st.integers(0, 1000))


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=60, deadline=None)
@given(situation=situations())
def test_every_policy_keeps_its_promises(name: str, situation: tuple[list[Candidate], NewExamples, int, int]) -> None:
    old, new, n, seed = situation
    picks = POLICIES[name](old, new, n, seed)
    ids = [pick.example for pick in picks]
    eligible = {c.example for c in old} - set(new.examples)
    assert len(ids) == min(n, len(eligible)), "as many as asked for, or all there are"
    assert len(set(ids)) == len(ids), "no example twice"
    assert set(ids) <= eligible, "never a new example"
    assert all(pick.reason for pick in picks)
    shuffled = list(old)
    random.Random(seed).shuffle(shuffled)
    assert POLICIES[name](shuffled, new, n, seed) == picks, "whatever the order of the candidates"


@settings(deadline=None)
@given(
    sizes=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50), min_size=1),
    n=st.integers(0, 200),
)
def test_quotas_sum_and_never_exceed_a_slice(sizes: dict[str, int], n: int) -> None:
    given_ = quotas(sizes, {s: size**0.5 for s, size in sizes.items()}, n)
    assert sum(given_.values()) == min(n, sum(sizes.values()))
    assert all(0 <= given_[s] <= sizes[s] for s in sizes)


def test_square_roots_let_small_slices_be_heard() -> None:
    assert quotas({"big": 900, "small": 100}, {"big": 30, "small": 10}, 40) == {"big": 30, "small": 10}
    assert quotas({"big": 900, "tiny": 1}, {"big": 30, "tiny": 1}, 62) == {"big": 61, "tiny": 1}


def test_what_a_small_slice_cannot_take_goes_to_the_others() -> None:
    assert quotas({"a": 2, "b": 50, "c": 50}, {"a": 1, "b": 1, "c": 1}, 32) == {"a": 2, "b": 15, "c": 15}


def test_another_seed_draws_others() -> None:
    old, new = _old(200), _new()
    draws = [{p.example for p in POLICIES["random"](old, new, 20, seed)} for seed in (1, 2)]
    assert draws[0] != draws[1]


def test_a_random_draw_gives_every_example_the_same_chance() -> None:
    old, new = _old(20), _new()
    seen = Counter(p.example for seed in range(2000) for p in POLICIES["random"](old, new, 5, seed))
    # 500 expected each, standard deviation under 20
    assert len(seen) == 20
    assert all(400 < count < 600 for count in seen.values())


def test_an_example_that_joins_changes_few_other_picks() -> None:
    old, new = _old(200), _new()
    before = {p.example for p in POLICIES["random"](old, new, 20, 7)}
    after = {p.example for p in POLICIES["random"]([*old, _candidate("another")], new, 20, 7)}
    assert len(before - after) <= 1


def test_pinned_examples_come_first_and_the_least_rehearsed_of_them_before_others() -> None:
    old = [_candidate("often", pinned=True, times=5), _candidate("seldom", pinned=True), *_old(50)]
    picks = POLICIES["pinned"](old, _new(), 2, 0)
    assert [(p.example, p.reason) for p in picks] == [("seldom", "pinned"), ("often", "pinned")]


def test_rare_slices_belong_to_the_floor() -> None:
    old = [*_old(100), _candidate("r1", slice="incident"), _candidate("r2", slice="incident")]
    picks = POLICIES["pinned"](old, _new(), 2, 0)
    assert {p.example for p in picks} == {"r1", "r2"}
    assert picks[0].reason == "rare: slice 'incident' holds 2 of 102"


def test_near_takes_the_nearest_and_says_to_what() -> None:
    old = [_candidate("like", vector=[3.0, 1.0]), _candidate("unlike", vector=[-1.0, 0.0])]
    new = NewExamples(examples=("abc123",), vectors=np.array([[1.0, 0.0]]))
    (pick,) = near(old, new, 1, 0)
    assert (pick.example, pick.reason) == ("like", "near: cosine .95 to new question 'abc123'")


def test_near_prefers_a_second_angle_to_a_copy() -> None:
    old = [
        _candidate("first", vector=[1.0, 0.05]),
        _candidate("copy", vector=[1.0, 0.06]),
        _candidate("other angle", vector=[1.0, -0.8]),
    ]
    new = NewExamples(examples=("n",), vectors=np.array([[1.0, 0.0]]))
    assert [p.example for p in near(old, new, 2, 0)] == ["first", "other angle"]


def test_far_slices_get_more_than_near_ones() -> None:
    close = [_candidate(f"c{i}", slice="close", vector=[1.0, 0.1]) for i in range(50)]
    away = [_candidate(f"a{i}", slice="away", vector=[-1.0, 0.1]) for i in range(50)]
    new = NewExamples(examples=("n",), vectors=np.array([[1.0, 0.0]]))
    picks = POLICIES["far"](close + away, new, 20, 0)
    assert sum(p.example.startswith("a") for p in picks) == 20
    assert picks[0].reason == "far: slice 'away' at distance 2.00"  # the other is at .00


def test_the_default_mix_holds_its_shares() -> None:
    rng = np.random.default_rng(0)
    old = [
        _candidate(f"e{i:03}", slice=f"s{i % 5}", pinned=i % 10 == 0, vector=rng.normal(size=8).tolist())
        for i in range(500)
    ]
    new = NewExamples(examples=tuple("abc"), vectors=rng.normal(size=(3, 8)))
    kinds = Counter(p.reason.split(":")[0] for p in mixed(old, new, 100, 3))
    assert kinds == {"pinned": 20, "near": 20, "far": 10, "stratified": 50}


def test_the_default_mix_passes_on_what_an_arm_cannot_fill() -> None:
    old = [_candidate(f"e{i}", vector=None) for i in range(40)]  # nothing pinned, nothing rare, no vectors
    picks = mixed(old, _new(), 10, 0)
    assert Counter(p.reason.split(":")[0] for p in picks) == {"stratified": 10}
    assert picks[0].reason == "stratified: slice 'general' 10 of 40"


def test_a_policy_that_runs_out_says_so() -> None:
    picks = POLICIES["near"]([_candidate("a", vector=None)], _new(), 5, 0)
    assert [p.reason for p in picks] == ["stratified, as 'near' ran out: slice 'general' 1 of 1"]


@pytest.mark.parametrize(("new", "rho", "old"), [(80, 0.2, 20), (100, 0.05, 5), (10, 0.5, 10), (7, 0.0, 0)])
def test_n_old_makes_the_asked_share(new: int, rho: float, old: int) -> None:
    assert n_old(new, rho) == old


@pytest.mark.parametrize("rho", [1.0, -0.1, 2.0, float("nan")])
def test_n_old_refuses_what_is_no_share(rho: float) -> None:
    with pytest.raises(UserError, match="no share"):
        n_old(10, rho)


def _candidate(
    example: str,
    *,
    slice: str = "general",
    pinned: bool = False,
    times: int = 0,
    vector: list[float] | None = None,
) -> Candidate:
    row = None if vector is None else np.array(vector)
    return Candidate(example=example, slice=slice, pinned=pinned, times_rehearsed=times, vector=row)


def _old(count: int) -> list[Candidate]:
    return [_candidate(f"e{i:03}", vector=[1.0, i / count]) for i in range(count)]


def _new() -> NewExamples:
    return NewExamples(examples=("n",), vectors=np.array([[0.0, 1.0]]))
