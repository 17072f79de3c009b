"""Turns, feedback, and which adapter serves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from kernel.tables import Base


class Turn(Base):
    """One question and the answer that was shown, as it was shown."""

    __tablename__ = "turns"
    id: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str]
    question: Mapped[str]
    shown: Mapped[dict[str, Any]]
    """The JSON of `reprise ask`."""
    epoch: Mapped[int]
    asked_at: Mapped[int]
    """The world time (ms) the question was about."""
    created: Mapped[int] = mapped_column(index=True)


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
    created: Mapped[int]


class Pointer(Base):
    """The adapter that serves for a kind, and the one before it. A null serves the base model."""

    __tablename__ = "pointers"
    kind: Mapped[str] = mapped_column(primary_key=True)
    champion: Mapped[str | None]
    champion_path: Mapped[str | None]
    previous: Mapped[str | None]
    previous_path: Mapped[str | None]
    changed: Mapped[int]
