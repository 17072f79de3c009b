"""Evaluation on held-out examples: what each model ranks where, by the dense arm that is trained and as served."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from sqlalchemy import select

from finetune.metrics import ndcg_at_k
from ingest.tables import Document
from kernel.database import Database, listed
from kernel.epochs import Epochs
from kernel.types import OPEN, Passage, When
from rehearsal.tables import Example, Ground, MixRow
from retrieval.generators.prompt import NO_ANSWER
from retrieval.live import LiveRetriever
from retrieval.search import Scope, Search

K = 10
_BATCH = 64
Encode = Callable[[Sequence[str]], np.ndarray]
"""Questions to unit vectors (n, dimension)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A held-out example with what is relevant to it now. One without anything relevant should be refused."""

    example: str
    question: str
    slice: str
    pinned: bool
    workspace: str
    points: frozenset[str]
    documents: frozenset[str]
    """Documents that are relevant as a whole; the others are by point."""
    sources: frozenset[str] = frozenset()
    """Every document that something relevant stands in."""
    suite: str | None = None
    """The pinned suite it comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What one model made of each example."""

    dense: dict[str, float] = field(default_factory=dict)
    """nDCG@10 by the arm that is trained; there is none of a question without anything relevant."""
    served: dict[str, float] = field(default_factory=dict)
    """nDCG@10 as served."""
    wrong: dict[str, dict[str, int]] = field(default_factory=dict)
    """Names of the documents among the first ten by that arm in which nothing relevant stands, with their places."""
    names: dict[str, str] = field(default_factory=dict)
    """Of these documents, by id."""
    top: dict[str, tuple[Passage, ...]] = field(default_factory=dict, repr=False)
    """The first passages as served, of every question."""


class Evaluator:
    """Ranks held-out questions with adapters that are loaded under their names."""

    def __init__(self, db: Database, search: Search, live: LiveRetriever, epochs: Epochs) -> None:
        self._db, self._search, self._live, self._epochs = db, search, live, epochs

    def questions(self, workspace: str | None, split: Literal["held-out", "train"] = "held-out") -> list[Question]:
        """Approved examples of a split that some live chunk grounds, in order of id."""
        examples, grounds, live = self._examples(workspace, split)
        return [_question(e, grounds[e.id], live) for e in examples if e.id in grounds]

    def unanswerable(self, workspace: str | None) -> list[Question]:
        """Held-out examples that nothing grounds and that have no answer: what should be refused. In order of id.

        Whoever imports may also write that down, as `NO_ANSWER`.
        """
        examples, grounds, live = self._examples(workspace, "held-out")
        blank = {None, "", NO_ANSWER}
        return [
            _question(e, [], live)
            for e in examples
            if e.id not in grounds and not e.preferred and (e.answer and e.answer.strip()) in blank
        ]

    def when(self) -> When:
        """Now. Models that are compared answer from the documents of one moment, whatever is published meanwhile."""
        return self._search.when()

    def score(
        self, questions: Sequence[Question], adapter: str | None, when: When, encode: Encode | None = None
    ) -> Scores:
        """Score one loaded adapter, or the base model when None; or whatever `encode` is."""
        scores = Scores()
        for workspace in sorted({q.workspace for q in questions}):
            ours = [q for q in questions if q.workspace == workspace]
            scope = Scope(workspace=workspace, when=when)
            for start in range(0, len(ours), _BATCH):
                batch = ours[start : start + _BATCH]
                texts = [q.question for q in batch]
                with self._epochs.one_index():
                    vectors = np.asarray(encode(texts) if encode else self._live.encode_with(adapter, texts))
                    dense = self._search.rank(texts, vectors, 3 * K, scope, fused=False)
                    served = self._search.rank(texts, vectors, 3 * K, scope, fused=True)
                for question, by_arm, as_served in zip(batch, dense, served, strict=True):
                    _take(scores, question, by_arm, as_served)
        return scores

    def seen(self, questions: Sequence[Question], runs: Collection[str]) -> dict[str, bool]:
        """Whether a chunk that grounds a question was trained on in one of `runs`, with another question of course."""
        with self._db.read() as session:
            trained = select(Ground.point, Ground.document, Ground.quote).join(
                MixRow, (MixRow.example == Ground.example) & MixRow.run.in_(runs)
            )
            rows = session.execute(trained.distinct()).all()
        points, whole = {point for point, _, _ in rows}, {document for _, document, quote in rows if not quote}
        return {q.example: bool(q.points & points or q.documents & whole) for q in questions}

    def _examples(self, workspace: str | None, split: str) -> tuple[list[Example], dict[str, list[Ground]], set[str]]:
        """Approved examples of a split in order of id, what grounds them, and the documents that are live."""
        with self._db.read() as session:
            wanted = select(Example).where(Example.status == "approved", Example.split == split, Example.died == OPEN)
            if workspace is not None:
                wanted = wanted.where(Example.workspace == workspace)
            examples = list(session.scalars(wanted.order_by(Example.id)))
            live = set(session.scalars(select(Document.id).where(Document.state == "live")))
            grounds: dict[str, list[Ground]] = {}
            for ground in session.scalars(select(Ground).where(Ground.example.in_(listed([e.id for e in examples])))):
                grounds.setdefault(ground.example, []).append(ground)
        return examples, grounds, live


def ndcg(question: Question, passages: Sequence[Passage]) -> float:
    """Binary nDCG@10. A whole document counts once, at its first passage; a quote counts at the chunk that holds it."""
    gains: list[float] = []
    seen: set[str] = set()
    for passage in passages:
        if passage.document in question.documents:
            if passage.document in seen:
                continue
            seen.add(passage.document)
            gains.append(1.0)
        elif question.documents and passage.document in seen:
            continue  # documents are ranked, so a document's later passages take no place
        else:
            if question.documents:
                seen.add(passage.document)
            gains.append(1.0 if passage.chunk in question.points else 0.0)
    return ndcg_at_k(gains, len(question.points) + len(question.documents), K)


def _take(scores: Scores, question: Question, dense: Sequence[Passage], served: Sequence[Passage]) -> None:
    scores.top[question.example] = tuple(served[:K])
    if not question.points and not question.documents:
        return
    scores.dense[question.example] = ndcg(question, dense)
    scores.served[question.example] = ndcg(question, served)
    documents = list({passage.document: passage.name for passage in dense}.items())[:K]
    wrong = scores.wrong[question.example] = {}
    for place, (document, name) in enumerate(documents, 1):
        if document not in question.sources:
            wrong.setdefault(name, place)
            scores.names[document] = name


def _question(e: Example, grounds: Sequence[Ground], live: set[str]) -> Question:
    return Question(
        example=e.id,
        question=e.question,
        slice=e.stratum,
        pinned=bool(e.pinned),
        workspace=e.workspace,
        points=frozenset(g.point for g in grounds if g.quote),
        documents=frozenset(g.document for g in grounds if not g.quote and g.document in live),
        sources=frozenset(g.document for g in grounds),
    )
