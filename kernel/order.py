"""Whose turn it is: jobs that share a key stand in the line of that key, by order of acceptance.

A job may run when it is the first in the line of each of its keys. Keys are never held one by one: a job takes its turn
in all of its lines at once, and only ever waits for older jobs, so no two can wait for each other. A job that runs
stays in its lines until it has ended; a job without keys may always run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, exists, func, insert, select
from sqlalchemy.orm import Session, aliased

from kernel.database import alone
from kernel.tables import Job, JobKey

_AT_ONCE = 500
"""Keys named in one statement."""


def next_serial(session: Session) -> int:
    """The next place in the order of acceptance; whoever asks is alone in asking until the end of its transaction."""
    alone(session, "jobs")
    return (session.execute(select(func.max(Job.serial))).scalar() or 0) + 1


def stand_in_line(session: Session, job: str, keys: Sequence[str], serial: int) -> None:
    """Put a job at its place in the lines of its keys."""
    if keys:
        session.flush()  # the job's own row first
        session.execute(insert(JobKey), [{"job": job, "key": key, "serial": serial} for key in keys])


def leave(session: Session, job: str) -> None:
    """Take a job that ended out of all lines."""
    session.execute(delete(JobKey).where(JobKey.job == job))


def its_turn() -> ColumnElement[bool]:
    """A condition on `Job`: nobody older stands before it in any line."""
    mine, older = aliased(JobKey), aliased(JobKey)
    before = select(mine.job).join(older, (older.key == mine.key) & (older.serial < mine.serial))
    return ~exists(before.where(mine.job == Job.id).correlate(Job))


def freed(session: Session, keys: Sequence[str]) -> list[Row[Any]]:
    """(id, queue) of the queued jobs that may run and stand first in the line of one of `keys`, oldest first."""
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(keys), _AT_ONCE):
        some = JobKey.key.in_(keys[start : start + _AT_ONCE])
        firsts = select(JobKey.key, func.min(JobKey.serial).label("serial")).where(some)
        first = firsts.group_by(JobKey.key).subquery()
        asked = select(Job.id, Job.queue, Job.serial).join(first, first.c.serial == Job.serial)
        found |= {row.id: row for row in session.execute(asked.where(Job.state == "queued", its_turn()))}
    return sorted(found.values(), key=lambda row: row.serial)
