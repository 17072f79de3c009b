"""Drawing the mix of a retrain: gather a pool, take a virtual step where the policy wants one, pick; and its preview.

    gather ──▶ measure (a child process, thrown away) ──▶ pick

What is measured and how is the kind's business; what is picked is the policy's. A preview draws as a run would, and
changes nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from finetune.kinds import BASE, CHAMPION, Kind, Measures, Options
from finetune.registry import Registry
from finetune.runs import Runs
from finetune.tables import Run
from kernel.database import Database, listed
from kernel.epochs import Epochs
from kernel.errors import UserError
from kernel.ids import now_ms
from kernel.types import Progress, silent
from rehearsal.controller import Replay
from rehearsal.mix import Mix, Mixer, Rise
from rehearsal.policies import MEASURED
from rehearsal.policies.interference import worth_measuring
from rehearsal.policies.picks import CYCLES
from rehearsal.pool import Pool
from rehearsal.tables import Example, MixRow

SECONDS_PER_EXAMPLE = 0.16
"""A first estimate of cost, on two cores; replaced by this platform's own runs once there is one."""


class Drawing:
    """Draws mixes for runs and previews."""

    def __init__(
        self, db: Database, epochs: Epochs, mixer: Mixer, registry: Registry, runs: Runs, kinds: Mapping[str, Kind]
    ) -> None:
        self._db, self._epochs, self._mixer, self._registry = db, epochs, mixer, registry
        self._runs, self._kinds = runs, kinds

    def kind(self, kind: str) -> Kind:
        """The kind of that name.

        Raises:
            UserError: there is none.
        """
        if kind not in self._kinds:
            raise UserError(f"no adapter of kind {kind!r} can be trained", hint=f"there are: {', '.join(self._kinds)}")
        return self._kinds[kind]

    def mix(
        self,
        kind: str,
        options: Options,
        workspace: str | None,
        *,
        measure: bool | None = None,
        empty_ok: bool = False,
        progress: Progress = silent,
    ) -> Mix:
        """The mix of a run that would start now.

        `measure` None takes a virtual step where the policy chooses by it, or a person will look at the mix; True
        takes it anyway.

        Raises:
            UserError: no such policy, nothing new to train on, or an adapter of another kind to start from.
            NotFound: no such adapter to start from.
        """
        if options.start not in (CHAMPION, BASE) and (of := self._registry.kind_of([options.start])) != kind:
            hint = f"name one of the {kind} to go on from"
            raise UserError(f"{options.start!r} is an adapter of the {of}", hint=hint)
        if options.merged:  # it practises nothing: what it is compared on is asked when it is evaluated
            return Mix(
                epoch=self._epochs.committed(), workspace=workspace, policy=options.policy, rho=0.0, seed=options.seed,
                rows=(), excluded={},
            )  # fmt: skip
        lineage = self._registry.runs_behind(options.origin(self.kind(kind).parent()))
        with self._db.read() as session:
            practised = set(session.scalars(select(MixRow.example).where(MixRow.run.in_(lineage))))
            lately = MixRow.run.in_(lineage[:CYCLES]), MixRow.part == "recalled"
            recent = Counter(session.scalars(select(MixRow.example).where(*lately)))
            last = session.get(Run, lineage[0]) if lineage else None
        with self._epochs.one_index():
            pool = self._mixer.pools.gather(
                options.policy,
                kind=kind,
                workspace=workspace,
                practised=practised,
                seed=options.seed + len(lineage),  # or every cycle would recall the same rows again
                replay=_replay(options),
                recent=recent,
                without=options.without,
                suited=self.kind(kind).suited(options.method, options.policy),
            )
        if not pool.new.examples and not empty_ok:
            if pool.unsuited:
                self.kind(kind).suffices(options, workspace, [])  # which says more of what a method needs
            said = f": {pool.unsuited} examples stand {pool.lacking}" if pool.unsuited else ""
            raise UserError(
                f"there is nothing new to train on{said}",
                hint="import examples, or correct some answers; what the champion has seen is not new",
                code="nothing_new",
            )
        wanted = options.policy in MEASURED or options.hold if measure is None else measure
        rises = self._rises(kind, options, pool, progress) if wanted and options.measure else {}
        with self._epochs.one_index():
            since = (last.finished or last.created) if last else 0
            return self._mixer.pick(pool, rises, since=since, epoch=(last.epoch or 0) if last else 0)

    def preview(self, kind: str, options: Options, workspace: str | None, *, measure: bool = False) -> dict[str, Any]:
        """The mix of a run that would start now, and what it would cost. Changes nothing.

        Without `measure` nothing is trained, and rows that a run would choose by interference are chosen by likeness.
        """
        self.kind(kind).check(options)
        mix = self.mix(kind, options, workspace, measure=measure, empty_ok=True)
        told = mix.to_json()
        with self._db.read() as session:
            ids = [row.example for row in mix.rows]
            questions = list(session.scalars(select(Example.question).where(Example.id.in_(listed(ids)))))
            ended = select(Run).where(Run.finished.is_not(None), Run.kind == kind)
            done = list(session.scalars(ended.order_by(Run.created.desc()).limit(5)))
        rates = sorted(r.metrics["seconds_per_example"] for r in done if r.metrics.get("seconds_per_example"))
        rate = rates[len(rates) // 2] if rates else SECONDS_PER_EXAMPLE
        return {
            "kind": kind,
            "policy": options.policy,
            "epoch": mix.epoch,
            "new": mix.new,
            "recalled": mix.recalled,
            "short": mix.short,
            "rho": options.rho,
            "replay": mix.replay,
            "rows": told["rows"],
            "excluded": mix.excluded,
            "interference": told["interference"] if mix.interference else None,
            "regrounded": told["regrounded"],
            "evicted": told["evicted"],
            "cost": {
                "examples": len(mix.rows),
                "tokens": self.kind(kind).tokens(questions, options),
                "seconds_estimate": round(rate * len(mix.rows) + 10),
            },
        }

    def _rises(self, kind: str, options: Options, pool: Pool, progress: Progress) -> Mapping[str, Rise]:
        """What a virtual step does to the rows that are worth measuring; empty for a kind that takes none."""
        measures = self.kind(kind)
        if not isinstance(measures, Measures):
            return {}
        examples = worth_measuring(pool.old, pool.new, min(pool.wanted, len(pool.old)), pool.seed)
        if not examples:
            return {}
        progress("measuring interference", 0, 0)
        run = Run(
            id="virtual",
            kind=kind,
            state="drawn",
            workspace=pool.workspace,
            options=replace(options, control=None).to_json(),
            parent=self.kind(kind).parent(),
            created=now_ms(),
        )
        # Among the runs' folders, where a start removes what no run owns: it holds words while it is there.
        runs = self._runs.folder("virtual").parent
        runs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="virtual-", dir=runs))
        try:
            return measures.rises(run, self._mixer.virtual(pool, examples), folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _replay(options: Options) -> Replay:
    reasons = options.because or (f"rho {options.rho:.2f}: as asked",)
    return Replay(rho=options.rho, slices=options.slices, reasons=tuple(reasons))
