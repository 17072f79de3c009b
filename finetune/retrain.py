"""A retrain, from request to verdict: draw, materialise, train in a child process, evaluate, judge.

    requested ──▶ drawn ──▶ trained ──▶ evaluated ──▶ accepted | rejected
         └───────────┴──────────┴────────────┴──────▶ failed

Each arrow is one transaction, and everything before it is in the run's folder; so a run whose process died goes on from
its state, and training from its last checkpoint. Serving is never touched: an adapter that comes out is a candidate.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update

from finetune.child import train
from finetune.evaluate import Evaluator, Question, Scores
from finetune.gate import GatePolicy, HeldOut, judge
from finetune.materialise import materialise
from finetune.recipe import RetrieverRecipe
from finetune.registry import Registry
from finetune.runs import Runs, read_json, write_json
from finetune.tables import Run
from kernel.audit import record
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.errors import RepriseError, UserError
from kernel.ids import fresh, now_ms
from kernel.jobs import Cancelled
from kernel.ports import VectorIndex
from kernel.serving import LocalEmbedder
from kernel.types import Progress
from rehearsal.mix import Mix, Mixer, Row
from rehearsal.tables import Example, MixRow
from retrieval.live import RETRIEVER, LiveRetriever

METRIC = "ndcg@10"
SECONDS_PER_EXAMPLE_EPOCH = 0.04
"""A first estimate of cost, on two cores; replaced by this platform's own runs once there is one."""


