"""A recipe is data that can be stored and read again, and it names all of its problems at once."""

from __future__ import annotations

import json

import pytest

from finetune.recipe import RetrieverRecipe
from kernel.errors import UserError


def test_a_recipe_survives_json() -> None:
    recipe = RetrieverRecipe(rank=8, target_modules=("query",), ema=0.99, precision="float32")
    assert RetrieverRecipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_what_is_not_named_keeps_its_default() -> None:
    assert RetrieverRecipe.from_json({"epochs": 2}) == RetrieverRecipe(epochs=2)


def test_training_goes_on_from_a_champion_at_a_lower_rate() -> None:
    recipe = RetrieverRecipe()
    assert recipe.rate(warm=True) < recipe.rate(warm=False)


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(UserError) as caught:
        RetrieverRecipe.from_json({"rnak": 8, "rank": 0, "epochs": 2.5, "precision": "int4", "dropout": True})
    told = caught.value.message
    assert "4 problem(s)" not in told
    assert "5 problem(s)" in told
    for part in (
        "rnak: no such setting",
        "rank = 0: expected 1 to 512",
        "epochs = 2.5: expected a whole number",
        "precision = 'int4': expected auto, float32 or bfloat16",
        "dropout = True: expected a number",
    ):
        assert part in told


@pytest.mark.parametrize(("rows", "rank"), [(1, 16), (1_999, 16), (2_000, 32), (20_000, 64), (10**7, 64)])
def test_more_rows_get_a_larger_rank_and_alpha_is_twice_that(rows: int, rank: int) -> None:
    sized = RetrieverRecipe().sized(rows)
    assert (sized.rank, sized.alpha) == (rank, 2 * rank)


def test_a_warm_start_keeps_the_shape_of_its_champion_and_a_given_rank_stands() -> None:
    warm = RetrieverRecipe().sized(50_000, champion=(16, 48))
    assert (warm.rank, warm.alpha) == (16, 48)
    given = RetrieverRecipe(rank=8).sized(50_000, champion=(16, 48))
    assert (given.rank, given.alpha) == (8, 16)


@pytest.mark.parametrize("field", ["learning_rate", "temperature", "clip", "distill"])
def test_a_setting_that_is_no_number_is_refused(field: str) -> None:
    with pytest.raises(UserError, match=field):
        RetrieverRecipe.from_json({field: float("nan")})
