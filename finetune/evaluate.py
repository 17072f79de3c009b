"""Evaluation on held-out examples: what each model ranks where, by the dense arm that is trained and as served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from sqlalchemy import select

from finetune.metrics import ndcg_at_k
from ingest.tables import Document
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.types import OPEN, Passage
from rehearsal.tables import Example, Ground
from retrieval.live import LiveRetriever
from retrieval.search import Scope, Search

K = 10
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A held-out example with what is relevant to it now."""

    example: str
    question: str
    slice: str
    pinned: bool
    workspace: str
    points: frozenset[str]
    documents: frozenset[str]
    """Documents that are relevant as a whole; the others are by point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """nDCG@10 of one model for each example, by the dense arm and as served."""

    dense: dict[str, float] = field(default_factory=dict)
    served: dict[str, float] = field(default_factory=dict)


class Evaluator:
    """Ranks held-out questions with adapters that are loaded under their names."""

    def __init__(self, db: Database, search: Search, live: LiveRetriever, epochs: Epochs) -> None:
        self._db, self._search, self._live, self._epochs = db, search, live, epochs

    def questions(self, workspace: str | None, split: Literal["held-out", "train"] = "held-out") -> list[Question]:
        """Approved examples of a split that some live chunk grounds, in order of id."""
        with self._db.read() as session:
            wanted = select(Example).where(Example.status == "approved", Example.split == split, Example.died == OPEN)
            if workspace is not None:
                wanted = wanted.where(Example.workspace == workspace)
            examples = list(session.scalars(wanted.order_by(Example.id)))
            live = set(session.scalars(select(Document.id).where(Document.state == "live")))
            grounds: dict[str, list[Ground]] = {}
            for ground in session.scalars(select(Ground).where(Ground.example.in_([e.id for e in examples]))):
                grounds.setdefault(ground.example, []).append(ground)
        return [
            Question(
                example=e.id,
                question=e.question,
                slice=e.slice,
                pinned=bool(e.pinned),
                workspace=e.workspace,
                points=frozenset(g.point for g in grounds[e.id] if g.quote),
                documents=frozenset(g.document for g in grounds[e.id] if not g.quote and g.document in live),
            )
            for e in examples
            if e.id in grounds
        ]

    def score(self, questions: Sequence[Question], adapter: str | None) -> Scores:
        """Score one loaded adapter, or the base model when None."""
        scores = Scores()
        for workspace in sorted({q.workspace for q in questions}):
            ours = [q for q in questions if q.workspace == workspace]
            scope = Scope(workspace=workspace, when=self._search.when())
            for start in range(0, len(ours), _BATCH):
                batch = ours[start : start + _BATCH]
                texts = [q.question for q in batch]
                with self._epochs.one_index():
                    vectors = self._live.encode_with(adapter, texts)
                    for into, fused in ((scores.dense, False), (scores.served, True)):
                        ranked = self._search.rank(texts, np.asarray(vectors), 3 * K, scope, fused=fused)
                        into.update({q.example: ndcg(q, passages) for q, passages in zip(batch, ranked, strict=True)})
        return scores


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
