"""A retrain, from request to verdict: draw, materialise, train in a child process, evaluate, judge.

    requested ──▶ drawn ──▶ trained ──▶ evaluated ──▶ accepted | rejected
         └───────────┴──────────┴────────────┴──────▶ failed

Each arrow is one transaction, and everything before it is in the run's folder; so a run whose process died goes on from
its state, and training from its last checkpoint. Serving is never touched: an adapter that comes out is a candidate.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update

from finetune.challengers import challengers
from finetune.gate import GatePolicy, judge
from finetune.kinds import BASE, CHAMPION, Kind, Options
from finetune.registry import Registry
from finetune.runs import Runs, read_json, write_json
from finetune.tables import Run
from kernel.audit import record
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.errors import NO_ROOM, DiskFull, Failed, RepriseError, UserError
from kernel.ids import fresh, now_ms
from kernel.jobs import Cancelled
from kernel.types import Progress
from rehearsal.mix import Mix, Mixer, Row
from rehearsal.tables import Example, MixRow

MOST_FROM_BASE = 20_000
"""Old examples that a challenger from the base practises, drawn by the policy where there are more."""
SECONDS_PER_EXAMPLE = 0.16
"""A first estimate of cost, on two cores; replaced by this platform's own runs once there is one."""


class Retrainer:
    """Runs retrains. One at a time per platform: their jobs share a key."""

    def __init__(
        self, db: Database, epochs: Epochs, mixer: Mixer, registry: Registry, runs: Runs, kinds: Mapping[str, Kind]
    ) -> None:
        self._db, self._epochs, self._mixer, self._registry = db, epochs, mixer, registry
        self._runs, self._kinds = runs, kinds
        self.step: Callable[[str], None] = lambda _name: None

    # --- asking ----------------------------------------------------------------------------------

    def request(self, kind: str, options: Options, workspace: str | None) -> str:
        """Enter a run; its id.

        Raises:
            UserError: a kind, policy or option there is none of, or nothing to train on.
        """
        self._kind(kind).check(options)
        self._parent(kind, options)
        self._draw(kind, options, workspace)  # says at once what would be wrong later
        run = fresh("run")
        with self._db.write() as session:
            session.add(
                Run(
                    id=run,
                    kind=kind,
                    state="requested",
                    workspace=workspace,
                    options=options.to_json(),
                    adapter=None,
                    parent=None,
                    epoch=None,
                    metrics={},
                    verdict=None,
                    error=None,
                    created=now_ms(),
                    finished=None,
                )
            )
            record(session, "retrain", run, kind=kind, **options.to_json())
        return run

    def challenge(self, run: str) -> str | None:
        """Enter the fresh challenger that the cycle of `run` owes, if it owes one; its id. Each names the other."""
        row = self._runs.get(run)
        if self._kind(row.kind).parent() is None:
            return None
        more = challengers(Options.from_json(row.options), self._runs.cycles(row.kind))[1:]
        if not more:
            return None
        sibling = self.request(row.kind, dataclasses.replace(more[0], sibling=run), row.workspace)
        with self._db.write() as session:
            options = row.options | {"sibling": sibling}
            session.execute(update(Run).where(Run.id == run).values(options=options))
        return sibling

    def preview(self, kind: str, options: Options, workspace: str | None) -> dict[str, Any]:
        """The mix of a run that would start now, and what it would cost. Changes nothing."""
        self._kind(kind).check(options)
        mix = self._draw(kind, options, workspace, empty_ok=True)
        with self._db.read() as session:
            ids = [row.example for row in mix.rows]
            questions = list(session.scalars(select(Example.question).where(Example.id.in_(ids))))
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
            "rho": options.rho,
            "rows": [asdict(row) for row in mix.rows],
            "excluded": mix.excluded,
            "cost": {
                "examples": len(mix.rows),
                "tokens": self._kind(kind).tokens(questions, options),
                "seconds_estimate": round(rate * len(mix.rows) + 10),
            },
        }

    # --- doing -----------------------------------------------------------------------------------

    def run(self, run: str, progress: Progress) -> dict[str, Any]:
        """Take a run from whatever state it is in to its verdict; its result. One that failed goes on where it stopped.

        Raises:
            TrainingFailed: training ended badly; the run says why, and nothing that serves was touched.
            DiskFull: there was no room; the run goes on from here once there is.
        """
        self._runs.revive(run)
        try:
            while (state := self._runs.get(run).state) in _STAGES:
                progress(_STAGES[state][1], 0, 0)
                _STAGES[state][0](self, run, progress)
                self.step(state)
        except Cancelled:
            self._runs.fail(
                run,
                {
                    "code": "cancelled",
                    "message": "the run was cancelled",
                    "hint": "start another when you like",
                },
            )
            raise
        except RepriseError as error:
            if not error.transient:
                self._runs.fail(run, error.as_json())
            raise
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in NO_ROOM
            known = DiskFull("the disk was full", hint=_FREE) if full else _fault(error)
            self._runs.fail(run, known.as_json())
            raise known from error
        return self._runs.result(run)

    def _stage_draw(self, run: str, _progress: Progress) -> None:
        row = self._runs.get(run)
        options = Options.from_json(row.options)
        mix = self._draw(row.kind, options, row.workspace)
        folder = self._runs.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "manifest.json", mix.to_json())
        with self._db.write() as session:
            session.execute(delete(MixRow).where(MixRow.run == run))
            session.add_all(MixRow(run=run, example=r.example, part=r.part) for r in mix.rows)
            session.execute(
                update(Run)
                .where(Run.id == run)
                .values(
                    state="drawn",
                    epoch=mix.epoch,
                    parent=self._parent(row.kind, options),
                    adapter=f"{row.kind}-{run[4:]}",
                )
            )

    def _stage_train(self, run: str, progress: Progress) -> None:
        row, folder = self._runs.get(run), self._runs.folder(run)
        mix = self._recheck(run)
        started = time.perf_counter()
        if not (folder / "adapter" / "manifest.json").exists():
            if not (folder / "config.json").exists():
                self._kind(row.kind).materialise(row, mix, folder)
            self._kind(row.kind).train(folder, progress)
        seconds = time.perf_counter() - started
        metrics = {"train_seconds": round(seconds, 1), "examples": len(mix.rows)}
        metrics |= _training_metrics(folder / "metrics.jsonl")
        metrics["seconds_per_example"] = round(seconds / max(1, len(mix.rows)), 4)
        with self._db.write() as session:
            session.execute(update(Run).where(Run.id == run).values(state="trained", metrics=metrics))
            _note_rehearsals(session, mix, folder / "losses.jsonl")
        (folder / "vectors.npy").unlink(missing_ok=True)  # what was needed for training alone does not stay
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    def _stage_evaluate(self, run: str, progress: Progress) -> None:
        row, folder = self._runs.get(run), self._runs.folder(run)
        mix = Mix.from_json(read_json(folder / "manifest.json"))
        evaluated = self._kind(row.kind).evaluate(row, mix, folder, progress)
        policy = GatePolicy()
        verdict = judge(
            evaluated.scores,
            evaluated.held_out,
            policy=policy,
            seed=row.options["seed"],
            metric=evaluated.metric,
            served_scores=evaluated.served,
        )
        metrics = row.metrics | dict(evaluated.metrics)
        told = verdict.to_json()
        write_json(folder / "report.json", {"verdict": told, "metrics": metrics, "policy": asdict(policy)})
        with self._db.write() as session:
            session.execute(update(Run).where(Run.id == run).values(state="evaluated", verdict=told, metrics=metrics))

    def _stage_decide(self, run: str, _progress: Progress) -> None:
        row, folder = self._runs.get(run), self._runs.folder(run)
        accepted = bool((row.verdict or {}).get("accepted"))
        with self._db.write() as session:
            parent = (row.options.get("merged") or [row.parent])[0]
            self._registry.add(session, str(row.adapter), row.kind, run, parent, folder / "adapter", accepted)
            state = "accepted" if accepted else "rejected"
            session.execute(update(Run).where(Run.id == run).values(state=state, finished=now_ms()))
            record(session, "gate", run, adapter=row.adapter, accepted=accepted)
        self._kind(row.kind).finish(row)

    # --- parts -----------------------------------------------------------------------------------

    def _draw(self, kind: str, options: Options, workspace: str | None, *, empty_ok: bool = False) -> Mix:
        lineage = self._registry.lineage(kind)
        with self._db.read() as session:
            practised = set(session.scalars(select(MixRow.example).where(MixRow.run.in_(lineage))))
        with self._epochs.one_index():

            def draw(rho: float) -> Mix:
                return self._mixer.draw(
                    policy=options.policy, rho=rho, seed=options.seed, workspace=workspace, practised=practised
                )

            mix = draw(options.rho if options.start != BASE else 0.0)
            if options.start == BASE and practised and mix.new:
                # From nothing, what is not practised is not known: a share of the memory would be a loss by design.
                old = min(len(practised), MOST_FROM_BASE)
                mix = draw(old / (old + mix.new))
        if options.merged:
            return dataclasses.replace(mix, rows=())  # it practises nothing
        if not mix.new and not empty_ok:
            raise UserError(
                "there is nothing new to train on",
                hint="import examples, or correct some answers; what the champion has seen is not new",
                code="nothing_new",
            )
        return mix

    def _kind(self, kind: str) -> Kind:
        if kind not in self._kinds:
            raise UserError(f"no adapter of kind {kind!r} can be trained", hint=f"there are: {', '.join(self._kinds)}")
        return self._kinds[kind]

    def _parent(self, kind: str, options: Options) -> str | None:
        """What the challenger is compared with, and starts from unless it starts from the base."""
        if options.start in (CHAMPION, BASE):
            return self._kind(kind).parent()
        self._registry.path(options.start)  # or there is none of that name
        return options.start

    def _recheck(self, run: str) -> Mix:
        """The mix without what went away since it was drawn; the manifest on disk says so."""
        file = self._runs.folder(run) / "manifest.json"
        mix = Mix.from_json(read_json(file))
        gone = set(self._mixer.gone(mix))
        if not gone:
            return mix
        rows: tuple[Row, ...] = tuple(row for row in mix.rows if row.example not in gone)
        excluded = mix.excluded | {"gone since the mix was drawn": len(gone)}
        mix = Mix.from_json(mix.to_json() | {"rows": [asdict(row) for row in rows], "excluded": excluded})
        if not (self._runs.folder(run) / "config.json").exists():
            write_json(file, mix.to_json())
            with self._db.write() as session:
                session.execute(delete(MixRow).where(MixRow.run == run, MixRow.example.in_(gone)))
            return mix
        # Training had started on rows that have no right to be there any more: it starts over without them.
        for name in ("config.json", "train.jsonl", "vectors.npy"):
            (self._runs.folder(run) / name).unlink(missing_ok=True)
        for name in ("checkpoints", "adapter"):
            shutil.rmtree(self._runs.folder(run) / name, ignore_errors=True)
        return self._recheck(run)


