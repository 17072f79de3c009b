"""Turns that people voted down, as rows: what was shown, with the passages it was written from.

A thumb up makes an example, and comes with the mix. A thumb down without a correction makes none, as nothing says what
would be right; it still says what was wrong. A turn is left out when it holds words of a person (earlier turns,
wishes), when anything it cites stands no more, when it was a refusal, and when its question is the exam's: held out, or
about a passage on which nothing is practised.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.generator.context import Contexts
from finetune.generator.rows import Said, TrainRow
from ingest.library import Library
from kernel.database import Database, listed
from kernel.types import Passage, When
from rehearsal.split import Asking, kept_back, question_key
from rehearsal.tables import MixRow
from retrieval.generators.marks import parse_marks
from retrieval.search import as_passage
from retrieval.tables import Feedback, Turn
from retrieval.turns import REDACTED, written

MOST = 5_000
"""Turns that are read, the newest first."""


class Votes:
    """Reads thumbs down."""

    def __init__(self, db: Database, library: Library, contexts: Contexts) -> None:
        self._db, self._library, self._contexts = db, library, contexts

    def down(
        self, workspace: str | None, when: When, distractors: int, without: Collection[str] = ()
    ) -> list[TrainRow]:
        """A row for each turn whose last vote was down, oldest first; none that cites a document of `without`."""
        turns = self._turns(workspace, without)
        cited = {str(c["chunk"]) for turn in turns for c in turn.shown["citations"]}
        placed = {point: as_passage(p) for point, p in self._library.place(sorted(cited), when).items()}
        standing = [t for t in turns if all(str(c["chunk"]) in placed for c in t.shown["citations"])]
        beside = self._contexts.served([(t.workspace, t.meant) for t in standing], when, distractors + 1, without)
        rows = [_row(turn, placed, near, distractors) for turn, near in zip(standing, beside, strict=True)]
        return [row for row in rows if row.chosen]

    def count(self, workspace: str | None, without: Collection[str] = ()) -> int:
        """How many there are, before it is asked whether what they cite still stands."""
        return len(self._turns(workspace, without))

    def note(self, run: str, rows: Sequence[TrainRow]) -> None:
        """Enter the turns as rows of the run's mix, so that a delete finds the adapters that saw them."""
        with self._db.write() as session:
            known = set(session.scalars(select(MixRow.example).where(MixRow.run == run)))
            new = dict.fromkeys(row.example for row in rows if row.part == "vote" and row.example not in known)
            session.add_all(MixRow(run=run, example=turn, part="vote") for turn in new)

    def _turns(self, workspace: str | None, without: Collection[str]) -> list[Turn]:
        wanted = select(Turn).join(Feedback, Feedback.turn == Turn.id).where(Turn.personal == 0)
        if workspace is not None:
            wanted = wanted.where(Turn.workspace == workspace)
        with self._db.read() as session:
            turns = list(session.scalars(wanted.distinct().order_by(Turn.created.desc()).limit(MOST)))
            last: dict[str, Feedback] = {}
            votes = select(Feedback).where(Feedback.turn.in_(listed([t.id for t in turns]))).order_by(Feedback.created)
            for vote in session.scalars(votes):
                last[vote.turn] = vote
            told = [t for t in reversed(turns) if t.id in last and _told(t.shown, last[t.id])]  # or it was taken back
            told = [t for t in told if not {c["document"] for c in t.shown["citations"]} & set(without)]
            return _practised(session, told)


def _practised(session: Session, turns: Sequence[Turn]) -> list[Turn]:
    """Those that may be practised: an exam whose questions were trained on tells nothing."""
    exam: set[str] = set()
    for workspace in sorted({t.workspace for t in turns}):
        ours = [t for t in turns if t.workspace == workspace]
        asked = [
            Asking(key=question_key(t.meant), points=tuple(str(c["chunk"]) for c in t.shown["citations"])) for t in ours
        ]
        exam |= {t.id for t, held in zip(ours, kept_back(session, workspace, asked), strict=True) if held}
    return [t for t in turns if t.id not in exam]


def _told(shown: dict[str, Any], vote: Feedback) -> bool:
    if vote.vote != "down" or vote.correction or shown.get("abstained") or not shown.get("citations"):
        return False
    return REDACTED not in str(shown["answer"]) and not any(REDACTED in str(c["quote"]) for c in shown["citations"])


def _row(turn: Turn, placed: dict[str, Passage], near: Sequence[Passage], distractors: int) -> TrainRow:
    chunks = {int(c["n"]): str(c["chunk"]) for c in turn.shown["citations"]}
    passages = {chunk: placed[chunk] for chunk in chunks.values()}
    gold = frozenset(passages)
    passages |= {p.chunk: p for p in near[:distractors] if p.chunk not in passages}
    said = parse_marks(written(turn.shown), max(chunks))
    return TrainRow(
        example=turn.id,
        question=turn.meant,
        passages=tuple(passages.values()),
        gold=gold,
        chosen=tuple(
            Said(text=s.text, cites=tuple(dict.fromkeys(chunks[m] for m in s.marks if m in chunks))) for s in said
        ),
        label=False,
        part="vote",
    )
