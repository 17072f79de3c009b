"""Schedules of retrains: cron expressions in SQL, looked at by beat's tick, each due time taken once by a lease."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from croniter import croniter
from sqlalchemy import select

from finetune.tables import Schedule
from kernel.audit import record
from kernel.database import Database
from kernel.errors import NotFound, UserError
from kernel.ids import fresh, iso, now_ms
from kernel.leases import acquire

_LEASE_SECONDS = 60


class Schedules:
    """Lists, edits and fires schedules. Safe whatever the number of beats."""

    def __init__(self, db: Database, owner: str) -> None:
        self._db, self._owner = db, owner

    def listing(self) -> list[dict[str, Any]]:
        with self._db.read() as session:
            return [_json(s) for s in session.scalars(select(Schedule).order_by(Schedule.created))]

    def add(
        self, cron: str, kind: str = "retriever", workspace: str | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """Add a schedule of five fields, or six with seconds last; all schedules.

        Raises:
            UserError: not a cron expression.
        """
        if not croniter.is_valid(cron):
            raise UserError(
                f"{cron!r} is not a cron expression",
                hint='give minute, hour, day, month, weekday, e.g. "0 3 * * 1" for Mondays at 03:00 UTC',
                code="bad_cron",
            )
        with self._db.write() as session:
            schedule = Schedule(
                id=fresh("sch"),
                cron=cron,
                kind=kind,
                workspace=workspace,
                options=options,
                paused=0,
                last=None,
                next=following(cron, now_ms()),
                created=now_ms(),
            )
            session.add(schedule)
            record(session, "schedule.add", schedule.id, cron=cron, kind=kind)
        return self.listing()

    def remove(self, schedule: str) -> list[dict[str, Any]]:
        with self._db.write() as session:
            session.delete(self._found(session, schedule))
            record(session, "schedule.remove", schedule)
        return self.listing()

    def pause(self, schedule: str) -> list[dict[str, Any]]:
        """Pause, or go on when it is paused. A paused schedule's missed times are not made up for."""
        with self._db.write() as session:
            found = self._found(session, schedule)
            found.paused = 1 - found.paused
            found.next = following(found.cron, now_ms())
            record(session, "schedule.pause" if found.paused else "schedule.resume", schedule)
        return self.listing()

    def fire(self, start: Callable[[Schedule], str]) -> list[str]:
        """Start what is due; the jobs started. A due time that two beats see is taken by one of them."""
        with self._db.read() as session:
            due = list(session.scalars(select(Schedule).where(Schedule.paused == 0, Schedule.next <= now_ms())))
        jobs = []
        for schedule in due:
            if not acquire(self._db, f"schedule:{schedule.id}:{schedule.next}", self._owner, _LEASE_SECONDS):
                continue
            with self._db.write() as session:
                found = session.get(Schedule, schedule.id)
                if found is None or found.next != schedule.next:
                    continue
                found.last, found.next = found.next, following(found.cron, now_ms())
            jobs.append(start(schedule))
        return jobs

    def _found(self, session: Any, schedule: str) -> Schedule:
        found: Schedule | None = session.get(Schedule, schedule)
        if found is None:
            raise NotFound(f"no schedule {schedule!r}", hint="`reprise schedule list` shows them")
        return found


def following(cron: str, after: int) -> int:
    """The next time (UTC ms) of a cron expression after `after`."""
    moment: datetime = croniter(cron, datetime.fromtimestamp(after / 1000, UTC)).get_next(datetime)
    return int(moment.timestamp() * 1000)


def _json(s: Schedule) -> dict[str, Any]:
    return {
        "schedule": s.id,
        "cron": s.cron,
        "kind": s.kind,
        "workspace": s.workspace,
        "paused": bool(s.paused),
        "last": iso(s.last),
        "next": None if s.paused else iso(s.next),
    }