_FREE = "free some room and retry the job: the run goes on from where it was"


def _fault(error: Exception) -> Failed:
    hint = "this is a fault of Reprise: the log has the details; nothing that serves was touched"
    return Failed(f"{type(error).__name__}: {error}", hint=hint, code="internal")


_STAGES: dict[str, tuple[Callable[[Retrainer, str, Progress], None], str]] = {
    "requested": (Retrainer._stage_draw, "drawing the mix"),
    "drawn": (Retrainer._stage_train, "training"),
    "trained": (Retrainer._stage_evaluate, "evaluating"),
    "evaluated": (Retrainer._stage_decide, "judging"),
}


def _note_rehearsals(session: Any, mix: Mix, losses: Path) -> None:
    """What an example's history keeps: how often it was practised, and its last loss."""
    last = {}
    if losses.exists():
        last = {row["example"]: row["loss"] for row in map(json.loads, losses.read_text().splitlines())}
    for row in mix.rows:
        values: dict[str, Any] = {"rehearsed": Example.rehearsed + 1}
        if row.example in last:
            values["last_loss"] = last[row.example]
        session.execute(update(Example).where(Example.id == row.example).values(**values))


def _training_metrics(file: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not lines:
        return {}
    return {"steps": lines[-1]["step"], "first_loss": lines[0]["loss"], "last_loss": lines[-1]["loss"]}
