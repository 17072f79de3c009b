"""Runs, adapters, their rollouts, and schedules."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from kernel.tables import Base


class Run(Base):
    """One retrain, from request to verdict. Its folder is the record; this row is its state."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str]
    workspace: Mapped[str | None]
    options: Mapped[dict[str, Any]]
    """policy, rho, seed, control"""
    adapter: Mapped[str | None]
    parent: Mapped[str | None]
    """The champion it started from and is compared with."""
    epoch: Mapped[int | None]
    metrics: Mapped[dict[str, Any]]
    verdict: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created: Mapped[int]
    finished: Mapped[int | None]


class Adapter(Base):
    __tablename__ = "adapters"
    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str]
    parent: Mapped[str | None]
    run: Mapped[str]
    path: Mapped[str]
    """Relative to the home folder, so that a home can be moved."""
    accepted: Mapped[int]
    share: Mapped[float]
    created: Mapped[int]


class Rollout(Base):
    """One trial of an adapter on live questions, from its start to how it ended."""

    __tablename__ = "rollouts"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(index=True)
    adapter: Mapped[str]
    against: Mapped[str | None]
    """The champion it is compared with; null is the base model."""
    stage: Mapped[str]
    """shadow | canary: where it is, or was when it ended."""
    share: Mapped[float]
    steps: Mapped[list[Any]]
    """Shares still to come, in order; 1 is the champion's place."""
    plan: Mapped[dict[str, Any]]
    """Figures of the sequential test."""
    override: Mapped[str | None]
    """Why it is tried in spite of its gate; null where the gate accepted it."""
    outcome: Mapped[str | None]
    """promoted | harm | stopped | superseded; null while it runs."""
    reason: Mapped[str]
    started: Mapped[int]
    stepped: Mapped[int]
    """When the stage or share it has now began."""
    ended: Mapped[int | None]


class Schedule(Base):
    __tablename__ = "schedules"
    id: Mapped[str] = mapped_column(primary_key=True)
    cron: Mapped[str]
    kind: Mapped[str]
    workspace: Mapped[str | None]
    options: Mapped[dict[str, Any]]
    paused: Mapped[int]
    last: Mapped[int | None]
    next: Mapped[int]
    created: Mapped[int]
