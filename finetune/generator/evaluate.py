"""Held-out questions, with one adapter or another: how likely the right answer is, and what the model writes.

    figure                      RAG  of                      measured by
    probability of the answer   on   every question          likelihood behind drawn passages; no sampling, no noise
    answers (RAG on)            on   some, with an answer    words shared with the right answer, as it would be shown
    citations (RAG on)          on   the same                sentences whose marks resolve to what supports and answers
    faithfulness (RAG on)       on   the same                support of each written sentence by what it cites
    refusals (RAG on)           on   unanswerable ones, and  1 where nothing is shown
                                     some without their gold
    answers (RAG off)           off  the same some           likelihood of the answer without any passage
    works                       on   pinned ones, suites     1 where half of an answer's words would be shown, or where
                                                             nothing is shown and nothing should be

The first is what the gate judges slice by slice; the last says which pinned question fails; the others are its legs.
What is read with a question is drawn by the question alone, so that every model, of every run, is asked the same.
Answers are written by the model that serves, with the adapter that is named, and checked by the verifier that serves.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import select

from finetune.evaluate import Question as Pinned
from finetune.gate import Leg
from finetune.generator.context import Context, Contexts
from finetune.generator.figures import citations, contains, faithfulness, probability, refused, shown, token_f1
from finetune.generator.materialise import NEAR, with_gold, without_gold
from finetune.generator.recipe import GeneratorRecipe
from finetune.generator.rows import Said, sentences
from finetune.generator.target import target
from finetune.suites import Asked
from kernel.database import Database
from kernel.ids import digest
from kernel.ports import Verifier
from kernel.types import OPEN, Ask, Passage, When
from rehearsal.ground import made_of
from rehearsal.tables import Example
from retrieval.generators import collect, prompt
from retrieval.generators.batch import ROWS
from retrieval.generators.transformers import TransformersGenerator
from retrieval.verify import Checked, check

METRIC = "answer probability"
MOST, MOST_WRITTEN, MOST_WATCHED = 400, 60, 200
"""Questions of an evaluation; those whose answers are written out, which takes most of its time; and of pinned ones."""
WORKS = 0.5
"""Share of an answer's words that a reader has to be shown for a pinned question to work."""

ANSWERS, CITATIONS, FAITHFULNESS = "answers (RAG on)", "citations (RAG on)", "faithfulness (RAG on)"
REFUSALS, CLOSED = "refusals (RAG on)", "answers (RAG off)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A held-out example with everything it is asked with."""

    example: str
    question: str
    slice: str
    workspace: str
    pinned: bool
    answers: tuple[str, ...]
    """Their words, without marks, any of which will do; none where it must be refused."""
    targets: tuple[tuple[Said, ...], ...]
    """What should be written, for each answer."""
    gold: frozenset[str]
    read: tuple[Passage, ...]
    """What answers and what does not, in a drawn order."""
    withheld: tuple[Passage, ...]
    """Only what does not answer."""
    suite: str | None = None
    """The pinned suite it comes from."""

    @property
    def wanted(self) -> tuple[Said, ...]:
        """What should be written; empty is a refusal."""
        return self.targets[0] if self.targets else ()

    @property
    def shown(self) -> tuple[Passage, ...]:
        """What it is asked with: where it must be refused, nothing that answers."""
        return self.read if self.wanted else self.withheld


@dataclass(slots=True, kw_only=True)
class Scores:
    """Figures of one model by example; `legs` by leg and example."""

    probability: dict[str, float] = field(default_factory=dict)
    works: dict[str, float] = field(default_factory=dict)
    """Of pinned questions and those of suites whose answers were written out."""
    legs: dict[str, dict[str, float]] = field(default_factory=dict)


