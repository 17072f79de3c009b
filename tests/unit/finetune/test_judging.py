"""A verdict stands whatever becomes of the probe that explains it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetune.gate import GatePolicy, HeldOut
from finetune.judging import RECOVERY, Judge, Judged
from finetune.kinds import Evaluation
from finetune.probe import Recovery
from kernel.errors import TryAgain, UserError
from kernel.running import Cancelled, TakenAway
from kernel.types import silent
from rehearsal.mix import Mix

Fake: Any = SimpleNamespace
BACK = Recovery(slice="billing", n=20, steps=12, before=0.5, lost=0.1, after=0.46)


def test_a_probe_that_fails_leaves_the_verdict_as_it_is_with_a_note_of_why(tmp_path: Path) -> None:
    whole = _judged(tmp_path, [BACK])
    failed = _judged(tmp_path, UserError("the recipe has 1 problem(s):\n  weights: no such setting"))
    assert whole.verdict.reasons[-1] == f"note: {BACK.said}"
    assert failed.verdict.reasons == [
        *whole.verdict.reasons[:-1],
        "note: the probe of what it lost failed: the recipe has 1 problem(s): weights: no such setting",
    ]
    assert failed.verdict.refused_by == whole.verdict.refused_by == ["old"]
    assert failed.verdict.slices == whole.verdict.slices
    assert (RECOVERY in whole.metrics, RECOVERY in failed.metrics) == (True, False)


@pytest.mark.parametrize("error", [TryAgain("the index moved"), Cancelled(), TakenAway()])
def test_a_probe_that_is_cancelled_or_may_succeed_again_is_no_verdict(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)):
        _judged(tmp_path, error)


def _judged(folder: Path, of_the_probe: list[Recovery] | Exception) -> Judged:
    """A challenger that gained what is new and lost an old slice."""
    mix = Mix(epoch=1, workspace=None, policy="mixed", rho=0.2, seed=0, rows=(), excluded={})
    (folder / "manifest.json").write_text(json.dumps(mix.to_json()))
    asked = [HeldOut(example=f"new-{i}", slice="contracts", part="new") for i in range(40)]
    asked += [HeldOut(example=f"old-{i}", slice="billing", part="old") for i in range(20)]
    champion = {e.example: 0.5 for e in asked}
    challenger = {e.example: 0.7 if e.part == "new" else 0.1 for e in asked}
    scores = {"base": champion, "champion": champion, "challenger": challenger}

    def probe(*_: Any) -> list[Recovery]:
        if isinstance(of_the_probe, Exception):
            raise of_the_probe
        return of_the_probe

    kind = Fake(
        parent=lambda: "champion",
        evaluate=lambda *_: Evaluation(held_out=asked, scores=scores, metric="ndcg@10"),
        probe=probe,
    )
    facts = Fake(standing=lambda *_, **__: None, origins=lambda asked: {}, keep=lambda *_: None)
    policies = Fake(of=lambda kind, workspace: GatePolicy())
    run = Fake(kind="retriever", workspace=None, options={"seed": 0})
    return Judge(Fake(committed=lambda: 1), {"retriever": kind}, policies, facts).judge(run, folder, silent)
