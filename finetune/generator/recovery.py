"""The recovery probe of a generator: a copy of the challenger practises a lost slice for about ten steps.

`finetune.probe` says what that tells. The copy is trained on answers, however the challenger was, and is measured by
what the gate judges; it is loaded beside what serves and thrown away.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sqlalchemy import select

from finetune.child import train
from finetune.files import read_json
from finetune.generator.context import Contexts
from finetune.generator.evaluate import GeneratorEvaluator, likely
from finetune.generator.materialise import materialise
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import TRAINER, RunConfig
from finetune.generator.writer import trainable, worn
from finetune.kinds import Options
from finetune.probe import MOST_ROWS, STEPS, Lost, Recovery
from finetune.runs import PROBE
from finetune.tables import Run
from kernel.database import Database
from kernel.errors import UserError
from kernel.ids import digest, now_ms
from kernel.types import OPEN, Progress, When
from rehearsal.ground import made_of
from rehearsal.mix import Mix, Row
from rehearsal.tables import Example
from retrieval.live_generator import LiveGenerator


class GeneratorRecovery:
    """Probes runs of a generator."""

    def __init__(
        self,
        db: Database,
        contexts: Contexts,
        evaluator: GeneratorEvaluator,
        writing: LiveGenerator,
        epoch: Callable[[], int],
    ) -> None:
        """`epoch` is the committed one."""
        self._db, self._contexts, self._evaluator = db, contexts, evaluator
        self._writing, self._epoch = writing, epoch

    def probe(self, run: Run, folder: Path, lost: Sequence[Lost], progress: Progress) -> list[Recovery]:
        """What `finetune.probe.Probing` promises."""
        generator, options = trainable(self._writing), Options.from_json(run.options)
        recipe = GeneratorRecipe.from_json(read_json(folder / "adapter" / "manifest.json").get("recipe") or {})
        when = When(epoch=self._epoch(), at=now_ms())
        held_out = {q.example: q for q in self._evaluator.questions(when, recipe, options.without)}
        found = []
        for number, one in enumerate(lost):
            progress("probing what was lost", number, len(lost))
            asked = [held_out[e] for e in one.examples if e in held_out]
            rows = self._practised({q.slice for q in asked}, options.without)
            place = folder / PROBE
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            try:
                steps = self._practise(run, rows, recipe, when, place, progress) if asked and rows else None
                if steps is None:
                    continue
                with worn(self._writing, f"{run.adapter}-probe", str(place / "adapter")) as alias:
                    after = [likely(generator, q, alias) for q in asked]
            finally:
                self._writing.tidy()
                shutil.rmtree(place)
            mean = sum(after) / len(after)
            found.append(
                Recovery(slice=one.slice, n=len(asked), steps=steps, before=one.before, lost=one.now, after=mean)
            )
        return found

    def _practised(self, slices: Collection[str], without: Collection[str]) -> list[Row]:
        """Examples of these slices that may be practised, at most so many, by a hash."""
        with self._db.read() as session:
            wanted = select(Example).where(Example.status == "approved", Example.split == "train", Example.died == OPEN)
            left_out = made_of(session, without)
            some = [e for e in session.scalars(wanted) if e.stratum in slices and e.id not in left_out]
        some.sort(key=lambda e: digest(f"probe:{e.id}"))
        return [Row(example=e.id, part="new", reason="probe", slice=e.stratum, digest="") for e in some[:MOST_ROWS]]

    def _practise(
        self, run: Run, rows: Sequence[Row], recipe: GeneratorRecipe, when: When, place: Path, progress: Progress
    ) -> int | None:
        """Train a copy of the challenger on these rows; how many steps that took, None where none can be practised."""
        options, source = Options.from_json(run.options), trainable(self._writing).source
        mix = Mix(
            epoch=when.epoch,
            workspace=None,
            policy=options.policy,
            rho=0.0,
            seed=options.seed,
            rows=tuple(rows),
            excluded={},
        )
        config = RunConfig(
            recipe=recipe.brief(len(rows), STEPS),
            base=source,
            base_name=Path(source).name,
            champion=place.parent / "adapter",
            parent=str(run.adapter),
        )
        try:
            materialise(self._contexts, mix, place, config, without=options.without)
        except UserError:  # none of them has an answer and a passage that stands
            return None
        train(place, progress, TRAINER)
        return int(read_json(place / "adapter" / "manifest.json")["steps"])