class GeneratorEvaluator:
    """Asks held-out questions of adapters that are loaded."""

    def __init__(
        self,
        db: Database,
        contexts: Contexts,
        verifier: Verifier,
        *,
        most: int = MOST,
        written: int = MOST_WRITTEN,
        watched: int = MOST_WATCHED,
    ) -> None:
        self._db, self._contexts, self._verifier = db, contexts, verifier
        self._most, self._written, self._watched = most, written, watched

    def questions(
        self, when: When, recipe: GeneratorRecipe, without: Collection[str] = (), workspace: str | None = None
    ) -> list[Question]:
        """Approved held-out examples that can be answered or must be refused, in order of id.

        Where there are more than are asked, all pinned ones and slices in turn. An adapter writes in every workspace,
        so all of them count unless one is named; what the documents `without` ground is not asked.
        """
        with self._db.read() as session:
            wanted = select(Example).where(
                Example.status == "approved", Example.split == "held-out", Example.died == OPEN
            )
            if workspace is not None:
                wanted = wanted.where(Example.workspace == workspace)
            left_out = made_of(session, without)
            rows = [
                (e.id, f"{e.workspace}\0{e.stratum}", bool(e.pinned))
                for e in session.scalars(wanted)
                if e.id not in left_out
            ]
        some = [example for example, _, _ in spread(rows, self._most)]
        contexts = self._contexts.of(sorted(some), when, NEAR * max(1, recipe.distractors), without)
        return [q for q in (_question(context, recipe) for context in contexts) if q is not None]

    def pinned(
        self, asked: Asked, when: When, recipe: GeneratorRecipe, without: Collection[str] = ()
    ) -> list[Question]:
        """Questions of pinned suites that can be answered or must be refused, in their order.

        Where no answer was given, the words that are relevant are the answer. A question about a whole document that
        nobody answered is left out, as one that the documents `without` answer.
        """
        posed = [q for q in asked.questions if not q.sources & set(without)]
        examples = [_example(q, asked.answers.get(q.example, ())) for q in posed]
        contexts = self._contexts.posed(examples, asked.quotes, when, NEAR * max(1, recipe.distractors), without)
        made = [
            _question(context, recipe, asked.answers.get(q.example, ()), q.suite)
            for q, context in zip(posed, contexts, strict=True)
        ]
        return [q for q in made if q is not None]

    def score(
        self, generator: TransformersGenerator, questions: Sequence[Question], alias: str, *, write: bool = True
    ) -> Scores:
        """The figures of one loaded adapter, or of the base model. Without `write` nothing is written out: no legs."""
        scores = Scores()
        for q in questions:
            scores.probability[q.example] = likely(generator, q, alias)
        if write:
            self._write(generator, questions, alias, scores)
        return scores

    # --- what it writes -----------------------------------------------------------------------------------------------

    def _write(
        self, generator: TransformersGenerator, questions: Sequence[Question], alias: str, scores: Scores
    ) -> None:
        held_out = [(q.example, q.slice, q.pinned) for q in questions if q.suite is None]
        chosen = {e for e, _, _ in spread(held_out, self._written)}
        pinned = [(q.example, q.suite or "", q.suite is None) for q in questions if q.pinned]
        watched = {e for e, _, _ in spread(pinned, self._watched)}
        some = [q for q in questions if q.example in chosen]
        answered = [q for q in some if q.wanted]
        lacking = [q for q in answered if q.withheld]
        alike = {q.example: (q.question, q.shown) for q in questions}
        asked = {q.example: alike[q.example] for q in questions if q.example in chosen | watched}
        asked |= {_without(q): (q.question, q.withheld) for q in lacking}
        with ThreadPoolExecutor(ROWS) as threads:  # they meet at the model and are written in batches
            written = threads.map(lambda one: self._answer(generator, alias, *one), asked.values())
            made = dict(zip(asked, written, strict=True))
        legs: dict[str, dict[str, float]] = {}
        for q in answered:
            checked = made[q.example]
            legs.setdefault(ANSWERS, {})[q.example] = token_f1(shown(checked), q.answers[0])
            legs.setdefault(CITATIONS, {})[q.example] = citations(checked, q.gold, q.read)
            legs.setdefault(FAITHFULNESS, {})[q.example] = faithfulness(checked)
            plain = " ".join(s.text for s in q.wanted)
            ask = Ask(question=q.question, adapter=alias)
            legs.setdefault(CLOSED, {})[q.example] = probability(generator.likelihood(ask, (), plain))
        for name in (*(q.example for q in some if not q.wanted), *map(_without, lacking)):
            legs.setdefault(REFUSALS, {})[name] = float(refused(made[name]))
        scores.legs = legs
        scores.works = {q.example: _works(q, made[q.example]) for q in questions if q.example in watched}

    def _answer(
        self, generator: TransformersGenerator, alias: str, question: str, passages: Sequence[Passage]
    ) -> list[Checked]:
        written, _ = collect(generator.stream(Ask(question=question, adapter=alias), passages))
        return check(written, passages, self._verifier)


