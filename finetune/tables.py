"""Runs, the documents they saw, adapters, their rollouts, schedules and what their firings came to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Index
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


class RunDocument(Base):
    """A version of a document that a run was trained on. Ids alone, so that it may outlive a delete."""

    __tablename__ = "run_documents"
    run: Mapped[str] = mapped_column(primary_key=True)
    document: Mapped[str] = mapped_column(primary_key=True, index=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    """answer: it grounds examples of the mix. contrast: its chunks were what questions were pushed away from."""
    count: Mapped[int]
    """Examples, or chunks."""


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
    """When retrains start by themselves: at times, when a condition holds, or at times if it holds."""

    __tablename__ = "schedules"
    id: Mapped[str] = mapped_column(primary_key=True)
    cron: Mapped[str]
    """Empty where the conditions alone decide."""
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    triggers: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """As `finetune.triggers.Triggers` reads them; empty where the time alone decides."""
    cooldown: Mapped[int] = mapped_column(server_default="0")
    """Milliseconds that have to pass between two retrains of this schedule."""
    kind: Mapped[str]
    workspace: Mapped[str | None]
    options: Mapped[dict[str, Any]]
    """policy, rho: what differs from the settings."""
    paused: Mapped[int]
    last: Mapped[int | None]
    next: Mapped[int]
    """When it is looked at again."""
    seen: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """What the last look at its conditions saw."""
    created: Mapped[int]


class Firing(Base):
    """One time that a schedule was due, and what came of it. The unique index lets one beat alone have it."""

    __tablename__ = "firings"
    __table_args__ = (Index("uq_firings_schedule_due", "schedule", "due", unique=True),)
    id: Mapped[str] = mapped_column(primary_key=True)
    schedule: Mapped[str]
    due: Mapped[int]
    cause: Mapped[str]
    """time | examples | drift | gate"""
    missed: Mapped[int]
    """Times before `due` that nobody was there for; this firing stands for them too."""
    options: Mapped[dict[str, Any]]
    evidence: Mapped[dict[str, Any]]
    owner: Mapped[str]
    lease_until: Mapped[int]
    """While `result` is null: until when its owner may be at it; then another beat takes it up."""
    result: Mapped[str | None]
    """started | nothing new | waiting | under way | refused"""
    message: Mapped[str]
    job: Mapped[str | None]
    run: Mapped[str | None]
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
