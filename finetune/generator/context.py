"""Examples with their passages: those that answer, and those that search would put beside them, at one moment.

The same reading serves training and evaluation. Everything comes through the visibility filter of that moment, so no
row shows a passage that was superseded or deleted by then. It decides nothing about order, numbers or targets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from finetune.generator.target import holds
from ingest.library import Library
from kernel.database import Database, listed
from kernel.epochs import Epochs
from kernel.types import Passage, When
from rehearsal.ground import Quote
from rehearsal.tables import Example, Ground
from retrieval.generators.prompt import NO_ANSWER
from retrieval.live import LiveRetriever
from retrieval.search import Scope, Search, as_passage

MOST_GOLD = 3
"""Passages that answer one question, at most: a whole document is represented by its first ones."""
_BATCH = 64
_Quoted = tuple[str, str, str]
"""(document, point, quote) of what grounds an example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """An example and what is to be read with it."""

    example: Example
    quotes: tuple[str, ...]
    """Words that ground it; empty where a whole document does."""
    gold: tuple[Passage, ...]
    grounded: bool
    """Whether anything was ever given that grounds it, standing or not."""
    near: tuple[Passage, ...]
    """What search finds for the question, best first; passages that answer are among them if it finds them."""

    @property
    def answer(self) -> str | None:
        """The answer that was given, or the words that ground it; None where nothing can be written."""
        given = self.example.answer or self.example.preferred or ""
        if given.strip():
            return given
        return next((quote for quote in self.quotes if quote.strip()), None)

    @property
    def unanswerable(self) -> bool:
        """Whether the right answer is a refusal: a question on its own, which no document answers."""
        return not self.grounded and (self.answer or NO_ANSWER).strip() == NO_ANSWER

    def beside(self, *, alone: bool = False) -> list[Passage]:
        """Passages that do not answer, best first. `alone` leaves out whatever might: where nothing else is shown, the
        right answer is a refusal, and must be right."""
        gold = {p.chunk for p in self.gold}
        said = [q for q in self.quotes if q.strip()]
        if alone and self.answer:
            said.append(self.answer)
        return [p for p in self.near if p.chunk not in gold and not any(holds(p.text, text) for text in said)]


class Contexts:
    """Reads contexts. Needs the index, and the embedder for the questions."""

    def __init__(self, db: Database, library: Library, search: Search, live: LiveRetriever, epochs: Epochs) -> None:
        self._db, self._library, self._search, self._live, self._epochs = db, library, search, live, epochs

    def of(self, examples: Sequence[str], when: When, near: int, without: Collection[str] = ()) -> list[Context]:
        """The contexts of examples in the order given, each with its `near` best passages; unknown ones have none.

        Nothing of the documents `without` is shown.
        """
        with self._db.read() as session:
            found = {e.id: e for e in session.scalars(select(Example).where(Example.id.in_(listed(examples))))}
            grounds: dict[str, list[_Quoted]] = {}
            for ground in session.scalars(
                select(Ground).where(Ground.example.in_(listed(examples))).order_by(Ground.id)
            ):
                grounds.setdefault(ground.example, []).append((ground.document, ground.point, ground.quote))
        ordered = [found[e] for e in dict.fromkeys(examples) if e in found]
        return self._of(ordered, grounds, when, near, without)

    def posed(
        self,
        examples: Sequence[Example],
        quotes: Mapping[str, Sequence[Quote]],
        when: When,
        near: int,
        without: Collection[str] = (),
    ) -> list[Context]:
        """The same for examples that are in no table, with the quotes that ground each by its id."""
        grounds = {e: [(q.document, q.point, q.text) for q in some] for e, some in quotes.items() if some}
        return self._of(examples, grounds, when, near, without)

    def _of(
        self,
        examples: Sequence[Example],
        grounds: Mapping[str, Sequence[_Quoted]],
        when: When,
        near: int,
        without: Collection[str],
    ) -> list[Context]:
        beside = self._beside(examples, when, near, without)
        points = sorted({point for some in grounds.values() for on, point, _ in some if on not in without})
        placed = self._library.place(points, when)
        return [
            Context(
                example=e,
                quotes=tuple(quote for _, point, quote in grounds.get(e.id, ()) if quote and point in placed),
                gold=tuple(
                    as_passage(placed[point])
                    for point in list(dict.fromkeys(point for _, point, _ in grounds.get(e.id, ())))[:MOST_GOLD]
                    if point in placed
                ),
                grounded=e.id in grounds,
                near=beside[e.id],
            )
            for e in examples
        ]

    def served(
        self, questions: Sequence[tuple[str, str]], when: When, k: int, without: Collection[str] = ()
    ) -> list[tuple[Passage, ...]]:
        """The `k` best passages for each (workspace, question), as search serves them."""
        found: dict[int, tuple[Passage, ...]] = {}
        for workspace in sorted({w for w, _ in questions}):
            ours = [n for n, (w, _) in enumerate(questions) if w == workspace]
            for start in range(0, len(ours), _BATCH):
                some = ours[start : start + _BATCH]
                texts = [questions[n][1] for n in some]
                with self._epochs.one_index():
                    vectors = np.asarray(self._live.encode(texts)[0])
                    ranked = self._search.rank(texts, vectors, k, Scope(workspace=workspace, when=when), fused=True)
                for n, passages in zip(some, ranked, strict=True):
                    found[n] = tuple(p for p in passages if p.document not in without)
        return [found[n] for n in range(len(questions))]

    def _beside(
        self, examples: Sequence[Example], when: When, k: int, without: Collection[str]
    ) -> dict[str, tuple[Passage, ...]]:
        ranked = self.served([(e.workspace, e.question) for e in examples], when, k, without)
        return {e.id: passages for e, passages in zip(examples, ranked, strict=True)}
