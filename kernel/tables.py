"""The kernel's own tables, and the base every package's tables share. Migrations live in `kernel/migrations`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, MetaData, Text, text
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
    __table_args__ = (Index("ix_jobs_key_state", "key", "state"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[int] = mapped_column(index=True)
    kind: Mapped[str]
    key: Mapped[str | None]
    queue: Mapped[str]
    args: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(index=True)
    attempt: Mapped[int]
    attempts: Mapped[int]
    cancel: Mapped[int]
    progress: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    enqueued_by: Mapped[str]
    worker: Mapped[str | None]
    heartbeat: Mapped[int | None]
    created: Mapped[int]
    started: Mapped[int | None]
    finished: Mapped[int | None]


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
