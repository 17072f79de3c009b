"""Retriever adapters: LoRA on the query encoder, trained against the frozen vectors of the index, judged by ranking."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from finetune.child import train
from finetune.data import steps_per_epoch
from finetune.evaluate import Evaluator, Question, Scores
from finetune.files import read_json
from finetune.gate import Standing
from finetune.interference import measured
from finetune.kinds import Evaluation, Options
from finetune.legs import Legs
from finetune.lineage import shown_in
from finetune.materialise import materialise
from finetune.merge import Merge, write_config
from finetune.novelty import Novelty, practised_by
from finetune.probe import MOST_ROWS, STEPS, Lost, Recovery
from finetune.pull import aims, pulled
from finetune.recipe import RetrieverRecipe
from finetune.registry import Registry
from finetune.runs import PROBE
from finetune.suites import Asked, Suites
from finetune.tables import Run
from ingest.tables import Document
from kernel.database import Database, listed
from kernel.epochs import Epochs
from kernel.errors import UserError
from kernel.ids import digest
from kernel.ports import VectorIndex
from kernel.serving import LocalEmbedder
from kernel.types import Progress
from rehearsal.ground import made_of
from rehearsal.mix import Mix, Rise, Row
from rehearsal.suited import Suited, grounded
from retrieval.encoder import MANIFEST, QueryEncoder, read_model, weights_sha256
from retrieval.live import RETRIEVER, LiveRetriever

METRIC = "ndcg@10"


class RetrieverKind:
    """`finetune.kinds.Kind` of the query encoder."""

    name = RETRIEVER

    def __init__(
        self,
        db: Database,
        index: VectorIndex,
        epochs: Epochs,
        embedder: LocalEmbedder,
        evaluator: Evaluator,
        registry: Registry,
        live: LiveRetriever,
        home: Path,
        legs: Legs,
        suites: Suites,
    ) -> None:
        self._db, self._index, self._epochs, self._embedder = db, index, epochs, embedder
        self._evaluator, self._registry, self._live, self._home = evaluator, registry, live, home
        self._legs, self._suites = legs, suites

    def check(self, options: Options) -> None:
        if options.merged:
            for name in _merge(options).adapters:
                self._registry.path(name)  # or there is none of that name
            return
        _recipe(options)
        if options.method is not None and not options.merged:
            raise UserError(
                f"a retriever has no method {options.method!r}", hint="methods are a generator's; leave it out"
            )

    def suited(self, method: str | None, policy: str | None = None) -> Suited:
        return Suited.both(grounded(), "without anything that grounds them")

    def suffices(self, options: Options, workspace: str | None, examples: Sequence[str]) -> None:
        """One new example is enough, and a mix has one."""

    def parent(self) -> str | None:
        return self._live.fitting()

    def materialise(self, run: Run, mix: Mix, folder: Path) -> None:
        options = Options.from_json(run.options)
        if options.merged:
            paths = [self._home / self._registry.path(name) for name in options.merged]
            write_config(folder, _merge(options), paths, self._embedder.path)
            return
        warm = options.origin(run.parent)
        with self._epochs.one_index():  # the base and the vectors of its documents belong together
            materialise(
                self._db,
                self._index,
                mix,
                folder,
                recipe=_recipe(options),
                base=self._embedder.path,
                base_name=self._embedder.name,
                parent=warm,
                parent_path=str(self._home / self._registry.path(warm)) if warm else None,
                shuffle=random.Random(options.seed) if options.control == "shuffled" else None,
                without=options.without,
            )

    def rises(self, run: Run, mix: Mix, folder: Path) -> Mapping[str, Rise]:
        """`finetune.kinds.Measures`: a virtual step in a child process."""
        self.materialise(run, mix, folder)
        return measured(folder)

    def train(self, folder: Path, progress: Progress) -> None:
        train(folder, progress)

    def evaluate(self, run: Run, mix: Mix, folder: Path, progress: Progress) -> Evaluation:
        standing = self._standing(folder)
        if standing.base != standing.serves:  # ranked over vectors of another model, figures would mean nothing
            return Evaluation(held_out=[], scores={}, metric=METRIC, standing=standing)
        adapter, path = str(run.adapter), str((folder / "adapter").relative_to(self._home))
        self._live.load(adapter, path)
        if run.parent:
            self._live.load(run.parent, self._registry.path(run.parent))
        when, pinned = self._evaluator.when(), self._suites.asked()
        without = set(Options.from_json(run.options).without)
        asked, novelty = self._answerable(pinned, without), Novelty.of(self._db, self._registry, run, mix)
        refusals = [*self._evaluator.unanswerable(None), *(q for q in pinned.questions if not q.sources)]
        names = {"base": None, "champion": run.parent, "challenger": adapter}
        scores: dict[str, Scores] = {}
        for i, (model, name) in enumerate(names.items()):
            progress("evaluating", i, len(names))
            same = next((m for m in scores if names[m] == name), None)
            scores[model] = scores[same] if same else self._evaluator.score([*asked, *refusals], name, when)
        judged = [model for model in names if model != "champion" or run.parent]
        compared = {model: scores[model] for model in judged if model != "base" or not run.parent}
        seen = self._evaluator.seen(asked, practised_by(self._registry, run))
        # What was deleted meanwhile was there for the first models and not for the others.
        still = {(q.example, q.question) for q in self._answerable(self._suites.asked(), without)}
        asked = [q for q in asked if (q.example, q.question) in still]
        towards = self._pulled([q for q in asked if q.suite is None], folder)
        called = self._names(towards or {}) | {d: name for s in scores.values() for d, name in s.names.items()}
        return Evaluation(
            held_out=novelty.held_out(asked, seen),
            scores={model: scores[model].dense for model in judged},
            served={model: scores[model].served for model in judged},
            metric=METRIC,
            legs=self._legs.of([q for q in asked if q.suite is None], refusals, compared, progress),
            wrong={model: scores[model].wrong for model in judged},
            pulled=None if towards is None else {e: called.get(to, to) if to else None for e, to in towards.items()},
            names=called,
            standing=standing,
            metrics=_metrics(scores, seen) | {"held_out": len(asked), "suites_left_out": pinned.left_out},
        )

    def _answerable(self, pinned: Asked, without: set[str]) -> list[Question]:
        """What can be asked now: an adapter serves every workspace, so what it did to the others counts, whichever its
        run was for. What it must not know is not asked of it."""
        with self._db.read() as session:
            left_out = made_of(session, without)
        asked = [*self._evaluator.questions(None), *(q for q in pinned.questions if q.sources)]
        return [q for q in asked if q.example not in left_out and not (q.suite and q.sources & without)]

    def _pulled(self, asked: Sequence[Question], folder: Path) -> dict[str, str | None] | None:
        """By id of the document; None where the adapter came from no rows."""
        with self._db.read() as session:
            rows = aims(folder, lambda points: {point: document for point, document, _ in shown_in(session, points)})
        if rows is None:
            return None
        return pulled(asked, rows, lambda texts: np.asarray(self._live.encode_with(None, list(texts))))

    def _names(self, pulled: Mapping[str, str | None]) -> dict[str, str]:
        """Of the documents that questions are pulled to, by id."""
        with self._db.read() as session:
            wanted = Document.id.in_(listed({to for to in pulled.values() if to}))
            return dict(session.execute(select(Document.id, Document.name).where(wanted)).all())

    def probe(self, run: Run, folder: Path, lost: Sequence[Lost], progress: Progress) -> list[Recovery]:
        """`finetune.probe.Probing`."""
        held_out = {q.example: q for q in self._evaluator.questions(None)}
        with self._db.read() as session:
            left_out = made_of(session, Options.from_json(run.options).without)
        practised = [q for q in self._evaluator.questions(None, "train") if q.example not in left_out]
        found = []
        for number, one in enumerate(lost):
            progress("probing what was lost", number, len(lost))
            asked = [held_out[e] for e in one.examples if e in held_out]
            slices = {q.slice for q in asked}
            rows = sorted((q for q in practised if q.slice in slices), key=lambda q: digest(f"probe:{q.example}"))
            if not rows or not asked:
                continue
            place = folder / PROBE
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            try:
                steps = self._practise(run, rows[:MOST_ROWS], folder / "adapter", place, progress)
                encoder = QueryEncoder(self._embedder.path)
                encoder.load("probe", place / "adapter")
                practised_now = partial(encoder.encode, adapter="probe")
                after = self._evaluator.score(asked, None, self._evaluator.when(), practised_now).dense
            finally:
                shutil.rmtree(place)  # it holds questions, and a delete looks for those in the run's own folder alone
            mean = sum(after.values()) / len(after)
            found.append(
                Recovery(slice=one.slice, n=len(asked), steps=steps, before=one.before, lost=one.now, after=mean)
            )
        return found

    def _practise(self, run: Run, rows: Sequence[Question], start: Path, place: Path, progress: Progress) -> int:
        """Train a copy of the adapter in `start` on these examples for about ten steps, by its own recipe, or the
        default one where it was merged; how many they were."""
        options = Options.from_json(run.options)
        recipe = RetrieverRecipe.from_json({"seed": options.seed} | (_manifest(start).get("recipe") or {}))
        epochs = math.ceil(STEPS / steps_per_epoch(len(rows), recipe.batch))
        mix = Mix(
            epoch=self._epochs.committed(),
            workspace=None,
            policy=options.policy,
            rho=0.0,
            seed=options.seed,
            rows=tuple(Row(example=q.example, part="new", reason="probe", slice=q.slice, digest="") for q in rows),
            excluded={},
        )
        with self._epochs.one_index():
            materialise(
                self._db, self._index, mix, place,
                recipe=replace(recipe, epochs=epochs, strength=1.0),
                base=self._embedder.path, base_name=self._embedder.name,
                parent=str(run.adapter), parent_path=str(start),
            )  # fmt: skip
        train(place, progress)
        return epochs * steps_per_epoch(len(rows), recipe.batch)

    def _standing(self, folder: Path) -> Standing:
        """Which base the adapter was trained on, and which serves."""
        manifest = _manifest(folder / "adapter")
        serves = weights_sha256(read_model(self._embedder.path).folder)
        return Standing(base=manifest.get("base", {}).get("sha256", serves), serves=serves)

    def finish(self, run: Run) -> None:
        self._live.tidy()

    def tokens(self, questions: Sequence[str], options: Options) -> int:
        if options.merged:
            return 0
        return sum(self._embedder.count_tokens(list(questions))) * _recipe(options).epochs


def _recipe(options: Options) -> RetrieverRecipe:
    return RetrieverRecipe.from_json({"seed": options.seed, **options.recipe})


def _manifest(adapter: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(adapter / MANIFEST)
    return found


def _merge(options: Options) -> Merge:
    return Merge.of(options.merged, options.method, options.recipe, options.seed)


def _metrics(scores: Mapping[str, Scores], seen: Mapping[str, bool]) -> dict[str, Any]:
    """Means of each model, and apart for questions whose passage was trained on with another question, and the rest.

    What is learnt of a passage helps the next question about it. Only the unseen tell whether anything general was
    learnt.
    """
    metrics: dict[str, Any] = {
        model: {METRIC: _mean(s.dense), f"served_{METRIC}": _mean(s.served)} for model, s in scores.items()
    }
    for part, wanted in (("seen", True), ("unseen", False)):
        some = {model: {e: v for e, v in s.dense.items() if seen.get(e) == wanted} for model, s in scores.items()}
        metrics[part] = {"n": len(some["challenger"])} | {model: _mean(found) for model, found in some.items()}
    return metrics


def _mean(scores: dict[str, float]) -> float | None:
    return round(sum(scores.values()) / len(scores), 4) if scores else None
