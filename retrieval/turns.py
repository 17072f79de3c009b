"""Turns and feedback: what was asked, by whom, what was shown, what people said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from ingest.tables import Document
from kernel.database import Database, affected, alone
from kernel.errors import NotFound, UserError
from kernel.ids import fresh, iso, now_ms
from retrieval.tables import Cited, Conversation, Exposure, Feedback, Turn

LOCAL = "local"
REDACTED = "[deleted]"
WITHHELD = "[not shown]"
_LOCK = "turns"
"""A turn is either kept before its documents are erased from turns, or sees that they are deleted."""
_MARK = re.compile(r"\[\d+\]")
_GONE = {"quote": REDACTED, "name": REDACTED, "title": REDACTED, "text": REDACTED, "heading": "", "start": 0, "end": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asked, in which conversation, in which words, and what of that person went into the answer."""

    user: str = LOCAL
    conversation: str | None = None
    asked: str | None = None
    """The question as it was typed, where it was understood as another; None where that is the same."""
    personal: bool = False
    """Earlier turns, or how the person wishes to be answered, went into the answer."""

    def told(self, question: str) -> dict[str, Any]:
        """What an answer's JSON says of it; `question` as it stands alone."""
        return {
            "question": question,
            "asked": self.asked or question,
            "rewritten": self.asked is not None and self.asked != question,
            "conversation": self.conversation,
            "user": self.user,
        }


class Turns:
    """Stores and finds turns; also erases what they quote of a deleted document."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def keep(
        self,
        workspace: str,
        question: str,
        shown: dict[str, Any],
        asked_at: int,
        by: Asker | None = None,
        trials: Sequence[Exposure] = (),
    ) -> None:
        """Store a turn, at the end of its conversation where it has one, and what trials it was part of.

        `question` stands alone.

        Raises:
            NotFound: the conversation was deleted meanwhile; nothing was kept.
        """
        by = by or Asker()
        now = now_ms()
        with self._db.write() as session:
            position = None
            if by.conversation is not None:
                told = session.get(Conversation, by.conversation, with_for_update=True)
                if told is None:
                    raise NotFound(f"conversation {by.conversation!r} was deleted meanwhile", hint="open a new one")
                last = select(func.max(Turn.position)).where(Turn.conversation == told.id)
                position, told.updated = (session.scalar(last) or 0) + 1, now
            kept = _storable(shown)
            named = {about["document"] for about in _about(shown)}
            standing = _standing(session, named)
            if named - standing:  # deleted while the answer was being written, which goes on to whoever asked
                kept = deepcopy(kept)
            for document in named - standing:
                _redact(kept, document)
            session.add(
                Turn(
                    id=shown["turn"],
                    workspace=workspace,
                    question=by.asked or question,
                    standalone=question if by.asked and by.asked != question else None,
                    user=by.user,
                    conversation=by.conversation,
                    position=position,
                    personal=int(by.personal),
                    shown=kept,
                    epoch=shown["epoch"],
                    asked_at=asked_at,
                    created=now,
                )
            )
            session.add_all(trials)
            session.flush()
            session.add_all(Cited(turn=shown["turn"], document=document) for document in standing)

    def get(self, turn: str) -> Turn:
        """
        Raises:
            NotFound: there is none.
        """
        with self._db.read() as session:
            return _found(session, turn)

    def listing(self, limit: int = 50) -> list[dict[str, Any]]:
        """Newest first, with the votes each got."""
        with self._db.read() as session:
            turns = list(session.scalars(select(Turn).order_by(Turn.created.desc()).limit(limit)))
            voted = votes(session, [t.id for t in turns])
        return [
            {
                "turn": t.id,
                "question": t.question,
                "standalone": t.meant,
                "answer": t.shown["answer"],
                "abstained": t.shown["abstained"],
                "workspace": t.workspace,
                "user": t.user,
                "conversation": t.conversation,
                "votes": voted.get(t.id, []),
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
        feedback = fresh("fb")
        with self._db.write() as session:
            _found(session, turn)
            last = session.scalar(select(func.max(Feedback.created)).where(Feedback.turn == turn))
            created = max(now_ms(), (last or 0) + 1)  # votes of one millisecond have an order too
            session.add(Feedback(id=feedback, turn=turn, vote=vote, correction=correction, created=created))
        return feedback

    def made(self, feedback: str, example: str) -> bool:
        """Remember which example a feedback made; False where it was deleted meanwhile."""
        with self._db.write() as session:
            return affected(session, update(Feedback).where(Feedback.id == feedback).values(example=example)) > 0

    # --- ingest.delete.Eraser --------------------------------------------------------------------

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """Redact the quotes, the answers that were made of them, and what people said they should have been.

        A question that was understood with such an answer before it is again only what the person typed.
        """
        with self._db.write() as session:
            alone(session, _LOCK)
            turns = list(
                session.scalars(select(Turn).join(Cited, Cited.turn == Turn.id).where(Cited.document == document))
            )
            for turn in turns:
                _redact(turn.shown, document)
                flag_modified(turn, "shown")
            conversations = {turn.conversation for turn in turns} - {None}
            for turn in session.scalars(select(Turn).where(Turn.conversation.in_(conversations))):
                if turn.standalone is not None:
                    turn.standalone = None
                    turn.shown = _without_notes(turn.shown) | {"question": turn.question}
            corrected = Feedback.turn.in_([turn.id for turn in turns]) & Feedback.correction.is_not(None)
            session.execute(update(Feedback).where(corrected).values(correction=REDACTED))
            session.execute(delete(Cited).where(Cited.document == document))
        return {"turns_redacted": len(turns)}


def _found(session: Session, turn: str) -> Turn:
    found = session.get(Turn, turn)
    if found is None:
        raise NotFound(f"no turn {turn!r}", hint="`reprise ask` prints the turn of its answer")
    return found


def _storable(shown: dict[str, Any]) -> dict[str, Any]:
    """Without the words of sentences that nothing supported: no citation leads a delete to them."""
    judged = shown.get("sentences", ())
    return shown | {"sentences": [s if s.get("supported", True) else s | {"text": WITHHELD} for s in judged]}


def _standing(session: Session, documents: set[str]) -> set[str]:
    """Those of the documents that are not deleted. Whoever erases one meanwhile waits, and then finds the turn."""
    alone(session, _LOCK)
    return set(session.scalars(select(Document.id).where(Document.id.in_(documents), Document.state == "live")))


def _redact(shown: dict[str, Any], document: str) -> None:
    """Take a document's words out of what was shown, and all that was written from them, in place."""
    about = list(_about(shown, document))
    quoted = any(_about(shown | {"scope": None}, document))  # not only named as where to look
    quoted = quoted or any(one.get("name") and one["name"] in shown["answer"] for one in about)  # a refusal says where
    for one in about:
        one.update((name, gone) for name, gone in _GONE.items() if name in one)
    if quoted:
        shown["answer"] = " ".join([REDACTED, *_MARK.findall(shown["answer"])])
        for sentence in shown.get("sentences", ()):
            sentence["text"] = REDACTED
        shown["notes"] = [REDACTED for _ in shown.get("notes", ())]


