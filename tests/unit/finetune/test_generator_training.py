"""Training of generator adapters on a tiny model: what is learnt and kept, what is compared, what a kill leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import Said, TrainRow, read_config, read_train_set
from finetune.generator.trainer import main, train
from kernel.errors import DiskFull, TrainingFailed
from rehearsal.policies import n_old
from tests.facts import COLOURS, cleaning, colours, save_model, write_run

pytestmark = pytest.mark.timeout(600)
OLD, NEW = colours(40, 1), cleaning(40, 2)
OLD_HELD, NEW_HELD = colours(24, 3), cleaning(24, 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("facts") / "model")


@pytest.fixture(scope="module")
def champion(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that has learnt the old slice."""
    return train(write_run(tmp_path_factory.mktemp("champion") / "run", model, OLD))


def nll(model: str, adapter: Path | None, rows: Sequence[TrainRow]) -> float:
    """Mean negative log-likelihood per token of the right answers."""
    from finetune.generator.model import build
    from finetune.generator.tokens import tokenised
    from finetune.generator.training import likelihoods

    learner = build(model, GeneratorRecipe(rank=8), adapter, len(rows))
    made = [tokenised(row, learner.tokenizer, learner.stops, 512) for row in rows]
    found = likelihoods(learner, [one for one in made if one is not None])
    return -sum(found) / len(rows)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_an_adapter_learns_what_it_is_shown(model: str, champion: Path) -> None:
    assert nll(model, champion, OLD_HELD) < 0.5 * nll(model, None, OLD_HELD)


def test_rehearsal_keeps_what_training_on_new_rows_alone_forgets(model: str, champion: Path, tmp_path: Path) -> None:
    before, figures = nll(model, champion, OLD_HELD), {}
    for rho in (0.0, 0.2, 0.5):
        old = random.Random(0).sample(OLD, n_old(len(NEW), rho))
        rows = [*NEW, *(replace(row, part="recalled") for row in old)]
        run = write_run(tmp_path / str(rho), model, rows, champion, learning_rate=3e-3)
        adapter = train(run)
        figures[rho] = (nll(model, adapter, OLD_HELD), nll(model, adapter, NEW_HELD))
    lost = {rho: old - before for rho, (old, _) in figures.items()}
    assert lost[0.0] > 0.2
    assert lost[0.5] < lost[0.2] < 0.6 * lost[0.0]
    learnt = nll(model, champion, NEW_HELD)
    assert all(new < 0.5 * learnt for _, new in figures.values())


