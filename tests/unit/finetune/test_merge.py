"""A merge is a sum of what the adapters do: one alone comes out as itself, and nothing is made of A and B apart."""

from __future__ import annotations

import pytest
import torch

from finetune.deltas import Factors, cat, dare, factored, ties
from finetune.merge import Merge, merged_layers
from kernel.errors import UserError

OUT, IN, RANK = 24, 40, 4


def test_one_adapter_of_weight_one_comes_out_as_itself() -> None:
    layer = _layer(1)
    merged = cat([layer], [1.0], RANK, scale=2.0)
    assert torch.allclose(merged.factors.delta, layer.delta, atol=1e-5)
    assert merged.lost / merged.energy < 1e-9
    for other in (ties([layer.delta], [1.0], 1.0), dare([layer.delta], [1.0], 1.0, torch.Generator())):
        assert torch.allclose(other, layer.delta, atol=1e-6)


def test_a_sum_has_no_cross_terms() -> None:
    one, two = _layer(1), _layer(2, scale=0.5)
    wanted = 0.7 * one.delta + 0.3 * two.delta
    merged = cat([one, two], [0.7, 0.3], 2 * RANK, scale=2.0)
    assert torch.allclose(merged.factors.delta, wanted, atol=1e-5)
    crossed = (0.7 * one.b + 0.3 * two.b) @ (one.a + two.a)
    assert not torch.allclose(crossed, wanted, atol=1e-2)


def test_what_the_rank_cannot_hold_is_told_exactly() -> None:
    one, two = _layer(1), _layer(2)
    whole = 0.5 * one.delta + 0.5 * two.delta
    merged = cat([one, two], [0.5, 0.5], RANK, scale=2.0)
    left = float((whole - merged.factors.delta).square().sum())
    assert merged.lost == pytest.approx(left, rel=1e-4)
    assert merged.energy == pytest.approx(float(whole.square().sum()), rel=1e-4)
    best = factored(whole, RANK, scale=2.0)
    assert best.lost == pytest.approx(merged.lost, rel=1e-6), "both are the nearest matrix of that rank"


def test_a_rank_beyond_the_sum_is_filled_with_nothing() -> None:
    merged = cat([_layer(1)], [1.0], 3 * RANK, scale=2.0)
    assert merged.factors.a.shape == (3 * RANK, IN)
    assert torch.allclose(merged.factors.delta, _layer(1).delta, atol=1e-5)


def test_ties_keeps_the_large_entries_that_agree_in_sign() -> None:
    one = torch.tensor([[4.0, -3.0, 0.1, 2.0]])
    two = torch.tensor([[2.0, 5.0, 0.2, 0.1]])
    merged = ties([one, two], [0.5, 0.5], density=0.75)
    # The third is trimmed from one; the signs of the second differ and +5 outweighs -3.
    assert merged.tolist() == [[pytest.approx(3.0), pytest.approx(5.0), pytest.approx(0.2), pytest.approx(2.0)]]


def test_dare_keeps_the_mean_of_a_matrix_and_the_same_seed_gives_the_same() -> None:
    ones = torch.ones(300, 300)
    first, second = (dare([ones], [1.0], 0.25, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 4.0}
    assert float(first.mean()) == pytest.approx(1.0, abs=0.03)


def test_ties_takes_no_weight_below_zero_and_cat_does() -> None:
    with pytest.raises(UserError, match="ties takes none below zero"):
        Merge(adapters=("a", "b"), method="ties", weights=(1.0, -1.0))
    assert Merge(adapters=("a", "b"), weights=(1.0, -1.0)).weights == (1.0, -1.0)


def test_between_two_adapters_weights_that_add_up_to_one_interpolate() -> None:
    champion, challenger = {"x": _layer(1)}, {"x": _layer(2)}
    for share in (0.0, 0.25, 1.0):
        how = Merge(adapters=("champion", "challenger"), weights=(1 - share, share))
        merged = merged_layers([champion, challenger], how, 2 * RANK, scale=2.0)["x"].factors.delta
        assert torch.allclose(merged, champion["x"].delta.lerp(challenger["x"].delta, share), atol=1e-5)


@pytest.mark.parametrize("method", ["cat", "ties", "dare"])
def test_the_same_merge_gives_the_same_matrices(method: str) -> None:
    adapters = [{"x": _layer(1), "y": _layer(3)}, {"x": _layer(2), "y": _layer(4)}]
    how = Merge(adapters=("a", "b"), method=method, seed=7)
    first, second = (merged_layers(adapters, how, RANK, 2.0) for _ in range(2))
    assert all(torch.equal(first[name].factors.delta, second[name].factors.delta) for name in ("x", "y"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"adapters": ("a",)}, "1 adapters are named"),
        ({"adapters": ("a", "a")}, "each once"),
        ({"adapters": ("a", "b"), "method": "average"}, "no method 'average'"),
        ({"adapters": ("a", "b"), "weights": (1.0,)}, "for 2 adapters"),
        ({"adapters": ("a", "b"), "weights": (float("nan"), 1.0)}, "for 2 adapters"),
        ({"adapters": ("a", "b"), "rank": 0}, "rank is 0"),
        ({"adapters": ("a", "b"), "density": 0.0}, "density is 0"),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        Merge(**asked)  # type: ignore[arg-type]
    assert said in f"{caught.value.message} {caught.value.hint}"


def _layer(seed: int, scale: float = 2.0) -> Factors:
    chance = torch.Generator().manual_seed(seed)
    return Factors(
        a=torch.randn(RANK, IN, generator=chance), b=torch.randn(OUT, RANK, generator=chance) / OUT, scale=scale
    )
