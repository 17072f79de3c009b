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

from finetune.trainer import train
from tests.dying_runs import DEATHS, EPOCHS, live

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
Live = Callable[[str], dict[str, Any] | None]


@pytest.fixture
def lives(quick_folder: Path) -> Live:
    """One more life on the same home, to one of the named ends; what it told, or None if it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.dying_runs", "ui.platform", "torch", "transformers", "peft"])

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


def _copy(run: Path, to: Path) -> Path:
    to.mkdir()
    for name in ("config.json", "train.jsonl", "vectors.npy"):
        shutil.copy(run / name, to)
    return to
