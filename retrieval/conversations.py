"""Conversations: turns of one person that are read together. Visible, bounded, and gone when they are deleted.

A conversation belongs to a user, which is a name that the caller gives and no proof of who it is. What is handed to
generators and to the reading of follow-ups is bounded twice: so many exchanges, so many characters.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from kernel.database import Database, affected
from kernel.errors import NotFound, UserError
from kernel.ids import fresh, iso, now_ms
from kernel.types import Exchange
from retrieval.tables import Cited, Conversation, Difference, Exposure, Feedback, Turn
from retrieval.turns import REDACTED, votes

TITLE = 80
"""Characters of a title at most."""
_MARKS = re.compile(r"\s*\[\d+\]")


class Conversations:
    """Opens, finds, shows and deletes conversations. `Turns.keep` appends to them."""

    def __init__(self, db: Database, *, exchanges: int, chars: int) -> None:
        self._db, self._exchanges, self._chars = db, exchanges, chars

    def open(self, user: str, workspace: str, question: str) -> str:
        """A new conversation, titled by its first question; its id."""
        conversation, now = fresh("conv"), now_ms()
        with self._db.write() as session:
            session.add(
                Conversation(
                    id=conversation,
                    user=user,
                    workspace=workspace,
                    title=_title(question),
                    created=now,
                    updated=now,
                )
            )
        return conversation

    def find(self, conversation: str, user: str) -> Conversation:
        """Raises:
        NotFound: there is none of that id which belongs to the user.
        """
        with self._db.read() as session:
            return _find(session, conversation, user)

    def history(self, conversation: str) -> tuple[Exchange, ...]:
        """Its last exchanges, oldest first, within the bounds of the settings.

        Questions as they stood alone, answers without marks. An answer that was refused, or redacted since, is empty.
        The newest exchange is there in any case, its answer cut where it alone is too long.
        """
        with self._db.read() as session:
            newest = select(Turn).where(Turn.conversation == conversation).order_by(Turn.position.desc())
            turns = list(session.scalars(newest.limit(self._exchanges)))
        kept: list[Exchange] = []
        room = self._chars
        for turn in turns:
            answer = "" if turn.shown["abstained"] else _MARKS.sub("", turn.shown["answer"])
            if answer.startswith(REDACTED):
                answer = ""
            if len(turn.meant) + len(answer) > room:
                if kept:
                    break
                answer = answer[: max(0, room - len(turn.meant))]
            room -= len(turn.meant) + len(answer)
            kept.append(Exchange(question=turn.meant, answer=answer))
        return tuple(reversed(kept))

    def listing(self, user: str, limit: int = 50) -> list[dict[str, Any]]:
        """A user's conversations, the one that was last spoken in first."""
        with self._db.read() as session:
            mine = select(Conversation).where(Conversation.user == user)
            found = list(session.scalars(mine.order_by(Conversation.updated.desc(), Conversation.id).limit(limit)))
            lengths = _lengths(session, [c.id for c in found])
        return [_json(c, lengths.get(c.id, 0)) for c in found]

    def show(self, conversation: str, user: str) -> dict[str, Any]:
        """A conversation with its turns, oldest first.

        Raises:
            NotFound: the user has no such conversation.
        """
        with self._db.read() as session:
            found = _find(session, conversation, user)
            rows = select(Turn).where(Turn.conversation == found.id).order_by(Turn.position)
            turns = list(session.scalars(rows))
            voted = votes(session, [t.id for t in turns])
        return _json(found, len(turns)) | {"turns": [turn_json(t, voted.get(t.id, [])) for t in turns]}

    def rename(self, conversation: str, title: str, user: str) -> dict[str, Any]:
        """Give it another title.

        Raises:
            NotFound: the user has no such conversation.
            UserError: the title is empty.
        """
        if not title.strip():
            raise UserError("the title is empty", hint="give a few words")
        with self._db.write() as session:
            found = _find(session, conversation, user)
            found.title = _title(title)
            return _json(found, _lengths(session, [found.id]).get(found.id, 0))

    def delete(self, conversation: str, user: str) -> dict[str, Any]:
        """Delete it with its turns and what was said of them; the receipt.

        Examples that feedback made are not this module's: they are named, and nothing else leads to them afterwards.
        Those into which history or preferences went must not stay; whoever calls withdraws them.

        Raises:
            NotFound: the user has no such conversation.
        """
        with self._db.write() as session:
            found = _find(session, conversation, user)
            gone = _forget(session, Turn.conversation == found.id)
            session.delete(found)
        self._db.erase_traces()
        return {"conversation": conversation, **gone}

    def discard_empty(self, conversation: str) -> None:
        """Take one away in which nothing was said: its first question failed."""
        with self._db.write() as session:
            if not _lengths(session, [conversation]):
                session.execute(delete(Conversation).where(Conversation.id == conversation))

    # --- everything of a person ------------------------------------------------------------------

    def export(self, user: str) -> dict[str, Any]:
        """Everything a user asked and said: conversations, questions outside of them, feedback."""
        with self._db.read() as session:
            mine = select(Conversation).where(Conversation.user == user).order_by(Conversation.created)
            conversations = list(session.scalars(mine))
            turns = list(session.scalars(select(Turn).where(Turn.user == user).order_by(Turn.created)))
            said = list(session.scalars(select(Feedback).where(Feedback.turn.in_([t.id for t in turns]))))
        told: dict[str | None, list[dict[str, Any]]] = {}
        for turn in sorted(turns, key=lambda t: t.position or 0):
            told.setdefault(turn.conversation, []).append(turn_json(turn, [f.vote for f in said if f.turn == turn.id]))
        return {
            "conversations": [_json(c, len(told.get(c.id, []))) | {"turns": told.get(c.id, [])} for c in conversations],
            "questions": told.get(None, []),
            "feedback": [
                {
                    "feedback": f.id,
                    "turn": f.turn,
                    "vote": f.vote,
                    "correction": f.correction,
                    "example": f.example,
                    "at": iso(f.created),
                }
                for f in said
            ],
        }

    def forget(self, session: Session, user: str) -> dict[str, Any]:
        """Delete everything a user asked and said, in the caller's transaction; as much of a receipt as `delete`."""
        conversations = affected(session, delete(Conversation).where(Conversation.user == user))
        return {"conversations": conversations, **_forget(session, Turn.user == user)}

    def examples(self, user: str, *, personal: bool = False, conversation: str | None = None) -> list[str]:
        """Examples that the user's feedback made, in a conversation of theirs if one is given.

        Only those into which history or preferences went if `personal`.
        """
        with self._db.read() as session:
            made = select(Feedback.example).join(Turn, Turn.id == Feedback.turn)
            made = made.where(Turn.user == user, Feedback.example.is_not(None))
            if personal:
                made = made.where(Turn.personal == 1)
            if conversation is not None:
                made = made.where(Turn.conversation == conversation)
            return sorted({example for example in session.scalars(made) if example})

    def turns(self, user: str, *, conversation: str | None = None) -> list[str]:
        """Ids of what the user asked, in a conversation of theirs if one is given."""
        with self._db.read() as session:
            asked = select(Turn.id).where(Turn.user == user)
            if conversation is not None:
                asked = asked.where(Turn.conversation == conversation)
            return sorted(session.scalars(asked))


