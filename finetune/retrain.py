"""A retrain, from request to verdict: draw, materialise, train in a child process, evaluate, judge.

    requested ──▶ drawn ──▶ trained ──▶ evaluated ──▶ accepted | rejected
         │          ▲
         ├──▶ proposed ──▶ declined          (options.hold: the mix waits for a person, see `proposals`)
         └───────────┴──────────┴────────────┴──────▶ failed

Each arrow is one transaction, and everything before it is in the run's folder; so a run whose process died goes on from
its state, and training from its last checkpoint. Serving is never touched: an adapter that comes out is a candidate.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from finetune.card import Cards
from finetune.challengers import challengers
from finetune.cost import cost
from finetune.drawing import Drawing
from finetune.erase import catch_up
from finetune.files import no_room, read_json, write_json
from finetune.judging import Judge
from finetune.kinds import Kind, Options
from finetune.lineage import Lineage
from finetune.practised import LEFT_OUT, LOSSES, left_out, practised, strike
from finetune.registry import Registry
from finetune.rival import about
from finetune.runs import Runs
from finetune.tables import Run
from kernel.audit import record
from kernel.database import Database, listed
from kernel.epochs import Epochs
from kernel.errors import DiskFull, Failed, RepriseError, UserError
from kernel.ids import fresh, now_ms
from kernel.jobs import Cancelled, TakenAway
from kernel.types import Progress
from rehearsal.history import note_rehearsed
from rehearsal.mix import Mix, Mixer, Row
from rehearsal.tables import Example, MixRow


class Retrainer:
    """Runs retrains. One at a time per platform: their jobs share a key."""

    def __init__(
        self,
        db: Database,
        epochs: Epochs,
        mixer: Mixer,
        registry: Registry,
        runs: Runs,
        kinds: Mapping[str, Kind],
        judge: Judge,
        lineage: Lineage,
        cards: Cards,
        watts: float | None = None,
    ) -> None:
        """`watts` is what one busy core draws; without it no energy is estimated."""
        self._db, self._epochs, self._mixer, self._registry = db, epochs, mixer, registry
        self._runs, self._judge, self._watts = runs, judge, watts
        self._lineage, self._cards = lineage, cards
        self.drawing = Drawing(db, epochs, mixer, registry, runs, kinds)
        self._kind = self.drawing.kind
        self.step: Callable[[str], None] = lambda _name: None

    # --- asking ----------------------------------------------------------------------------------

    def request(self, kind: str, options: Options, workspace: str | None) -> str:
        """Enter a run; its id.

        Raises:
            UserError: a kind, policy or option there is none of, or nothing to train on.
        """
        self._kind(kind).check(options)
        mix = self.drawing.mix(kind, options, workspace, measure=False)  # says at once what would be wrong later
        self._kind(kind).suffices(options, workspace, [row.example for row in mix.rows])
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
        try:
            self._kind(row.kind).check(more[0])
        except UserError:  # what can only go on from the champion, as DPO does, owes none
            return None
        sibling = self.request(row.kind, replace(more[0], sibling=run), row.workspace)
        with self._db.write() as session:
            options = row.options | {"sibling": sibling}
            session.execute(update(Run).where(Run.id == run).values(options=options))
        return sibling

    def preview(self, kind: str, options: Options, workspace: str | None, *, measure: bool = False) -> dict[str, Any]:
        """The mix of a run that would start now, and what it would cost. Changes nothing."""
        told = self.drawing.preview(kind, options, workspace, measure=measure)
        self._kind(kind).suffices(options, workspace, [row["example"] for row in told["rows"]])
        return told

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
            self._round_off(run)
        except TakenAway:
            raise  # whoever has the job next goes on from here
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
            known = DiskFull("the disk was full", hint=_FREE) if no_room(error) else _fault(error)
            self._runs.fail(run, known.as_json())
            raise known from error
        return self._runs.result(run)

    def _stage_draw(self, run: str, progress: Progress) -> None:
        row = self._runs.get(run)
        options = Options.from_json(row.options)
        mix = self.drawing.mix(row.kind, options, row.workspace, progress=progress)
        folder = self._runs.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "manifest.json", mix.to_json())
        with self._db.write() as session:
            _enter(session, run, mix)
            session.execute(
                update(Run)
                .where(Run.id == run)
                .values(
                    state="proposed" if options.hold else "drawn",
                    epoch=mix.epoch,
                    parent=self._kind(row.kind).parent(),
                    adapter=f"{row.kind}-{run[4:]}",
                )
            )

    def _stage_train(self, run: str, progress: Progress) -> None:
        row, folder = self._runs.get(run), self._runs.folder(run)
        mix = self._recheck(run)
        started = time.perf_counter()
        if not (folder / "adapter" / "manifest.json").exists():
            while not (folder / "config.json").exists():
                # What is shown beside the rows is of now: a proposal may have waited while versions were superseded.
                self._kind(row.kind).materialise(row, replace(mix, epoch=self._epochs.committed()), folder)
                mix = self._recheck(run)  # a delete takes words out of what is written, not of what is being written
            catch_up(self._db, folder)
            mix = self._leave_out(run, mix)
            self._lineage.note(run, folder)
            self._kind(row.kind).train(folder, progress)
        seconds = time.perf_counter() - started
        mix = self._leave_out(run, mix)
        metrics = {"train_seconds": round(seconds, 1), "examples": len(mix.practised)}
        metrics |= _training_metrics(folder / "metrics.jsonl")
        metrics["seconds_per_example"] = round(seconds / max(1, len(mix.practised)), 4)
        # What was needed for training alone does not stay. Before the commit: nobody comes back here after it.
        for name in ("vectors.npy", "passages.jsonl"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        with self._db.write() as session:
            session.execute(update(Run).where(Run.id == run).values(state="trained", metrics=metrics))

    def _stage_evaluate(self, run: str, progress: Progress) -> None:
        row, folder = self._runs.get(run), self._runs.folder(run)
        judged = self._judge.judge(row, folder, progress)
        metrics = row.metrics | judged.metrics
        mix = Mix.from_json(read_json(folder / "manifest.json"))
        metrics["cost"] = self._cost(row, mix, folder, metrics)
        told = about(judged.verdict.to_json(), row.parent)
        write_json(folder / "report.json", {"verdict": told, "metrics": metrics, "policy": judged.policy.to_json()})
        with self._db.write() as session:
            session.execute(update(Run).where(Run.id == run).values(state="evaluated", verdict=told, metrics=metrics))

    def _stage_decide(self, run: str, _progress: Progress) -> None:
        row, folder = self._runs.get(run), self._runs.folder(run)
        accepted = bool((row.verdict or {}).get("accepted"))
        practised = self._runs.losses(row) if accepted else []
        with self._db.write() as session:
            origin = Options.from_json(row.options).origin(row.parent)
            self._registry.add(session, str(row.adapter), row.kind, run, origin, folder / "adapter", accepted)
            state = "accepted" if accepted else "rejected"
            session.execute(update(Run).where(Run.id == run).values(state=state, finished=now_ms()))
            record(session, "gate", run, adapter=row.adapter, accepted=accepted)
            note_rehearsed(session, run, practised, now_ms(), kind=row.kind)

    def _round_off(self, run: str) -> None:
        """What follows a verdict and no state tells of: it is done again for a run that was taken up with its verdict.

        A card tells what was committed, so it cannot stand before that.
        """
        row = self._runs.get(run)
        if row.state in ("accepted", "rejected"):
            self._kind(row.kind).finish(row)
            self._cards.write(str(row.adapter))

    # --- parts -----------------------------------------------------------------------------------

    def _cost(self, row: Run, mix: Mix, folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
        with self._db.read() as session:
            asked = select(Example.question).where(Example.id.in_(listed([r.example for r in mix.practised])))
            questions = list(session.scalars(asked))
        return cost(
            folder,
            train_seconds=metrics.get("train_seconds", 0.0),
            evaluate_seconds=metrics["evaluate_seconds"],
            tokens=self._kind(row.kind).tokens(questions, Options.from_json(row.options)),
            watts=self._watts,
        )

    def _recheck(self, run: str) -> Mix:
        """The mix without what went away since it was drawn; the manifest on disk says so."""
        folder = self._runs.folder(run)
        drawn = Mix.from_json(read_json(folder / "manifest.json"))
        if (folder / "config.json").exists() and not self._mixer.gone(drawn):
            return drawn
        _start_over(folder)
        mix = drawn.leaving_out({})  # what could not be trained on then may be fit now
        gone = set(self._mixer.gone(mix))
        if gone:
            rows: tuple[Row, ...] = tuple(row for row in mix.rows if row.example not in gone)
            dropped = sorted({*mix.dropped, *gone})
            excluded = mix.excluded | {"gone since the mix was drawn": len(dropped)}
            mix = replace(mix, rows=rows, excluded=excluded, dropped=tuple(dropped))
        if mix != drawn:
            with self._db.write() as session:
                _enter(session, run, mix)
            write_json(folder / "manifest.json", mix.to_json())  # last: until it is there all of this is done again
        return mix

    def _leave_out(self, run: str, mix: Mix) -> Mix:
        """The mix that says what of it was left out; what was left out is nothing that the run has seen. Repeatable.

        The words go first, then the rows by which a delete finds them.
        """
        folder = self._runs.folder(run)
        told = mix.leaving_out(left_out(folder, [row.example for row in mix.rows]))
        if told != mix:
            write_json(folder / "manifest.json", told.to_json())
        strike(folder)
        seen = practised(folder)
        with self._db.write() as session:
            entered = set(session.scalars(select(MixRow.example).where(MixRow.run == run)))
            session.execute(delete(MixRow).where(MixRow.run == run, MixRow.example.in_(listed(entered - seen))))
        return told


def _enter(session: Session, run: str, mix: Mix) -> None:
    """Enter the rows that a run may practise, in place of those that were entered before."""
    session.execute(delete(MixRow).where(MixRow.run == run))
    session.add_all(MixRow(run=run, example=row.example, part=row.part) for row in mix.rows)


def _start_over(folder: Path) -> None:
    """Take out what stands there of rows that were not complete, or have no right to be trained on any more.

    `config.json` goes last: while it is there, whoever finds the folder looks at its rows again.
    """
    for name in ("adapter", "checkpoints"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (*_OF_A_TRAINING, "config.json"):
        (folder / name).unlink(missing_ok=True)


_OF_A_TRAINING = ("train.jsonl", "vectors.npy", "passages.jsonl", LOSSES, LEFT_OUT)
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


def _training_metrics(file: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not lines:
        return {}
    return {"steps": lines[-1]["step"], "first_loss": lines[0]["loss"], "last_loss": lines[-1]["loss"]}
