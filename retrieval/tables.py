"""Conversations, turns, feedback, preferences; which adapter serves whom, and how a challenger is tried."""

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
    """The adapter that serves for a kind, the one before it, and the one that is tried. A null serves the base model.

    One row, so that a question never sees half of a move.
    """

    __tablename__ = "pointers"
    kind: Mapped[str] = mapped_column(primary_key=True)
    champion: Mapped[str | None]
    champion_path: Mapped[str | None]
    previous: Mapped[str | None]
    previous_path: Mapped[str | None]
    challenger: Mapped[str | None]
    challenger_path: Mapped[str | None]
    stage: Mapped[str | None]
    """shadow | canary: how the challenger is tried; null where there is none."""
    share: Mapped[float] = mapped_column(server_default="0")
    """Of those who ask, how many the challenger answers, 0 to 1."""
    rollout: Mapped[str | None]
    """Id of the trial, which also draws who belongs to the share."""
    changed: Mapped[int]


class RouteRow(Base):
    """An adapter that serves a workspace, or one slice of its questions, whatever the champion is."""

    __tablename__ = "routes"
    kind: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str] = mapped_column(primary_key=True)
    slice: Mapped[str] = mapped_column(primary_key=True)
    """Empty: the whole workspace."""
    adapter: Mapped[str]
    path: Mapped[str]
    reason: Mapped[str]
    """What the gate's verdict says for it, or why it was overridden."""
    created: Mapped[int]


class Exposure(Base):
    """Which arm of a trial answered a turn. Ids and figures; the words stay with the turn."""

    __tablename__ = "exposures"
    rollout: Mapped[str] = mapped_column(primary_key=True)
    turn: Mapped[str] = mapped_column(primary_key=True, index=True)
    arm: Mapped[str]
    """champion | canary"""
    unit: Mapped[str]
    """Digest of whom the draw was for: a user, a conversation or a question, told apart within this trial only."""
    abstained: Mapped[int]
    ms: Mapped[float]
    created: Mapped[int]


class Difference(Base):
    """How a challenger in the shadow would have answered a turn, beside what was shown. Ids and figures only."""

    __tablename__ = "differences"
    rollout: Mapped[str] = mapped_column(primary_key=True)
    turn: Mapped[str] = mapped_column(primary_key=True, index=True)
    overlap: Mapped[float | None]
    """Of the ten best passages, the share that both found; null where the trial does not change the search."""
    rbo: Mapped[float | None]
    """Rank-biased overlap of the ten best, 0 to 1; likewise null."""
    first_changed: Mapped[int]
    """1: the first citation is another one."""
    abstained: Mapped[int]
    shadow_abstained: Mapped[int]
    ms: Mapped[float]
    shadow_ms: Mapped[float | None]
    error: Mapped[str | None]
    """Code of what went wrong in the shadow; nobody saw it."""
    dropped: Mapped[int]
    """Turns that were left out since the row before, because the shadow was behind."""
    created: Mapped[int]