def _without_notes(shown: dict[str, Any]) -> dict[str, Any]:
    """The same without the notes, which name parts of the question in the words in which it was understood."""
    answer = shown["answer"]
    for note in shown.get("notes", ()):
        answer = answer.replace(note, REDACTED)
    return shown | {"answer": answer, "notes": [REDACTED for _ in shown.get("notes", ())]}


def written(shown: dict[str, Any]) -> str:
    """What a generator wrote of an answer, without the platform's notes behind it, which are not to be learnt."""
    answer: str = shown["answer"]
    begins = [at for note in shown.get("notes", ()) if (at := answer.find(f"\n\n{note}")) >= 0]
    return answer[: min(begins)] if begins else answer


def votes(session: Session, turns: Sequence[str]) -> dict[str, list[str]]:
    """The votes on each of the turns that got any, oldest first."""
    found: dict[str, list[str]] = {}
    rows = select(Feedback.turn, Feedback.vote).where(Feedback.turn.in_(turns)).order_by(Feedback.created)
    for turn, vote in session.execute(rows):
        found.setdefault(turn, []).append(vote)
    return found


def _about(shown: Any, document: str | None = None) -> Iterator[dict[str, Any]]:
    """Every part of what was shown, at any depth, that is about a document (about this one): it may hold its words."""
    if isinstance(shown, dict):
        named = shown.get("document")
        if isinstance(named, str) and document in (None, named):
            yield shown
        shown = list(shown.values())
    if isinstance(shown, list):
        for part in shown:
            yield from _about(part, document)
