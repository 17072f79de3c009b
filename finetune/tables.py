"""Runs, adapters and schedules."""

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


class StoredPolicy(Base):
    """What a person set of the gate's thresholds, for a kind of adapter. What is not named keeps its default."""

    __tablename__ = "gate_policies"
    kind: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str] = mapped_column(primary_key=True)
    """Empty for runs of all workspaces, and for those of a workspace that has no policy of its own."""
    policy: Mapped[dict[str, Any]]
    changed: Mapped[int]


class Approval(Base):
    """Who let an adapter serve that its policy made wait for a person."""

    __tablename__ = "approvals"
    adapter: Mapped[str] = mapped_column(primary_key=True)
    by: Mapped[str]
    reason: Mapped[str | None]
    at: Mapped[int]


class PinnedSuite(Base):
    """A suite of questions that every gate judges apart."""

    __tablename__ = "suites"
    name: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str]
    rows: Mapped[list[Any]]
    """Of `reprise eval`, what is relevant by id of the document, and a span with the version it was taken from."""
    by: Mapped[str]
    created: Mapped[int]


class Figure(Base):
    """What a model scored on a held-out example, when it was last measured."""

    __tablename__ = "figures"
    model: Mapped[str] = mapped_column(primary_key=True)
    """An adapter's name, or the base model by its fingerprint."""
    example: Mapped[str] = mapped_column(primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    figure: Mapped[float]
