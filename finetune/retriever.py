"""Retriever adapters: LoRA on the query encoder, trained against the frozen vectors of the index, judged by ranking."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from finetune.child import train
from finetune.evaluate import Evaluator, Question, Scores
from finetune.gate import HeldOut
from finetune.kinds import BASE, Evaluation, Options
from finetune.materialise import materialise
from finetune.merge import Merge, write_config
from finetune.recipe import RetrieverRecipe
from finetune.registry import Registry
from finetune.tables import Run
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.ports import VectorIndex
from kernel.serving import LocalEmbedder
from kernel.types import Progress
from rehearsal.mix import Mix
from rehearsal.tables import Example, MixRow
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
    ) -> None:
        self._db, self._index, self._epochs, self._embedder = db, index, epochs, embedder
        self._evaluator, self._registry, self._live, self._home = evaluator, registry, live, home

    def check(self, options: Options) -> None:
        if not options.merged:
            _recipe(options)
            return
        for name in _merge(options).adapters:
            self._registry.pinned(name)  # or there is none of that name, or it is no retriever's

    def parent(self) -> str | None:
        return self._live.fitting()

    def materialise(self, run: Run, mix: Mix, folder: Path) -> None:
        options = Options.from_json(run.options)
        if options.merged:
            paths = [self._home / self._registry.path(name) for name in options.merged]
            write_config(folder, _merge(options), paths, self._embedder.path)
            return
        warm = run.parent if options.start != BASE else None
        with self._epochs.one_index():  # the base and the vectors of its documents belong together
            materialise(
                self._db,
                self._index,
                mix,
                folder,
                recipe=_recipe(options),
                base=self._embedder.path,
                parent=warm,
                parent_path=str(self._home / self._registry.path(warm)) if warm else None,
                shuffle=random.Random(options.seed) if options.control == "shuffled" else None,
            )

    def train(self, folder: Path, progress: Progress) -> None:
        train(folder, progress)

    def evaluate(self, run: Run, mix: Mix, folder: Path, progress: Progress) -> Evaluation:
        adapter, path = str(run.adapter), str((folder / "adapter").relative_to(self._home))
        self._live.load(adapter, path)
        if run.parent:
            self._live.load(run.parent, self._registry.path(run.parent))
        questions = self._evaluator.questions(run.workspace)
        names = {"base": None, "champion": run.parent, "challenger": adapter}
        scores: dict[str, Scores] = {}
        for i, (model, name) in enumerate(names.items()):
            progress("evaluating", i, len(names))
            same = next((m for m in scores if names[m] == name), None)
            scores[model] = scores[same] if same else self._evaluator.score(questions, name)
        judged = [model for model in names if model != "champion" or run.parent]
        metrics = {model: {METRIC: _mean(s.dense), f"served_{METRIC}": _mean(s.served)} for model, s in scores.items()}
        return Evaluation(
            held_out=_held_out(questions, self._new_slices(run, mix), run.parent),
            scores={model: scores[model].dense for model in judged},
            served={model: scores[model].served for model in judged},
            metric=METRIC,
            metrics={**metrics, "held_out": len(questions)},
        )

    def finish(self, run: Run) -> None:
        pointer = self._live.pointer()
        self._live.unload_all_but({pointer.champion, pointer.previous} if pointer else set())

    def _new_slices(self, run: Run, mix: Mix) -> set[str]:
        """Slices the challenger was made for: the mix brings something new of them, or a merged adapter had practised
        of them what the champion has not. Where nothing is new to the champion, a merge has to gain everywhere."""
        merged = Options.from_json(run.options).merged
        if not merged or run.parent is None:
            return {row.slice for row in mix.rows if row.part == "new"}
        known = self._registry.ancestry(run.parent)
        theirs = {r for name in merged for r in self._registry.ancestry(name)}
        with self._db.read() as session:
            before = select(MixRow.example).where(MixRow.run.in_(known))
            brought = select(Example.slice).join(MixRow, MixRow.example == Example.id)
            brought = brought.where(MixRow.run.in_(theirs), MixRow.example.not_in(before)).distinct()
            new = set(session.scalars(brought))
            return new or set(session.scalars(select(Example.slice).distinct()))

    def tokens(self, questions: Sequence[str], options: Options) -> int:
        return sum(self._embedder.count_tokens(list(questions))) * _recipe(options).epochs


def _recipe(options: Options) -> RetrieverRecipe:
    return RetrieverRecipe.from_json({"seed": options.seed, **options.recipe})


def _merge(options: Options) -> Merge:
    return Merge.of(options.merged, options.method, options.recipe, options.seed)


def _held_out(questions: list[Question], new: set[str], parent: str | None) -> list[HeldOut]:
    """Questions of the slices `new` are new; without a champion everything is."""
    return [
        HeldOut(
            example=q.example,
            slice=q.slice,
            part="new" if parent is None or q.slice in new else "old",
            pinned=q.pinned,
        )
        for q in questions
    ]


def _mean(scores: dict[str, float]) -> float | None:
    return round(sum(scores.values()) / len(scores), 4) if scores else None
