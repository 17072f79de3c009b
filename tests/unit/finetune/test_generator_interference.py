"""The virtual step of a generator: what learning the new would do to the old, told beforehand and thrown away."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.generator.interference import CHILD, MOST_MEASURED, bounded, main, measure
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import read_config, read_train_set
from finetune.generator.trainer import train
from finetune.interference import STEPS, measured
from rehearsal.mix import Mix, Row
from tests.facts import cleaning, colours, save_model, write_run

pytestmark = pytest.mark.timeout(600)
OLD = [replace(row, part="recalled") for row in colours(16, 5)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("facts") / "model")


@pytest.fixture(scope="module")
def champion(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that has learnt the old slice."""
    return train(write_run(tmp_path_factory.mktemp("champion") / "run", model, colours(40, 1)))


def test_other_answers_raise_the_loss_of_old_ones_and_more_of_the_same_does_not(
    model: str, champion: Path, tmp_path: Path
) -> None:
    mean = {}
    for name, new in (("other", cleaning(40, 2)), ("same", colours(40, 3))):
        run = write_run(tmp_path / name, model, [*new, *OLD], champion)
        rises = measure(run, read_config(run), read_train_set(run))
        assert set(rises) == {row.example for row in OLD}
        mean[name] = sum(rise.by for rise in rises.values()) / len(rises)
    assert mean["other"] > 0.1
    assert mean["same"] < 0.5 * mean["other"]


def test_the_child_tells_the_same_as_often_as_it_is_asked_and_leaves_no_adapter(
    model: str, champion: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", model, [*cleaning(8, 2), *OLD], champion, method="dpo")
    found = measured(run, CHILD)
    assert main([str(run)]) == 0
    again = json.loads((run / "rises.json").read_text())
    assert {e: rise.after for e, rise in found.items()} == pytest.approx({e: r["after"] for e, r in again.items()})
    assert not (run / "adapter").exists()
    assert not (run / "losses.jsonl").exists()


def test_nothing_is_told_where_there_is_nothing_new_or_nothing_old(model: str, tmp_path: Path) -> None:
    for name, rows in (("new", cleaning(4, 2)), ("old", OLD)):
        run = write_run(tmp_path / name, model, rows)
        assert measure(run, read_config(run), read_train_set(run)) == {}


def test_a_folder_that_is_none_costs_the_measurement_and_not_the_mix(tmp_path: Path) -> None:
    assert measured(tmp_path, CHILD) == {}


def test_a_step_reads_no_more_than_it_learns_from_and_the_same_part_for_the_same_seed() -> None:
    rows = tuple(
        Row(example=f"ex-{part}-{n}", part=part, reason="", slice="s", digest="")
        for part in ("new", "recalled")
        for n in range(500)
    )
    mix = Mix(epoch=1, workspace=None, policy="mir", rho=0.5, seed=3, rows=rows, excluded={})
    some = bounded(mix, batch=8)
    assert (some.new, some.recalled) == (8 * STEPS, MOST_MEASURED)
    assert some == bounded(replace(mix, rows=rows[::-1]), batch=8)
    assert some != bounded(replace(mix, seed=4), batch=8)


@pytest.mark.parametrize(("rows", "epochs"), [(8, 10), (16, 10), (40, 4), (1000, 1), (0, 10)])
def test_a_brief_training_is_one_of_answers_for_about_as_many_steps(rows: int, epochs: int) -> None:
    asked = GeneratorRecipe(method="kto", learning_rate=1e-6, processes=4, rank=4)
    brief = asked.brief(rows, STEPS)
    assert (brief.method, brief.learning_rate, brief.processes, brief.epochs) == ("sft", None, 1, epochs)
    assert brief.rank == 4
    assert replace(asked, method="sft").brief(rows, STEPS).learning_rate == 1e-6
