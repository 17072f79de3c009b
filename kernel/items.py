"""The items of a job: what is in work, what became of each, and which were in work when a worker died.

A worker that dies says nothing. So a job writes down what it takes in hand before it does; what is still in hand when
its worker is found dead is suspect. The next attempt takes suspects one at a time, and one that was alone when a worker
died, and not for the first time, is to blame: its job sets it aside and goes on. A worker that dies takes all its jobs
along, so an item counts as alone only if no other job of that worker had anything in hand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from kernel.tables import Job, JobItem

Outcomes = Mapping[str, dict[str, Any]]
"""What became of a job's items, by item."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An item that was in work when a worker died."""

    item: str
    deaths: int
    alone: int
    """Of the deaths, how many times nothing else was in work."""

    @property
    def to_blame(self) -> bool:
        """Workers died on it again and again, and on nothing else. Once may be a power cut."""
        return self.deaths > 1 and self.alone > 0


def mark(session: Session, job: str, items: Sequence[str]) -> None:
    """Only `items` are in work from now on."""
    work, wanted = 1 if len(items) > 1 else 2, dict.fromkeys(items)
    before = session.scalars(select(JobItem).where(JobItem.job == job, JobItem.work > 0))
    known = {row.item: row for row in before}
    for row in known.values():
        row.work = work if row.item in wanted else 0
    others = [item for item in wanted if item not in known]
    known |= _known(session, job, others)
    for item in others:
        if item in known:
            known[item].work = work
        else:
            session.add(_item(job, item, work=work))


def settle(session: Session, job: str, outcomes: Outcomes, again: Collection[str]) -> None:
    """Record what became of items; they are in work no longer. A retry of the job takes up those in `again`."""
    known = _known(session, job, list(outcomes))
    for name, outcome in outcomes.items():
        row = known.get(name)
        if row is None:
            row = _item(job, name)
            session.add(row)
        row.work, row.outcome, row.again = 0, outcome, int(name in again)


def suspects(session: Session, job: str) -> tuple[Suspect, ...]:
    """Items on which workers died and of which nothing has become yet."""
    dead = select(JobItem).where(JobItem.job == job, JobItem.deaths > 0, JobItem.outcome.is_(None))
    rows = session.scalars(dead.order_by(JobItem.item))
    return tuple(Suspect(item=row.item, deaths=row.deaths, alone=row.alone) for row in rows)


def outcomes(session: Session, job: str) -> dict[str, dict[str, Any]]:
    """What became of items so far, by item, in no order."""
    rows = select(JobItem.item, JobItem.outcome).where(JobItem.job == job, JobItem.outcome.is_not(None))
    return {item: outcome for item, outcome in session.execute(rows) if outcome is not None}


def together(session: Session, jobs: Collection[str]) -> None:
    """These jobs share a worker that died: if several had something in work, nothing was alone."""
    busy = select(JobItem.job).where(JobItem.job.in_(jobs), JobItem.work > 0).distinct()
    if len(list(session.scalars(busy))) > 1:
        session.execute(update(JobItem).where(JobItem.job.in_(jobs), JobItem.work == 2).values(work=1))


def bury(session: Session, job: str) -> bool:
    """The job's worker died: whatever was in work is suspect. True if that told something new."""
    told = False
    for row in session.scalars(select(JobItem).where(JobItem.job == job, JobItem.work > 0)):
        by_itself = row.work == 2
        told = told or row.deaths == 0 or (by_itself and row.alone == 0)
        row.deaths, row.alone, row.work = row.deaths + 1, row.alone + by_itself, 0
    return told


def put_down(session: Session, job: str, *, done: bool) -> None:
    """The job ended in order: nothing is in work; one that is done keeps its items only if a retry has use of them."""
    _no_longer(session, job)
    left = select(JobItem.item).where(JobItem.job == job, JobItem.again == 1).limit(1)
    if done and session.scalars(left).first() is None:
        session.execute(delete(JobItem).where(JobItem.job == job))


def take_up(session: Session, job: str) -> bool:
    """For a retry: what became nothing lasting is open again, and suspect at most. False if the job has no items."""
    rows = list(session.scalars(select(JobItem).where(JobItem.job == job)))
    for row in rows:
        if row.again:
            row.outcome, row.again = None, 0
        row.deaths, row.alone = min(row.deaths, 1), 0
    return bool(rows)


def forget(session: Session, job: str) -> None:
    session.execute(delete(JobItem).where(JobItem.job == job))


def unfinished() -> Any:
    """A condition on `Job`: something of it is left for a retry, or in work."""
    return exists(select(JobItem.item).where(JobItem.job == Job.id))


def _no_longer(session: Session, job: str) -> None:
    session.execute(update(JobItem).where(JobItem.job == job, JobItem.work > 0).values(work=0))


def _known(session: Session, job: str, items: Sequence[str]) -> dict[str, JobItem]:
    found: dict[str, JobItem] = {}
    for start in range(0, len(items), _AT_ONCE):
        some = JobItem.item.in_(items[start : start + _AT_ONCE])
        found |= {row.item: row for row in session.scalars(select(JobItem).where(JobItem.job == job, some))}
    return found


def _item(job: str, name: str, *, work: int = 0) -> JobItem:
    return JobItem(job=job, item=name, work=work, deaths=0, alone=0, again=0, outcome=None)
