"""What every selection policy promises, and what each of them is for."""

from __future__ import annotations

import random
import re
import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import UserError
from rehearsal.policies import POLICIES, Candidate, NewExamples, mixed, n_old, near, quotas
from rehearsal.policies.interference import MOST_MEASURED, worth_measuring
from rehearsal.policies.memory import DAY

DIMENSION = 4


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Candidate], NewExamples, int, int]:
    """Old examples in uneven slices, with and without each fact, some of them new; how many to pick, and a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = draw(st.integers(0, 60))
    known = draw(st.sampled_from([0.0, 0.5, 1.0]))
    old = [
        Candidate(
            example=f"e{i}",
            slice=str(rng.choice(["answers", "billing", "rare"], p=[0.7, 0.25, 0.05])),
            pinned=bool(rng.random() < 0.1),
            vector=rng.normal(size=DIMENSION) if rng.random() < 0.9 else None,
            times_rehearsed=int(rng.integers(0, 4)),
            last_loss=float(rng.exponential()) if rng.random() < known else None,
            rise=float(rng.normal()) if rng.random() < known else None,
            last_rehearsed=int(rng.integers(0, 100 * DAY)) if rng.random() < known else None,
            strength=float(rng.integers(0, 5)),
            forgotten=int(rng.integers(0, 3)),
            recent=int(rng.integers(0, 5)),
            storable=bool(rng.random() < 0.8),
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
    eligible = {c.example for c in old if c.pinned or c.recent < 3} - set(new.examples)
    assert len(ids) == min(n, len(eligible)), "as many as asked for, or all that may be"
    assert len(set(ids)) == len(ids), "no example twice"
    assert set(ids) <= eligible, "never a new example, nor one that was recalled in three of four cycles"
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


def test_near_names_the_right_question_of_very_many_and_makes_no_table_of_all_with_all() -> None:
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=(400, 8)), rng.normal(size=(20_000, 8))
    old = [_candidate(f"e{i}", vector=list(v)) for i, v in enumerate(known)]
    new = NewExamples(examples=tuple(f"n{i}" for i in range(len(asked))), vectors=asked)
    tracemalloc.start()
    picks = near(old, new, 40, 0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < len(known) * len(asked) * 4
    assert len({pick.example for pick in picks}) == 40
    for pick in picks:
        named = re.fullmatch(r"near: cosine (-?[.\d]+) to new question 'n(\d+)'", pick.reason)
        assert named is not None
        a, b = known[int(pick.example[1:])], asked[int(named[2])]
        assert float(named[1]) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=0.006)


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
    old = [_candidate(f"e{i:03}", slice=f"s{i % 5}", pinned=i % 10 == 0) for i in range(500)]  # pinned: of s0 alone
    picks = mixed(old, _new(), 100, 3)
    assert Counter(p.reason.split(":")[0] for p in picks) == {"pinned": 20, "spread": 80}
    by = {c.example: c.slice for c in old}
    assert set(Counter(by[p.example] for p in picks).values()) == {20}, "what the floor took counts as its slice's"


def test_what_the_floor_takes_beyond_its_part_is_shared_by_all_others() -> None:
    old = [*_old(90), *(_candidate(f"p{i}", slice="safety", pinned=True) for i in range(10))]
    picks = mixed(old, _new(), 20, 0)  # safety's part would be 2 of 20
    assert Counter(p.reason.split(":")[0] for p in picks) == {"pinned": 4, "spread": 16}
    assert picks[4].reason == "spread: slice 'general' 16 of 90"


def test_the_default_mix_passes_on_what_the_floor_cannot_fill() -> None:
    old = [_candidate(f"e{i}", vector=None) for i in range(40)]  # nothing pinned, nothing rare
    picks = mixed(old, _new(), 10, 0)
    assert {p.reason for p in picks} == {"spread: slice 'general' 10 of 40"}
    assert len(mixed(old, _new(), 60, 0)) == 40


def test_a_policy_that_runs_out_says_so() -> None:
    picks = POLICIES["near"]([_candidate("a", vector=None)], _new(), 5, 0)
    assert [p.reason for p in picks] == ["stratified, as 'near' ran out: slice 'general' 1 of 1"]


def test_a_balanced_draw_takes_as_many_of_each_slice() -> None:
    old = [*_old(90), *(_candidate(f"b{i}", slice="billing") for i in range(9)), _candidate("r", slice="rare")]
    picks = POLICIES["balanced"](old, _new(), 11, 0)
    assert Counter(p.reason for p in picks) == {
        "balanced: slice 'billing' 5 of 9": 5,
        "balanced: slice 'general' 5 of 90": 5,
        "balanced: slice 'rare' 1 of 1": 1,
    }


def test_what_was_forgotten_before_belongs_to_the_floor_after_the_pinned_and_the_rare() -> None:
    old = [*_old(50), _candidate("lost", forgotten=2), _candidate("pin", pinned=True), _candidate("r", slice="rare")]
    picks = POLICIES["pinned"](old, _new(), 3, 0)
    assert [p.example for p in picks] == ["pin", "r", "lost"]
    assert picks[2].reason == "incident: found forgotten twice"


def test_interference_recalls_what_would_be_hurt_most_and_says_how_much() -> None:
    old = [_candidate(f"e{i}", vector=[1.0, i], rise=i / 10 - 0.2) for i in range(10)]
    picks = POLICIES["mir"](old, _new(), 3, 0)
    assert picks[0].example == "e9"
    assert picks[0].reason == "mir: loss +.70 after a virtual step"
    assert {p.example for p in picks} <= {f"e{i}" for i in range(3, 10)}


def test_interference_passes_over_copies() -> None:
    old = [
        _candidate("worst", vector=[1.0, 0.0], rise=1.0),
        _candidate("copy", vector=[1.0, 0.01], rise=0.95),
        _candidate("other", vector=[0.0, 1.0], rise=0.8),
    ]
    assert [p.example for p in POLICIES["mir"](old, _new(), 2, 0)] == ["worst", "other"]


def test_what_a_step_does_not_hurt_is_not_recalled_for_it() -> None:
    old = [_candidate("hurt", rise=0.1), _candidate("helped", rise=-0.5), _candidate("unmeasured")]
    picks = POLICIES["mir"](old, _new(), 2, 0)
    assert picks[0].example == "hurt"
    assert picks[1].reason.startswith("stratified, as 'mir' ran out")


def test_interference_without_a_measurement_says_so() -> None:
    picks = POLICIES["mir"](_old(10), _new(), 2, 0)
    assert picks[0].reason == "stratified, as no rise of the loss was measured: slice 'general' 2 of 10"


@pytest.mark.parametrize("name", ["mir", "surprise"])
def test_what_chooses_by_loss_does_not_choose_the_very_highest(name: str) -> None:
    old = [_candidate(f"e{i:03}", loss=1.0 + i / 1000, rise=0.5, vector=[1.0, i]) for i in range(98)]
    noise = [_candidate(f"noise{i}", loss=90.0 + i, rise=9.0, vector=[i, -1.0]) for i in range(2)]
    assert not {p.example for p in POLICIES[name](old + noise, _new(), 98, 0)} & {"noise0", "noise1"}


def test_surprise_is_capped_at_half_of_the_budget() -> None:
    old = [_candidate(f"e{i:03}", loss=i / 10) for i in range(100)]
    picks = POLICIES["surprise"](old, _new(), 20, 0)
    assert Counter(p.reason.split(":")[0] for p in picks) == {"surprise": 10, "random, beside the surprising": 10}
    assert [p.example for p in picks[:2]] == ["e097", "e096"], "98 and 99 are suspected noise"


def test_the_most_overdue_comes_first_and_intervals_double() -> None:
    old = [
        _candidate("strong", strength=3, last=0),  # due after 8 days
        _candidate("weak", strength=0, last=0),  # after 1
        _candidate("forgotten", strength=3, forgotten=9, last=0),  # after 2.2: its interval grows more slowly
        _candidate("never"),
    ]
    new = NewExamples(examples=("n",), vectors=np.zeros((1, 2)), at=4 * DAY)
    picks = POLICIES["due"](old, new, 4, 0)
    assert [(p.example, p.reason) for p in picks] == [
        ("never", "due: never practised again"),
        ("weak", "due: overdue by 3.0 days, strength .00"),
        ("forgotten", "due: overdue by 1.8 days, strength 3.00"),
        ("strong", "due: next due, in 4.0 days, strength 3.00"),
    ]


def test_the_champion_answers_for_what_may_not_be_kept() -> None:
    old = [_candidate("kept"), _candidate("private", storable=False)]
    targets = {p.example: p.target for p in POLICIES["generative"](old, _new(), 2, 0)}
    assert targets == {"kept": "stored", "private": "champion"}


def test_a_slice_that_weighs_more_gets_more() -> None:
    old = [_candidate(f"{s}{i}", slice=s, weight=w) for s, w in (("a", 1.0), ("b", 3.0)) for i in range(50)]
    picks = POLICIES["stratified"](old, _new(), 20, 0)
    assert Counter(p.example[0] for p in picks) == {"a": 5, "b": 15}


def test_what_is_measured_is_bounded_and_half_of_it_is_near() -> None:
    old = _old(2000)
    assert len(worth_measuring(old, _new(), 10, 0)) == 80
    assert len(worth_measuring(old, _new(), 1000, 0)) == MOST_MEASURED
    nearest = {f"e{i:03}" for i in range(2000 - 16, 2000)}
    assert len(nearest & set(worth_measuring(old, _new(), 10, 0))) > 8


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
    times: int = 0,
    vector: list[float] | None = None,
    loss: float | None = None,
    last: int | None = None,
    **facts: Any,
) -> Candidate:
    return Candidate(
        example=example,
        slice=slice,
        times_rehearsed=times,
        vector=None if vector is None else np.array(vector),
        last_loss=loss,
        last_rehearsed=last,
        **facts,
    )


def _old(count: int) -> list[Candidate]:
    return [_candidate(f"e{i:03}", vector=[1.0, i / count]) for i in range(count)]


def _new() -> NewExamples:
    return NewExamples(examples=("n",), vectors=np.array([[0.0, 1.0]]))