def legs_of(scores: dict[str, Scores]) -> dict[str, Leg]:
    """What else must not get worse, by name, from the models that wrote answers. What an adapter no longer knows by
    heart does no harm while it still answers from the passages."""
    named = sorted({name for s in scores.values() for name in s.legs})
    return {
        name: Leg(
            scores={model: s.legs[name] for model, s in scores.items() if name in s.legs},
            covered_by=ANSWERS if name == CLOSED else None,
        )
        for name in named
    }


def likely(generator: TransformersGenerator, q: Question, alias: str) -> float:
    """The probability of the right answer, or of the likeliest where any of several will do."""
    passages = q.shown
    ask = Ask(question=q.question, adapter=alias)
    answers = [prompt.answer(sentences(said, passages)) for said in q.targets or ((),)]
    return probability(max(generator.likelihood(ask, passages, answer) for answer in answers))


def spread(rows: Sequence[tuple[str, str, bool]], most: int) -> list[tuple[str, str, bool]]:
    """At most so many of (example, slice, pinned): all pinned ones, then slices in turn, by a hash of the id.

    The same examples give the same choice whatever else there is, as far as possible: figures of two runs compare.
    """
    if len(rows) <= most:
        return list(rows)
    hashed = sorted(rows, key=lambda row: (not row[2], digest(row[0])))
    place: dict[str, int] = {}
    ranked = []
    for row in hashed:
        place[row[1]] = place.get(row[1], -1) + 1
        ranked.append((not row[2], place[row[1]], row[1], row))
    return [row for *_, row in sorted(ranked)[:most]]


def _without(q: Question) -> str:
    return f"{q.example} without its passage"


def _works(q: Question, checked: Sequence[Checked]) -> float:
    """1 where what a reader would be shown has the answer, or where nothing is shown and nothing should be."""
    if not q.answers:
        return float(refused(checked))
    return float(any(contains(shown(checked), answer) >= WORKS for answer in q.answers))


def _example(q: Pinned, answers: Sequence[str]) -> Example:
    """A question of a suite as an example that is in no table."""
    answer = answers[0] if answers else None
    return Example(id=q.example, workspace=q.workspace, question=q.question, answer=answer, slice=q.slice, pinned=1)


def _question(
    context: Context, recipe: GeneratorRecipe, answers: Sequence[str] = (), suite: str | None = None
) -> Question | None:
    e, chance = context.example, random.Random(context.example.id)
    read = with_gold(context, recipe.distractors, chance)
    withheld = without_gold(context, recipe.distractors + 1, chance)
    said: list[str] = []
    targets: list[tuple[Said, ...]] = []
    if context.unanswerable:
        if not withheld:
            return None
    elif context.answer is None or not context.gold:
        return None
    else:
        said = list(answers or (context.answer,))
        targets = [target(answer, context.gold, quoted=recipe.quote == "first") for answer in said]
        if not all(targets):
            return None
    return Question(
        example=e.id,
        question=e.question,
        slice=e.stratum,
        workspace=e.workspace,
        pinned=bool(e.pinned),
        answers=tuple(said),
        targets=tuple(targets),
        gold=frozenset(p.chunk for p in context.gold),
        read=read,
        withheld=withheld,
        suite=suite,
    )
