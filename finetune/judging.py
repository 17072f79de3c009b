"""Judging one trained run: its kind evaluates, the gate judges, and what was lost is probed. It changes no state.

A retrain does it once, at the end of its training (`retrain`); a run whose rival has left is judged again (`rejudge`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from finetune.facts import Facts
from finetune.files import read_json
from finetune.gate import GatePolicy, Verdict, judge
from finetune.kinds import Kind
from finetune.policies import GatePolicies
from finetune.probe import Probing, lost_slices
from finetune.quoted import note
from finetune.tables import Run
from kernel.epochs import Epochs
from kernel.errors import RepriseError
from kernel.types import Progress
from rehearsal.mix import Mix

RECOVERY = "recovery"
"""In a run's metrics: what practice brought back of the slices that it lost, where it lost any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What came of it."""

    verdict: Verdict
    metrics: dict[str, Any]
    """What evaluating measured and took, to be laid over what is known of the run."""
    policy: GatePolicy
    names: Mapping[str, str] = field(default_factory=dict)
    """Of the documents that its reasons may quote, by id; it is noted which they do (`quoted`)."""


class Judge:
    """Evaluates and judges runs whose training is over."""

    def __init__(self, epochs: Epochs, kinds: Mapping[str, Kind], policies: GatePolicies, facts: Facts) -> None:
        self._epochs, self._kinds, self._policies, self._facts = epochs, kinds, policies, facts

    def judge(self, row: Run, folder: Path, progress: Progress) -> Judged:
        """The verdict on a run against `row.parent`, and its figures in the run's folder.

        Raises whatever its kind's evaluation raises. A probe that fails is a note of the verdict, unless trying again
        may help.
        """
        mix = Mix.from_json(read_json(folder / "manifest.json"))
        kind, policy, started = self._kinds[row.kind], self._policies.of(row.kind, row.workspace), time.perf_counter()
        evaluated = kind.evaluate(row, mix, folder, progress)
        if row.options.get("without"):  # it takes the place of what knows more: to lose nothing else is enough
            policy = replace(policy, gain=False)
            evaluated = replace(evaluated, held_out=[replace(e, part="old", renewed=False) for e in evaluated.held_out])
        standing = self._facts.standing(
            row, mix, folder, champion=kind.parent(), held_out=evaluated.held_out, known=evaluated.standing
        )
        verdict = judge(
            evaluated.scores,
            evaluated.held_out,
            policy=policy,
            seed=row.options["seed"],
            metric=evaluated.metric,
            served_scores=evaluated.served,
            legs=evaluated.legs,
            wrong=evaluated.wrong,
            pulled=evaluated.pulled,
            repeats=evaluated.repeats,
            standing=standing,
            works=evaluated.works,
            origins=self._facts.origins(evaluated.held_out),
        )
        self._facts.keep(folder, evaluated.metric, evaluated.scores, evaluated.held_out, self._epochs.committed())
        metrics = dict(evaluated.metrics) | {"evaluate_seconds": round(time.perf_counter() - started, 1)}
        lost = lost_slices(verdict, evaluated.held_out, policy.min_slice)
        if (
            lost and isinstance(kind, Probing) and not row.options.get("control")
        ):  # of a control nothing is to be learnt
            try:
                recoveries = kind.probe(row, folder, lost, progress)
            except RepriseError as error:  # it explains a verdict, and must not cost one
                if error.transient:
                    raise
                verdict = verdict.noting([f"the probe of what it lost failed: {' '.join(error.message.split())}"])
            else:
                metrics[RECOVERY] = [asdict(r) | {"share": r.share} for r in recoveries]
                verdict = verdict.noting([r.said for r in recoveries])
        note(folder, evaluated.names, verdict.reasons)
        return Judged(verdict=verdict, metrics=metrics, policy=policy, names=evaluated.names)
