"""Legs of a retriever adapter: what people get of its rankings, as answers, citations and refusals.

    answered     1 where a question that the documents answer is answered
    citations    the share of an answer's citations that are grounds of the question; 0 where it is refused
    refusals     1 where a question that the documents do not answer is refused

The passages of each model are answered by the extractive generator, as the platform would answer them. It quotes, so
faithfulness holds by construction and is no leg here. Where two models put the same passages first, they give the same
answer, which is made once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetune.evaluate import Question, Scores
from finetune.gate import Leg
from kernel.ids import digest
from kernel.types import Passage, Progress, silent
from retrieval.answer import Answerer

GENERATOR = "extractive"
MOST = 60
"""Questions of each sort that are answered for the legs, chosen by a hash: an answer costs more than a ranking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What of an answer is judged."""

    refused: bool
    cited: tuple[tuple[str, str], ...]
    """(chunk, document) of each citation."""


class Legs:
    """Answers held-out questions from what each model found. Nothing is kept but within one call."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer

    def of(
        self,
        answerable: Sequence[Question],
        unanswerable: Sequence[Question],
        scores: Mapping[str, Scores],
        progress: Progress = silent,
    ) -> dict[str, Leg]:
        """The legs by name, of each model in `scores`. A leg that no question could be asked for is left out."""
        answerable, unanswerable = _some(answerable), _some(unanswerable)
        known: dict[tuple[str, tuple[str, ...]], _Answer] = {}
        made: dict[str, dict[str, _Answer]] = {}
        asked = [*answerable, *unanswerable]
        for number, (model, found) in enumerate(scores.items()):
            made[model] = {}
            for done, question in enumerate(asked):
                progress("answering", number * len(asked) + done, len(scores) * len(asked))
                passages = found.top[question.example]
                key = question.question, tuple(p.chunk for p in passages)
                if key not in known:
                    known[key] = self._answer(question.question, passages)
                made[model][question.example] = known[key]
        legs: dict[str, Leg] = {}
        if answerable:
            legs["answered"] = Leg(
                scores={m: {q.example: float(not a[q.example].refused) for q in answerable} for m, a in made.items()}
            )
            legs["citations"] = Leg(
                scores={m: {q.example: _right(q, a[q.example]) for q in answerable} for m, a in made.items()}
            )
        if unanswerable:
            legs["refusals"] = Leg(
                scores={m: {q.example: float(a[q.example].refused) for q in unanswerable} for m, a in made.items()}
            )
        return legs

    def _answer(self, question: str, passages: Sequence[Passage]) -> _Answer:
        cited = self._answerer.draft(question, passages, GENERATOR).citations
        return _Answer(refused=not cited, cited=tuple((c["chunk"], c["document"]) for c in cited))


def _right(question: Question, answer: _Answer) -> float:
    """Share of the citations that are grounds."""
    right = sum(chunk in question.points or document in question.documents for chunk, document in answer.cited)
    return right / len(answer.cited) if answer.cited else 0.0


def _some(questions: Sequence[Question]) -> list[Question]:
    return sorted(questions, key=lambda q: digest(f"legs:{q.example}"))[:MOST]
