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


@pytest.mark.parametrize("field", ["learning_rate", "temperature", "clip", "distill"])
def test_a_setting_that_is_no_number_is_refused(field: str) -> None:
    with pytest.raises(UserError, match=field):
        RetrieverRecipe.from_json({field: float("nan")})