def turn_json(turn: Turn, voted: list[str]) -> dict[str, Any]:
    """A turn as conversations show it; `shown` is the JSON of `reprise ask`, quotes of deleted documents redacted."""
    return {
        "turn": turn.id,
        "position": turn.position,
        "question": turn.question,
        "standalone": turn.meant,
        "rewritten": turn.standalone is not None,
        "votes": voted,
        "at": iso(turn.created),
        "shown": turn.shown,
    }


def _find(session: Session, conversation: str, user: str) -> Conversation:
    found = session.get(Conversation, conversation)
    if found is None or found.user != user:
        raise NotFound(
            f"{user!r} has no conversation {conversation!r}",
            hint="`reprise conversations` lists them",
            code="no_conversation",
        )
    return found


def _lengths(session: Session, conversations: list[str]) -> dict[str, int]:
    counted = select(Turn.conversation, func.count()).where(Turn.conversation.in_(conversations))
    return {name: n for name, n in session.execute(counted.group_by(Turn.conversation)) if name}


def _forget(session: Session, ours: Any) -> dict[str, Any]:
    """Delete turns, their citations and their feedback; how many, and the examples that the feedback had made: those
    into which history or preferences went, and the others."""
    turns = select(Turn.id).where(ours)
    with_history = set(session.scalars(turns.where(Turn.personal == 1)))
    # What is noted while this waits for it is returned as well: the row as it was when it went.
    feedback = session.execute(
        delete(Feedback).where(Feedback.turn.in_(turns)).returning(Feedback.example, Feedback.turn)
    ).all()
    examples = {example for example, _ in feedback if example}
    personal = {example for example, turn in feedback if example and turn in with_history}
    for table in (Cited, Exposure, Difference):
        session.execute(delete(table).where(table.turn.in_(turns)))
    return {
        "turns": affected(session, delete(Turn).where(ours)),
        "feedback": len(feedback),
        "examples_personal": sorted(personal),
        "examples_kept": sorted(examples - personal),
    }


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE else line[: TITLE - 1].rstrip() + "…"


def _json(c: Conversation, turns: int) -> dict[str, Any]:
    return {
        "conversation": c.id,
        "title": c.title,
        "workspace": c.workspace,
        "turns_count": turns,
        "created": iso(c.created),
        "updated": iso(c.updated),
    }