def test_the_manifest_says_what_an_adapter_was_made_of(champion: Path) -> None:
    manifest = json.loads((champion / "manifest.json").read_text())
    assert manifest["kind"] == "generator"
    assert len(manifest["base"]["sha256"]) == len(manifest["base"]["tokenizer_sha256"]) == 64
    assert manifest["data"]["rows"] == len(OLD)
    assert manifest["lora"] == {"r": 8, "alpha": 16, "dropout": 0.05}
    assert {"torch", "transformers", "peft", "trl"} <= set(manifest["versions"])
    config = json.loads((champion / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"  # no path of this machine


# --- preferences ---------------------------------------------------------------------------------------------------


def wrong(row: TrainRow) -> tuple[Said, ...]:
    (said,) = row.chosen
    other = next(c for c in COLOURS if c not in said.text)
    return (Said(text=f"It is {other}.", cites=said.cites),)


def test_dpo_starts_from_the_champion_and_moves_away_from_what_was_rejected(
    model: str, champion: Path, tmp_path: Path
) -> None:
    pairs = [replace(row, rejected=wrong(row)) for row in OLD[:24]]
    run = write_run(tmp_path / "dpo", model, pairs, champion, method="dpo", epochs=2)
    adapter = train(run)
    told = metrics(run)
    assert told[0]["rewards/margins"] == pytest.approx(0.0, abs=1e-4)  # measured from the champion itself
    assert told[-1]["rewards/margins"] > 0
    manifest = json.loads((adapter / "manifest.json").read_text())
    assert (manifest["method"], manifest["reference"]) == ("dpo", "before")
    assert sorted(load_file(adapter / "adapter_model.safetensors")) == sorted(
        load_file(champion / "adapter_model.safetensors")
    )


def test_a_reference_that_is_not_the_champion_ends_the_run(model: str, champion: Path, tmp_path: Path) -> None:
    from finetune.generator.checks import starts_from
    from finetune.generator.model import build
    from finetune.generator.tokens import tokenised
    from finetune.generator.trainers import trainer_of

    recipe = GeneratorRecipe.from_json({"method": "dpo", "threads": 1, "micro_batch": 4})
    learner = build(model, recipe, champion, 4)
    pairs = [replace(row, rejected=wrong(row)) for row in OLD[:4]]
    rows = [made for pair in pairs if (made := tokenised(pair, learner.tokenizer, learner.stops, 512))]
    trainer = trainer_of(learner, rows, recipe, tmp_path, warm=True, processes=1)
    starts_from(trainer, champion)
    with pytest.raises(TrainingFailed, match="the reference is not the champion"):
        starts_from(trainer, _other(champion, tmp_path / "other"))
    for name, weight in trainer.model.named_parameters():
        if ".default." in name and "lora_B" in name:
            weight.data.add_(0.05)
    with pytest.raises(TrainingFailed, match="policy and reference differ"):
        starts_from(trainer, champion)


def _other(champion: Path, folder: Path) -> Path:
    shutil.copytree(champion, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: w + 0.01 for name, w in weights.items()}, folder / "adapter_model.safetensors")
    return folder


def test_kto_learns_from_thumbs_alone(model: str, champion: Path, tmp_path: Path) -> None:
    votes = [v for row in OLD[:16] for v in (row, replace(row, chosen=wrong(row), label=False, part="vote"))]
    run = write_run(tmp_path / "kto", model, votes, champion, method="kto", epochs=2)
    adapter = train(run)
    assert metrics(run)[-1]["loss"] < metrics(run)[0]["loss"]
    manifest = json.loads((adapter / "manifest.json").read_text())
    assert manifest["data"]["votes"] == 16


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_an_adapter_on_four_bits_is_trained_as_it_is_and_in_float32(
    model: str, champion: Path, tmp_path: Path, method: str
) -> None:
    import torch

    from finetune.generator.checks import starts_from
    from finetune.generator.model import build
    from finetune.generator.tokens import tokenised
    from finetune.generator.trainers import trainer_of
    from retrieval.encoder import weights_of

    recipe = GeneratorRecipe.from_json({"method": method, "threads": 1})
    learner = build(model, recipe, champion, 4)
    learner.model.base_model.model.is_loaded_in_4bit = True  # by which TRL knows such a model
    pairs = [replace(row, rejected=wrong(row)) for row in OLD[:4]]
    rows = [made for pair in pairs if (made := tokenised(pair, learner.tokenizer, learner.stops, 512))]
    trainer = trainer_of(learner, rows, recipe, tmp_path, warm=True, processes=1)
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
    begins, was = weights_of(trainer.model, "default"), load_file(champion / "adapter_model.safetensors")
    assert all(torch.equal(begins[name], weight) for name, weight in was.items())
    if method != "sft":
        starts_from(trainer, champion)


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_one_process_trains_on_one_of_the_devices_that_it_sees(
    model: str, champion: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainingArguments

    from finetune.generator.model import build
    from finetune.generator.tokens import tokenised
    from finetune.generator.trainers import trainer_of

    settled = TrainingArguments.__post_init__

    def sees_two(arguments: Any) -> None:
        settled(arguments)
        arguments._n_gpu = 2  # as on a machine that has them

    monkeypatch.setattr(TrainingArguments, "__post_init__", sees_two)
    recipe = GeneratorRecipe.from_json({"method": method, "threads": 1, "batch": 4})
    learner = build(model, recipe, champion, 4)
    pairs = [replace(row, rejected=wrong(row)) for row in OLD[:4]]
    rows = [made for pair in pairs if (made := tokenised(pair, learner.tokenizer, learner.stops, 512))]
    trainer = trainer_of(learner, rows, recipe, tmp_path, warm=True, processes=1)
    assert (trainer.args.n_gpu, trainer.args.train_batch_size) == (1, 4)


@pytest.mark.parametrize(("rows", "batch"), [(9, 4), (7, 3)])
def test_no_vote_is_compared_with_itself_and_a_step_has_as_many_as_were_asked_for(
    model: str, champion: Path, tmp_path: Path, rows: int, batch: int
) -> None:
    from finetune.generator.model import build
    from finetune.generator.tokens import tokenised
    from finetune.generator.trainers import steps_of, trainer_of

    recipe = GeneratorRecipe.from_json({"method": "kto", "threads": 1, "batch": batch, "micro_batch": 8})
    learner = build(model, recipe, champion, rows)
    votes = [replace(row, chosen=(Said(text=f"It is {n} days."),)) for n, row in enumerate(OLD[:rows])]
    made = [one for vote in votes if (one := tokenised(vote, learner.tokenizer, learner.stops, 512))]
    assert len({tuple(one.chosen) for one in made}) == rows
    trainer = trainer_of(learner, made, recipe, tmp_path, warm=True, processes=1)
    assert all(row["KL_completion_ids"] != row["completion_ids"] for row in trainer.train_dataset)
    assert trainer.args.per_device_train_batch_size * trainer.args.gradient_accumulation_steps == batch
    assert steps_of(rows, recipe, 1) == (-(-rows // batch), 1)


# --- what a kill, a number that is none and a full disk leave ---------------------------------------------------------


DYING = """
import sys
from tests.dying_runs import train_until
train_until(8, sys.argv[1], "finetune.generator.trainer", "finetune.generator.checks")
"""


@pytest.fixture(scope="module")
def killed(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed, by the system's own means, behind its first checkpoints."""
    run = write_run(tmp_path_factory.mktemp("killed") / "run", model, OLD)
    paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command, quiet = [sys.executable, "-c", DYING, str(run)], subprocess.DEVNULL
    child = subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, env=os.environ | paths, timeout=240)
    assert child.returncode == -signal.SIGKILL
    assert not (run / "adapter").exists()
    assert list((run / "checkpoints").glob("checkpoint-*/complete.json"))
    return run


def copy(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder)
    return folder


def test_a_killed_run_ends_as_if_it_had_not_been_killed(killed: Path, champion: Path, tmp_path: Path) -> None:
    run = copy(killed, tmp_path / "run")
    resumed, whole = (load_file(f / "adapter_model.safetensors") for f in (train(run), champion))
    assert resumed.keys() == whole.keys()
    for name, weight in whole.items():
        assert resumed[name].numpy() == pytest.approx(weight.numpy(), abs=1e-5), name
    assert [line["step"] for line in metrics(run)] == list(range(1, 16))


def last_checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").glob("checkpoint-*"), key=lambda f: int(f.name.split("-")[1]))


def test_a_half_written_checkpoint_is_none(killed: Path, tmp_path: Path) -> None:
    from finetune.generator.checks import complete

    run = copy(killed, tmp_path / "run")
    whole = last_checkpoint(run)
    told = json.loads((whole / "complete.json").read_text())
    half = copy(whole, run / "checkpoints" / "checkpoint-99")
    (half / "complete.json").unlink()
    assert complete(run / "checkpoints", told["digest"]) == whole
    assert not half.exists()
    assert complete(run / "checkpoints", "of other data") is None
    assert not whole.exists()  # what was trained on other data does not stay


@pytest.mark.parametrize("harm", ["probe", "weights"])
def test_a_run_that_does_not_continue_where_it_was_fails(harm: str, killed: Path, tmp_path: Path) -> None:
    run = copy(killed, tmp_path / "run")
    checkpoint = last_checkpoint(run)
    if harm == "probe":
        told = json.loads((checkpoint / "complete.json").read_text())
        (checkpoint / "complete.json").write_text(json.dumps(told | {"probe": told["probe"] + 1}))
    else:
        weights = load_file(checkpoint / "adapter_model.safetensors")
        save_file({name: w * 0 for name, w in weights.items()}, checkpoint / "adapter_model.safetensors")
    with pytest.raises(TrainingFailed, match=r"does not continue|was not taken up"):
        train(run)
    assert not (run / "adapter").exists()


def test_a_number_that_is_none_ends_the_run_and_is_not_learnt_from(model: str, champion: Path, tmp_path: Path) -> None:
    broken = copy(champion, tmp_path / "broken")
    weights = load_file(broken / "adapter_model.safetensors")
    save_file({name: w * float("inf") for name, w in weights.items()}, broken / "adapter_model.safetensors")
    run = write_run(tmp_path / "run", model, OLD[:8], broken)
    assert main([str(run)]) == 3
    assert json.loads((run / "error.json").read_text())["code"] == "diverged"
    assert not (run / "adapter").exists()


def test_a_full_disk_ends_the_run_and_it_can_go_on(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune.generator import checks

    def full(folder: Path, wanted: int) -> None:
        raise DiskFull("no room", hint="make some")

    run = write_run(tmp_path / "run", model, OLD[:8], epochs=1)
    with monkeypatch.context() as patched:
        patched.setattr(checks, "require_room", full)
        assert main([str(run)]) == 4
    assert not (run / "adapter").exists()
    assert main([str(run)]) == 0
    assert (run / "adapter" / "manifest.json").exists()
    assert not (run / "error.json").exists()


def test_a_row_whose_passage_was_deleted_is_not_trained_on(model: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", model, OLD[:4])
    lines = (run / "passages.jsonl").read_text().splitlines()
    (run / "passages.jsonl").write_text("".join(f"{line}\n" for line in lines[1:]))
    data = read_train_set(run)
    assert (len(data.rows), data.broken) == (3, (OLD[0].example,))
    assert read_config(run).recipe.rank == 8
