"""Turns and feedback: what was asked, what was shown, what people said of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm.attributes import flag_modified

from kernel.database import Database
from kernel.errors import NotFound, UserError
from kernel.ids import fresh, iso, now_ms
from retrieval.tables import Cited, Feedback, Turn

REDACTED = "[deleted]"
_MARK = re.compile(r"\[\d+\]")


class Turns:
    """Stores and finds turns; also erases what they quote of a deleted document."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def keep(self, workspace: str, question: str, shown: dict[str, Any], asked_at: int) -> None:
        with self._db.write() as session:
            session.add(
                Turn(
                    id=shown["turn"],
                    workspace=workspace,
                    question=question,
                    shown=shown,
                    epoch=shown["epoch"],
                    asked_at=asked_at,
                    created=now_ms(),
                )
            )
            session.flush()
            named = {c["document"] for c in (*shown["citations"], *shown["closest"])}
            session.add_all(Cited(turn=shown["turn"], document=document) for document in named)

    def get(self, turn: str) -> Turn:
        with self._db.read() as session:
            found = session.get(Turn, turn)
        if found is None:
            raise NotFound(f"no turn {turn!r}", hint="`reprise ask` prints the turn of its answer")
        return found

    def listing(self, limit: int = 50) -> list[dict[str, Any]]:
        """Newest first, with the votes each got."""
        with self._db.read() as session:
            turns = list(session.scalars(select(Turn).order_by(Turn.created.desc()).limit(limit)))
            votes: dict[str, list[str]] = {}
            for turn, vote in session.execute(
                select(Feedback.turn, Feedback.vote).where(Feedback.turn.in_([t.id for t in turns]))
            ):
                votes.setdefault(turn, []).append(vote)
        return [
            {
                "turn": t.id,
                "question": t.question,
                "answer": t.shown["answer"],
                "abstained": t.shown["abstained"],
                "workspace": t.workspace,
                "votes": votes.get(t.id, []),
                "at": iso(t.created),
            }
            for t in turns
        ]

    def vote(self, turn: str, vote: str, correction: str | None) -> str:
        """Record feedback; its id.

        Raises:
            UserError: neither up nor down.
            NotFound: no such turn.
        """
        if vote not in ("up", "down"):
            raise UserError(f"{vote!r} is not a vote", hint="give up or down")
        self.get(turn)
        feedback = fresh("fb")
        with self._db.write() as session:
            session.add(Feedback(id=feedback, turn=turn, vote=vote, correction=correction, created=now_ms()))
        return feedback

    # --- ingest.delete.Eraser --------------------------------------------------------------------

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """Redact the quotes, the answers that were made of them, and what people said they should have been."""
        with self._db.write() as session:
            turns = list(
                session.scalars(select(Turn).join(Cited, Cited.turn == Turn.id).where(Cited.document == document))
            )
            for turn in turns:
                for citation in (*turn.shown["citations"], *turn.shown["closest"]):
                    if citation["document"] == document:
                        citation.update(quote=REDACTED, name=REDACTED, title=REDACTED, heading="", start=0, end=0)
                turn.shown["answer"] = " ".join([REDACTED, *_MARK.findall(turn.shown["answer"])])
                flag_modified(turn, "shown")
            corrected = Feedback.turn.in_([turn.id for turn in turns]) & Feedback.correction.is_not(None)
            session.execute(update(Feedback).where(corrected).values(correction=REDACTED))
            session.execute(delete(Cited).where(Cited.document == document))
        return {"turns_redacted": len(turns)}
