"""Conversations, turns, feedback, preferences, and which adapter serves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from kernel.tables import Base


class Conversation(Base):
    """Turns of one person that are read together."""

    __tablename__ = "conversations"
    id: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str] = mapped_column(index=True)
    workspace: Mapped[str]
    title: Mapped[str]
    created: Mapped[int]
    updated: Mapped[int]


class Turn(Base):
    """One question and the answer that was shown, as it was shown."""

    __tablename__ = "turns"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str]
    question: Mapped[str]
    """As it was asked."""
    standalone: Mapped[str | None]
    """As it was understood with the conversation before it; null where that is the same."""
    user: Mapped[str] = mapped_column(server_default="local", index=True)
    conversation: Mapped[str | None] = mapped_column(index=True)
    """No foreign key: SQLite could only add one by making the table anew, from under the rows that refer to it."""
    position: Mapped[int | None]
    """Its place in the conversation, from 1."""
    personal: Mapped[int] = mapped_column(server_default="0")
    """1 where earlier turns or a person's wishes went into it: then it makes examples by that person's consent only."""
    shown: Mapped[dict[str, Any]]
    """The JSON of `reprise ask`."""
    epoch: Mapped[int]
    asked_at: Mapped[int]
    """The world time (ms) the question was about."""
    created: Mapped[int] = mapped_column(index=True)

    @property
    def meant(self) -> str:
        """The question as it stands alone."""
        return self.standalone or self.question


class Cited(Base):
    """Which documents a turn shows words of, so that a delete finds it."""

    __tablename__ = "cited"
    turn: Mapped[str] = mapped_column(ForeignKey("turns.id"), primary_key=True)
    document: Mapped[str] = mapped_column(primary_key=True, index=True)


class Feedback(Base):
    __tablename__ = "feedback"
    id: Mapped[str] = mapped_column(primary_key=True)
    turn: Mapped[str] = mapped_column(ForeignKey("turns.id"), index=True)
    vote: Mapped[str]
    correction: Mapped[str | None]
    example: Mapped[str | None]
    """The example it made."""
    created: Mapped[int]


class PreferenceRow(Base):
    """What one person set. Who set nothing has no row."""

    __tablename__ = "preferences"
    user: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str | None]
    length: Mapped[str | None]
    tone: Mapped[str | None]
    workspace: Mapped[str | None]
    documents: Mapped[list[Any]]
    """Ids of documents."""
    tags: Mapped[list[Any]]
    consent: Mapped[int]
    changed: Mapped[int]


class Pointer(Base):
    """The adapter that serves for a kind, and the one before it. A null serves the base model."""

    __tablename__ = "pointers"
    kind: Mapped[str] = mapped_column(primary_key=True)
    champion: Mapped[str | None]
    champion_path: Mapped[str | None]
    previous: Mapped[str | None]
    previous_path: Mapped[str | None]
    changed: Mapped[int]
