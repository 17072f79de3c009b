"""Generator adapters of a line, measured anew on the held-out questions of today, for the matrix of what was forgotten.

The figure is the one that the gate judges: how likely the right answer is behind drawn passages. What stands beside the
passages that answer comes from search, and another retriever adapter finds something else; so a figure is kept under a
name that changes with what is read, and figures of different readings are never compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from finetune.forgetting import Figures
from finetune.generator.evaluate import METRIC, GeneratorEvaluator, Question
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.writer import trainable, worn
from kernel.errors import UserError
from kernel.ids import canonical, digest
from kernel.types import When
from retrieval.generators.identity import identity_of
from retrieval.live_generator import LiveGenerator

_READ_AS = GeneratorRecipe()
"""How many passages stand beside what answers, the same for every adapter, however each was trained."""


class GeneratorScorer:
    """`finetune.forgetting.Scorer` of the model that writes. Each adapter is loaded beside what serves, and let go."""

    def __init__(self, evaluator: GeneratorEvaluator, writing: LiveGenerator) -> None:
        self._evaluator, self._writing = evaluator, writing

    def metric(self, *, served: bool) -> str:
        if served:
            raise UserError(
                "figures as served are those of a retriever's rankings",
                hint="leave --served out: an adapter of a generator has one figure here, how likely its answers are",
            )
        return METRIC

    def base(self) -> str:
        return f"base@{str(identity_of(trainable(self._writing).source).weights)[:12]}"

    def questions(self, workspace: str | None, when: When) -> list[Question]:
        return self._evaluator.questions(when, _READ_AS, workspace=workspace)

    def kept_as(self, question: Question, metric: str) -> str:
        read = [p.chunk for p in question.shown]
        said = [[[s.text, list(s.cites)] for s in one] for one in question.targets]
        return f"{metric}@{digest(canonical([read, said]))[:12]}"

    def scored(
        self, questions: Sequence[Question], models: Mapping[str, Path | None], when: When
    ) -> Iterator[tuple[str, Figures]]:
        """What is read stands in the questions already, as of `when`."""
        generator = trainable(self._writing)
        for name, folder in models.items():
            with worn(self._writing, name, str(folder) if folder is not None else None) as alias:
                found = self._evaluator.score(generator, questions, alias, write=False)
            if folder is not None:
                self._writing.tidy()
            yield name, {METRIC: found.probability}
