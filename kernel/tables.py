"""The kernel's own tables, and the base every package's tables share. Migrations live in `kernel/migrations`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, MetaData, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it as a plain class attribute)
        dict[str, Any]: JSON,
        list[Any]: JSON,
        int: BigInteger().with_variant(Integer, "sqlite"),
        str: Text,
    }


class Fact(Base):
    """One fact about the whole platform: the committed epoch, the index's fingerprint, …"""

    __tablename__ = "facts"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class Clock(Base):
    """The one row that holds the committed epoch."""

    __tablename__ = "clock"
    id: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]


class Flip(Base):
    """One change of epoch. At most one is `flipping`: the partial unique index below is the lock."""

    __tablename__ = "flips"
    __table_args__ = (
        Index(
            "uq_flips_one_flipping",
            "state",
            unique=True,
            sqlite_where=text("state = 'flipping'"),
            postgresql_where=text("state = 'flipping'"),
        ),
    )
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    owner: Mapped[str]
    lease_until: Mapped[int]
    at: Mapped[int]


class Change(Base):
    """Something that becomes visible, or stops being so, with a flip: a publish, a delete, a batch of examples."""

    __tablename__ = "changes"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    owner: Mapped[str]
    lease_until: Mapped[int]
    points: Mapped[list[Any]]
    plan: Mapped[dict[str, Any]]
    body: Mapped[dict[str, Any]]
    epoch: Mapped[int | None] = mapped_column(index=True)
    created: Mapped[int]


class Job(Base):
    """The ledger of jobs: the truth about them, whatever the broker did."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[int] = mapped_column(index=True)
    kind: Mapped[str]
    keys: Mapped[list[Any]] = mapped_column(server_default="[]")
    queue: Mapped[str]
    args: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(index=True)
    attempt: Mapped[int]
    attempts: Mapped[int]
    excused: Mapped[int] = mapped_column(server_default="0")
    """Attempts that do not count: they ended in order, or their death told which item is to blame."""
    cancel: Mapped[int]
    progress: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    enqueued_by: Mapped[str]
    worker: Mapped[str | None]
    heartbeat: Mapped[int | None]
    delivered: Mapped[int] = mapped_column(server_default="0")
    """When a sweep last handed it to the broker again."""
    created: Mapped[int]
    started: Mapped[int | None]
    finished: Mapped[int | None]


class JobKey(Base):
    """A key of a job that is queued or running: its place in the line of that key. Ended jobs stand in no line."""

    __tablename__ = "job_keys"
    __table_args__ = (Index("ix_job_keys_key_serial", "key", "serial"),)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[int]


class JobItem(Base):
    """One of the things a job works through: whether it is in work, what became of it, how often a worker died on it.

    A job that ended and left nothing for a retry has none.
    """

    __tablename__ = "job_items"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    work: Mapped[int]
    """0: not in work. 1: in work with others. 2: in work alone."""
    deaths: Mapped[int]
    alone: Mapped[int]
    """Deaths when nothing else was in work."""
    again: Mapped[int]
    """1: a retry of the job takes it up."""
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Lease(Base):
    """A named right that one owner holds until a time."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    until: Mapped[int]


class AuditEntry(Base):
    """One line of the audit log. `hash` covers the entry and the hash before it."""

    __tablename__ = "audit"
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]]
    previous: Mapped[str]
    hash: Mapped[str]