class Retrainer:
    """Runs retrains. One at a time per platform: their jobs share a key."""

    def __init__(
        self,
        db: Database,
        index: VectorIndex,
        epochs: Epochs,
        embedder: LocalEmbedder,
        mixer: Mixer,
        evaluator: Evaluator,
        registry: Registry,
        live: LiveRetriever,
        runs: Runs,
        home: Path,
    ) -> None:
        self._db, self._index, self._epochs, self._embedder = db, index, epochs, embedder
        self._mixer, self._evaluator, self._registry, self._live = mixer, evaluator, registry, live
        self._runs, self._home = runs, home
        self.step: Callable[[str], None] = lambda _name: None

    # --- asking ----------------------------------------------------------------------------------

    def request(
        self,
        kind: str,
        *,
        policy: str,
        rho: float,
        seed: int,
        workspace: str | None,
        control: str | None = None,
    ) -> str:
        """Enter a run; its id.

        Raises:
            UserError: a kind, policy or control there is none of.
        """
        _check_kind(kind)
        if control not in (None, "shuffled"):
            raise UserError(f"no control {control!r}", hint="the one there is: shuffled")
        self._draw(policy, rho, seed, workspace)  # says at once what would be wrong later
        run = fresh("run")
        with self._db.write() as session:
            session.add(
                Run(
                    id=run,
                    kind=kind,
                    state="requested",
                    workspace=workspace,
                    options={"policy": policy, "rho": rho, "seed": seed, "control": control},
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
            record(session, "retrain", run, kind=kind, policy=policy, rho=rho, seed=seed, control=control)
        return run

    def preview(self, kind: str, *, policy: str, rho: float, seed: int, workspace: str | None) -> dict[str, Any]:
        """The mix of a run that would start now, and what it would cost. Changes nothing."""
        _check_kind(kind)
        mix = self._draw(policy, rho, seed, workspace, empty_ok=True)
        recipe = RetrieverRecipe(seed=seed)
        with self._db.read() as session:
            ids = [row.example for row in mix.rows]
            questions = list(session.scalars(select(Example.question).where(Example.id.in_(ids))))
            done = list(
                session.scalars(select(Run).where(Run.finished.is_not(None)).order_by(Run.created.desc()).limit(5))
            )
        rates = sorted(r.metrics["seconds_per_example"] for r in done if r.metrics.get("seconds_per_example"))
        rate = rates[len(rates) // 2] if rates else SECONDS_PER_EXAMPLE_EPOCH * recipe.epochs
        tokens = sum(self._embedder.count_tokens(questions)) * recipe.epochs
        cost = {
            "examples": len(mix.rows),
            "tokens": tokens,
            "seconds_estimate": round(rate * len(mix.rows) + 10),
        }
        return {
            "kind": kind,
            "policy": policy,
            "epoch": mix.epoch,
            "new": mix.new,
            "recalled": mix.recalled,
            "rho": rho,
            "rows": [asdict(row) for row in mix.rows],
            "excluded": mix.excluded,
            "cost": cost,
        }

    # --- doing -----------------------------------------------------------------------------------

    def run(self, run: str, progress: Progress) -> dict[str, Any]:
        """Take a run from whatever state it is in to its verdict; its result.

        Raises:
            TrainingFailed: training ended badly; the run says why, and nothing that serves was touched.
        """
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
            self._runs.fail(run, error.as_json())
            raise
        return self._runs.result(run)

    def _stage_draw(self, run: str, _progress: Progress) -> None:
        row = self._runs.get(run)
        mix = self._draw(row.options["policy"], row.options["rho"], row.options["seed"], row.workspace)
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
                    parent=self._live.fitting(),
                    adapter=f"{row.kind}-{run[4:]}",
                )
            )

    def _stage_train(self, run: str, progress: Progress) -> None:
        row, folder = self._runs.get(run), self._runs.folder(run)
        mix = self._recheck(run)
        started = time.perf_counter()
        if not (folder / "adapter" / "manifest.json").exists():
            if not (folder / "config.json").exists():
                parent = str(self._home / self._registry.path(row.parent)) if row.parent else None
                recipe = RetrieverRecipe(seed=row.options["seed"])
                shuffle = random.Random(row.options["seed"]) if row.options["control"] == "shuffled" else None
                with self._epochs.one_index():  # the base and the vectors of its documents belong together
                    materialise(
                        self._db, self._index, mix, folder,
                        recipe=recipe, base=self._embedder.path, parent=row.parent, parent_path=parent, shuffle=shuffle,
                    )  # fmt: skip
            train(folder, progress)
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
        adapter, path = str(row.adapter), str((folder / "adapter").relative_to(self._home))
        self._live.load(adapter, path)
        if row.parent:
            self._live.load(row.parent, self._registry.path(row.parent))
        questions = self._evaluator.questions(row.workspace)
        names = {"base": None, "champion": row.parent, "challenger": adapter}
        scores: dict[str, Scores] = {}
        for i, (model, name) in enumerate(names.items()):
            progress("evaluating", i, len(names))
            same = next((m for m in scores if names[m] == name), None)
            scores[model] = scores[same] if same else self._evaluator.score(questions, name)
        judged = [model for model in names if model != "champion" or row.parent]
        policy = GatePolicy()
        verdict = judge(
            {model: scores[model].dense for model in judged},
            _held_out(questions, mix, row.parent),
            policy=policy,
            seed=row.options["seed"],
            metric=METRIC,
            served_scores={model: scores[model].served for model in judged},
        )
        metrics = row.metrics | {
            model: {METRIC: _mean(s.dense), f"served_{METRIC}": _mean(s.served)} for model, s in scores.items()
        }
        metrics["held_out"] = len(questions)
        told = verdict.to_json()
        write_json(folder / "report.json", {"verdict": told, "metrics": metrics, "policy": asdict(policy)})
        with self._db.write() as session:
            session.execute(update(Run).where(Run.id == run).values(state="evaluated", verdict=told, metrics=metrics))

    def _stage_decide(self, run: str, _progress: Progress) -> None:
        row, folder = self._runs.get(run), self._runs.folder(run)
        accepted = bool((row.verdict or {}).get("accepted"))
        with self._db.write() as session:
            self._registry.add(session, str(row.adapter), row.kind, run, row.parent, folder / "adapter", accepted)
            state = "accepted" if accepted else "rejected"
            session.execute(update(Run).where(Run.id == run).values(state=state, finished=now_ms()))
            record(session, "gate", run, adapter=row.adapter, accepted=accepted)
        pointer = self._live.pointer()
        self._live.unload_all_but({pointer.champion, pointer.previous} if pointer else set())

    # --- parts -----------------------------------------------------------------------------------

    def _draw(self, policy: str, rho: float, seed: int, workspace: str | None, *, empty_ok: bool = False) -> Mix:
        lineage = self._registry.lineage(RETRIEVER)
        with self._db.read() as session:
            practised = set(session.scalars(select(MixRow.example).where(MixRow.run.in_(lineage))))
        with self._epochs.one_index():
            mix = self._mixer.draw(policy=policy, rho=rho, seed=seed, workspace=workspace, practised=practised)
        if not mix.new and not empty_ok:
            raise UserError(
                "there is nothing new to train on",
                hint="import examples, or correct some answers; what the champion has seen is not new",
                code="nothing_new",
            )
        return mix

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


_STAGES: dict[str, tuple[Callable[[Retrainer, str, Progress], None], str]] = {
    "requested": (Retrainer._stage_draw, "drawing the mix"),
    "drawn": (Retrainer._stage_train, "training"),
    "trained": (Retrainer._stage_evaluate, "evaluating"),
    "evaluated": (Retrainer._stage_decide, "judging"),
}


def _held_out(questions: list[Question], mix: Mix, parent: str | None) -> list[HeldOut]:
    """New slices are those the mix brings something new of; without a champion everything is new."""
    new = {row.slice for row in mix.rows if row.part == "new"}
    return [
        HeldOut(
            example=q.example,
            slice=q.slice,
            part="new" if parent is None or q.slice in new else "old",
            pinned=q.pinned,
        )
        for q in questions
    ]


def _check_kind(kind: str) -> None:
    if kind == "generator":
        raise UserError(
            "generator adapters cannot be trained by this release",
            hint="retriever adapters can: reprise retrain --kind retriever",
            code="not_available",
        )
    if kind != RETRIEVER:
        raise UserError(f"no kind {kind!r}", hint="give retriever or generator")


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


def _mean(scores: dict[str, float]) -> float | None:
    return round(sum(scores.values()) / len(scores), 4) if scores else None
