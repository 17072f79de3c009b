"""Generator adapters behind the seam: what a retrain needs of them, from what may be asked to what the gate judges."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from finetune.child import TRAINER as MERGER
from finetune.child import train
from finetune.files import read_json
from finetune.gate import Standing
from finetune.generator import minimum
from finetune.generator.context import Contexts
from finetune.generator.evaluate import METRIC, GeneratorEvaluator, Question, Scores, legs_of
from finetune.generator.interference import CHILD as INTERFERENCE
from finetune.generator.interference import bounded
from finetune.generator.materialise import Answers, materialise
from finetune.generator.recipe import METHODS, GeneratorRecipe, Method
from finetune.generator.recovery import GeneratorRecovery
from finetune.generator.rows import TRAINER, RunConfig, Said
from finetune.generator.triple import require
from finetune.generator.votes import Votes
from finetune.generator.writer import trainable, worn
from finetune.interference import STEPS, measured
from finetune.kinds import BASE as FROM_BASE
from finetune.kinds import Evaluation, Options
from finetune.merge import Merge
from finetune.merge import asked as merge_asked
from finetune.merge import write_config as merge_config
from finetune.novelty import Novelty
from finetune.probe import Lost, Recovery
from finetune.registry import Registry
from finetune.suites import Asked, Suites
from finetune.tables import Run
from kernel.database import Database, listed
from kernel.errors import UserError
from kernel.ids import now_ms
from kernel.ports import Verifier
from kernel.types import BASE, Ask, Passage, Progress, When
from rehearsal.mix import Mix, Rise
from rehearsal.suited import Suited
from rehearsal.tables import Example
from retrieval.generators import collect, prompt
from retrieval.generators.identity import identity_of
from retrieval.generators.transformers import TransformersGenerator
from retrieval.live_generator import GENERATOR, LiveGenerator
from retrieval.verify import check

LAUNCHER = ("-m", "accelerate.commands.launch", "--num_processes")
_CHARS_PER_TOKEN = 4
_PASSAGE_CHARS = 800
"""Of a passage as chunks are cut, for the estimate of a cost."""


class GeneratorKind:
    """`finetune.kinds.Kind` of the language model that serves."""

    name = GENERATOR

    def __init__(
        self,
        db: Database,
        contexts: Contexts,
        votes: Votes,
        evaluator: GeneratorEvaluator,
        verifier: Verifier,
        registry: Registry,
        writing: LiveGenerator,
        epoch: Callable[[], int],
        home: Path,
        suites: Suites,
    ) -> None:
        """`epoch` is the committed one."""
        self._db, self._contexts, self._votes, self._evaluator = db, contexts, votes, evaluator
        self._verifier, self._registry, self._writing = verifier, registry, writing
        self._epoch, self._home, self._suites = epoch, home, suites
        self._recovery = GeneratorRecovery(db, contexts, evaluator, writing, epoch)

    def check(self, options: Options) -> None:
        self._generator()
        if options.merged:
            for name in Merge.of(options.merged, options.method, options.recipe, options.seed).adapters:
                self._registry.path(name)  # or there is none of that name
            return
        recipe = _recipe(options)
        recipe.at_once(recipe.processes)  # or its steps cannot be made
        require()
        if recipe.method != "sft" and options.start == FROM_BASE and self.parent() is not None:
            raise UserError(
                f"{recipe.method} goes on from the champion, which is also its reference",
                hint="leave the start out, or train from the base with --method sft",
            )

    def suited(self, method: str | None, policy: str | None = None) -> Suited:
        return minimum.suited(_method(method), policy)

    def suffices(self, options: Options, workspace: str | None, examples: Sequence[str]) -> None:
        if options.merged or (recipe := _recipe(options)).method == "sft":
            return
        with self._db.read() as session:
            found = list(session.scalars(select(Example).where(Example.id.in_(listed(examples)))))
        votes = self._votes.count(workspace, options.without) if recipe.method == "kto" else 0
        minimum.require(recipe, minimum.in_examples(found, votes))

    def parent(self) -> str | None:
        return self._writing.fitting()

    def materialise(self, run: Run, mix: Mix, folder: Path) -> None:
        options, generator = Options.from_json(run.options), self._generator()
        if options.merged:
            paths = [self._home / self._registry.path(name) for name in options.merged]
            merge = Merge.of(options.merged, options.method, options.recipe, options.seed)
            merge_config(folder, merge, paths, generator.source)
            return
        config = self._config(run, _recipe(options))
        votes = []
        if config.recipe.method == "kto":
            when = When(epoch=mix.epoch, at=now_ms())
            votes = self._votes.down(run.workspace, when, config.recipe.distractors, options.without)
            self._votes.note(run.id, votes)
        materialise(
            self._contexts,
            mix,
            folder,
            config,
            votes=votes,
            champion=self._champion(generator, run.parent),
            without=options.without,
            shuffle=random.Random(options.seed) if options.control == "shuffled" else None,
        )

    def rises(self, run: Run, mix: Mix, folder: Path) -> Mapping[str, Rise]:
        """`finetune.kinds.Measures`: a virtual step in a child process, of answers whatever the method.

        An old row that the champion would have to answer first is not measured: that costs more than the step.
        """
        options = Options.from_json(run.options)
        recipe = _recipe(options)
        some = bounded(mix, recipe.batch)
        config = self._config(run, recipe.brief(some.new, STEPS))
        try:
            materialise(self._contexts, some, folder, config, without=options.without)
        except UserError:  # none of them has an answer and a passage that stands
            return {}
        return measured(folder, INTERFERENCE)

    def train(self, folder: Path, progress: Progress) -> None:
        if merge_asked(folder):
            train(folder, progress, MERGER)
            return
        recipe = GeneratorRecipe.from_json(read_json(folder / "config.json")["recipe"])
        many = (*LAUNCHER, str(recipe.processes)) if recipe.processes > 1 else ()
        train(folder, progress, (*many, *TRAINER))

    def evaluate(self, run: Run, mix: Mix, folder: Path, progress: Progress) -> Evaluation:
        generator, adapter = self._generator(), str(run.adapter)
        manifest = read_json(folder / "adapter" / "manifest.json")
        paths = {adapter: str((folder / "adapter").relative_to(self._home))}
        if run.parent:
            paths[run.parent] = self._registry.path(run.parent)
        recipe = GeneratorRecipe.from_json(manifest.get("recipe") or {})  # a merge has none
        when = When(epoch=self._epoch(), at=now_ms())
        without = Options.from_json(run.options).without
        asked = self._suites.asked()
        pinned = self._evaluator.pinned(asked, when, recipe, without)
        questions = [*self._evaluator.questions(when, recipe, without), *pinned]
        novelty = Novelty.of(self._db, self._registry, run, mix)  # topics may be found again meanwhile
        scores: dict[str, Scores] = {}
        for model, name in (("base", BASE), ("champion", run.parent), ("challenger", adapter)):
            progress("evaluating", len(scores), 3)
            if name is None:
                continue
            rivals = model != "base" or run.parent is None  # answers are written out by those that are compared
            with self._worn(None if name == BASE else name, paths.get(name)) as alias:
                scores[model] = self._evaluator.score(generator, questions, alias, write=rivals)
        return Evaluation(
            held_out=novelty.held_out(questions),
            scores={model: s.probability for model, s in scores.items()},
            metric=METRIC,
            works={model: s.works for model, s in scores.items()},
            legs=legs_of(scores),
            standing=Standing(base=manifest["base"]["sha256"], serves=identity_of(generator.source).weights),
            metrics={model: _means(s) for model, s in scores.items()}
            | {
                "held_out": len(questions),
                "suites_left_out": _left_out(asked, pinned),
                "data": manifest["data"],
                "method": manifest.get("method", "merge"),
            },
        )

    def probe(self, run: Run, folder: Path, lost: Sequence[Lost], progress: Progress) -> list[Recovery]:
        """`finetune.probe.Probing`."""
        return self._recovery.probe(run, folder, lost, progress)

    def finish(self, run: Run) -> None:
        self._writing.tidy()

    def tokens(self, questions: Sequence[str], options: Options) -> int:
        """An estimate: the model's tokenizer may not be loaded where a cost is asked for."""
        if options.merged:
            return 0
        recipe = _recipe(options)
        fixed = len(prompt.SYSTEM) + (recipe.distractors + 1) * _PASSAGE_CHARS
        each = [min(recipe.max_length, (fixed + 2 * len(q)) // _CHARS_PER_TOKEN) for q in questions]
        return sum(each) * recipe.epochs * (1 if recipe.method == "sft" else 2)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _config(self, run: Run, recipe: GeneratorRecipe) -> RunConfig:
        generator = self._generator()
        start = Options.from_json(run.options).origin(run.parent)
        return RunConfig(
            recipe=recipe,
            base=generator.source,
            base_name=Path(generator.source).name,
            champion=self._home / self._registry.path(start) if start else None,
            parent=start,
        )

    def _generator(self) -> TransformersGenerator:
        return trainable(self._writing)

    def _worn(self, name: str | None, path: str | None) -> AbstractContextManager[str]:
        return worn(self._writing, name, path)

    def _champion(self, generator: TransformersGenerator, parent: str | None) -> Answers:
        """What the champion writes, as far as its sources support it."""
        path = self._registry.path(parent) if parent else None

        def answer(question: str, passages: Sequence[Passage]) -> list[Said]:
            with self._worn(parent, path) as alias:
                said, _ = collect(generator.stream(Ask(question=question, adapter=alias), passages))
            kept = [c.sentence for c in check(said, passages, self._verifier) if c.supported]
            return [Said(text=s.text, cites=tuple(passages[m - 1].chunk for m in s.marks)) for s in kept]

        return answer


def _recipe(options: Options) -> GeneratorRecipe:
    return GeneratorRecipe.from_json({"seed": options.seed, **options.recipe, "method": _method(options.method)})


def _method(asked: str | None) -> Method:
    """Raises UserError where there is none of that name."""
    name = asked or GeneratorRecipe().method
    for method in METHODS:
        if method == name:
            return method
    raise UserError(f"no method {name!r}", hint=f"there are: {', '.join(METHODS)}")


def _left_out(asked: Asked, pinned: Sequence[Question]) -> dict[str, int]:
    """Suite to how many of its questions have nothing relevant any more, or no answer that could be written."""
    posed = Counter(q.suite for q in asked.questions) - Counter(q.suite for q in pinned)
    return dict(Counter(asked.left_out) + Counter({str(suite): n for suite, n in posed.items()}))


def _means(scores: Scores) -> dict[str, Any]:
    figures = {METRIC: scores.probability, **scores.legs}
    return {name: round(sum(of.values()) / len(of), 4) for name, of in figures.items() if of}
