"""What a run cost is told in words, all of it, wherever a run is shown to people."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.cost import told
from ui.commands.runs import people_run

COST: dict[str, Any] = {
    "train_seconds": 130.0,
    "evaluate_seconds": 12.34,
    "cpu_seconds": 250.0,
    "tokens": 12_345,
    "peak_memory_bytes": 812_000_000,
    "bytes": 1_240_000,
    "energy_wh_estimate": 1.042,
    "watts_per_core": 15.0,
}


def test_every_figure_of_a_cost_is_told() -> None:
    assert dict(told(COST)) == {
        "Training": "2.2 min",
        "Measuring": "12.3 s",
        "Processor time": "4.2 min",
        "Tokens read": "12,345",
        "Peak memory": "812 MB",
        "Size of the adapter": "1.2 MB",
        "Energy": "1.04 Wh at 15 W a core",
    }


def test_energy_that_nobody_could_estimate_is_not_passed_over_in_silence() -> None:
    assert dict(told(COST | {"energy_wh_estimate": None, "watts_per_core": None}))["Energy"] == "not estimated"
    assert told({"train_seconds": None}) == told({}) == []


def test_a_terminal_tells_the_cost_of_a_run_and_its_place_in_the_cycle(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = {"accepted": True, "reasons": ["passed: better"], "slices": []}
    run = {"run": "run-1", "state": "accepted", "adapter": "retriever-1", "verdict": verdict, "error": None}
    people_run(run | {"metrics": {"cost": COST}, "beside": "the other challenger of this cycle, run-2, is preferred"})
    said = capsys.readouterr().out
    assert "run-2, is preferred" in said
    assert "cost: training 2.2 min, measuring 12.3 s" in said
    assert "peak memory 812 MB, size of the adapter 1.2 MB, energy 1.04 Wh" in said
