"""A retrain that dies at every stage comes to the verdict it would have come to, and never shows half an adapter."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.files import read_lines
from finetune.trainer import train
from tests import dying_writers
from tests.dying_runs import DEATHS, ENOUGH, EPOCHS, live
from tests.tiny import save_reader

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
Live = Callable[[str], dict[str, Any] | None]
PRELOADED = ["tests.dying_writers", "ui.platform", "torch", "transformers", "peft", "finetune.generator.training"]
"""What every life begins with; the forkserver is one for all tests of a process."""


@pytest.fixture
def lives(quick_folder: Path) -> Live:
    """One more life on the same home, to one of the named ends; what it told, or None if it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)

    def once(points: str) -> dict[str, Any] | None:
        file = quick_folder / "told.json"
        file.unlink(missing_ok=True)
        child = context.Process(target=live, args=(quick_folder / "home", points))
        child.start()
        child.join(600)
        assert child.exitcode in (0, -signal.SIGKILL)
        child.close()
        return json.loads(file.read_text()) if file.exists() else None

    return once


def test_a_run_that_dies_at_every_stage_comes_to_the_same_verdict(
    lives: Live, quick_folder: Path, tmp_path: Path
) -> None:
    runs = quick_folder / "home" / "runs"
    for point in ("draw", "materialise"):
        assert lives(point) is None
        (run,) = runs.iterdir()
        assert not (run / "config.json").exists(), "what is not complete does not look so"

    told = lives("full")
    assert told is not None
    assert told["error"]["kind"] == "DiskFull", told
    assert told["error"]["run"]["state"] == "failed"
    assert told["error"]["run"]["error"]["code"] == "disk_full"
    assert (run / "train.jsonl").stat().st_size < (run / "vectors.npy").stat().st_size == ENOUGH
    assert not (run / "config.json").exists()

    assert lives("training") is None
    assert not (run / "adapter").exists()
    undisturbed = _copy(run, tmp_path / "undisturbed")

    assert lives("child evaluate") is None
    assert (run / "deaths").read_text() == str(len(DEATHS.split(",")) + 1)
    for point in ("report", "decide"):
        assert lives(point) is None
    told = lives("")
    assert told is not None
    assert told["listed"] == [], "no adapter is listed before its run has decided"
    assert told["state"] == "evaluated", "it went on from the last stage that was done"
    assert [a["adapter"] for a in told["after"]] == [told["result"]["adapter"]]
    assert told["result"]["state"] in ("accepted", "rejected")
    assert all(s["n"] for s in told["result"]["verdict"]["slices"])

    train(undisturbed)
    for name in ("adapter/adapter_model.safetensors", "losses.jsonl"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes()
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) % EPOCHS == 0


HOLDING = ("materialise", "training", "trained")
"""Ends at which a folder holds passages."""
EVERY = ("draw", "materialise", "training", "trained", "evaluate", "report", "decide")


def test_a_generator_that_dies_at_every_stage_learns_what_it_would_have_learnt(quick_folder: Path) -> None:
    folder, home = quick_folder, quick_folder / "home"
    texts = [
        *dying_writers.TEXTS.values(),
        *(asked.format(t) for t in dying_writers.COLOUR for asked in dying_writers.ASKED),
    ]
    save_reader(folder / dying_writers.MODEL, [*texts, "It is . Clean the house."], context=900)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    for point in (*EVERY, ""):
        child = context.Process(target=dying_writers.live, args=(home, point))
        child.start()
        child.join(600)
        assert child.exitcode == (-signal.SIGKILL if point else 0), point
        (run,) = (home / "runs").iterdir()
        assert (run / "passages.jsonl").exists() == (point in HOLDING), "what training alone needs does not stay"
        if point == "training":
            assert not (run / "adapter").exists()
            assert any((checkpoint / "complete.json").exists() for checkpoint in (run / "checkpoints").iterdir())
            undisturbed = _copy(run, folder / dying_writers.ASIDE, "passages.jsonl")
    told = json.loads((folder / "told.json").read_text())
    assert told["state"] == "evaluated", "it went on from the last stage that was done"
    assert [a["adapter"] for a in told["after"]] == [told["result"]["adapter"]]
    assert all(s["n"] for s in told["result"]["verdict"]["slices"])
    assert (run / "adapter" / "README.md").exists()

    rows, losses = read_lines(run / "train.jsonl"), read_lines(run / "losses.jsonl")
    assert {row["part"] for row in rows} == {"new", "vote"}
    assert {row["example"] for row in rows} == {line["example"] for line in losses}
    steps = [line["step"] for line in read_lines(run / "metrics.jsonl")]
    assert steps == list(range(1, len(steps) + 1))
    before = {line["example"]: line["loss"] for line in read_lines(undisturbed / "losses.jsonl")}
    assert {line["example"]: line["loss"] for line in losses} == pytest.approx(before, abs=0.02)


def _copy(run: Path, to: Path, read: str = "vectors.npy") -> Path:
    to.mkdir()
    for name in ("config.json", "train.jsonl", read):
        shutil.copy(run / name, to)
    return to
