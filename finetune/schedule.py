"""Schedules of retrains in SQL: times, conditions, or both; looked at by beat's tick, each due time taken once.

    look      next <= now, not paused; conditions are read outside of any transaction
    claim     one transaction: next moves on if it still is what we read, and a firing is entered
    start     a job is enqueued that names the firing, and in the same transaction the firing names the job (`begun`)
    record    what it came to

However many beats look, one of them moves `next`, and the unique index on (schedule, due) says so once more. A beat
claims one and carries it out before it claims the next. One that dies between claim and record leaves a firing whose
lease ends; the next beat looks for its job before it starts another. One that is only slow, as a mix takes its time,
loses its lease as well: whichever of the two enqueues first has started it, and the other's job is not made. Due times
of a downtime fire once together, not one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, delete, not_, select, update
from sqlalchemy.orm import Session

from finetune.cron import BAD_CRON, check, following, missed, zone
from finetune.firings import OPTIONS, firing_json, schedule_json
from finetune.observed import Observed
from finetune.tables import Firing, Run, Schedule
from finetune.triggers import Triggers, cooldown_ms
from kernel.audit import record
from kernel.database import Database, affected
from kernel.errors import NotFound, RepriseError, TryAgain, UserError
from kernel.ids import fresh, iso, now_ms
from kernel.tables import Job

log = logging.getLogger(__name__)
_LEASE_MS = 60_000
_LOOK_MS, _DRIFT_MS = 60_000, 900_000
"""Between two looks at conditions alone; windows of days change slowly."""
COOLDOWN_MS = 6 * 3_600_000
"""Of a schedule with conditions, unless it says otherwise."""
_KEPT = 200
"""Firings of a schedule that its history keeps: of those that started something, and of those that waited."""
_CARRIED_OUT = Firing.result.is_(None) | Firing.result.not_in(("waiting", "under way", "failed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A schedule's firing. The job that is started for it names it in its arguments, as `firing`."""

    id: str
    """Of the schedule."""
    firing: str
    kind: str
    workspace: str | None
    options: dict[str, Any]


Start = Callable[[Due], str]
"""Starts what is due, with `Schedules.begun`; its job. UserError `nothing_new` where there is nothing to train on."""


class Schedules:
    """Lists, edits and fires schedules. Safe whatever the number of beats."""

    def __init__(self, db: Database, owner: str, observed: Observed) -> None:
        self._db, self._owner, self._observed = db, owner, observed

    # --- editing ---------------------------------------------------------------------------------

    def listing(self) -> list[dict[str, Any]]:
        """Oldest first."""
        with self._db.read() as session:
            schedules = list(session.scalars(select(Schedule).order_by(Schedule.created, Schedule.id)))
            return [schedule_json(s, self._history(session, s.id, 1)) for s in schedules]

    def add(
        self,
        cron: str | None,
        kind: str = "retriever",
        workspace: str | None = None,
        *,
        timezone: str = "UTC",
        triggers: Triggers | None = None,
        cooldown: int | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Add a schedule of times (five fields, or six with seconds last), of conditions, or of both; all schedules.

        With both it looks at its times whether a condition holds. `cooldown` is in milliseconds.

        Raises:
            UserError: neither, no cron expression, no time zone, or a cooldown of more than a year.
        """
        triggers = triggers or Triggers()
        with self._db.write() as session:
            schedule = Schedule(
                id=fresh("sch"),
                cron=cron or "",
                timezone=timezone,
                triggers=triggers.to_json(),
                cooldown=(COOLDOWN_MS if triggers else 0) if cooldown is None else cooldown,
                kind=kind,
                workspace=workspace,
                options=options,
                paused=0,
                last=None,
                next=0,
                seen={},
                created=now_ms(),
            )
            _settle(schedule)
            session.add(schedule)
            record(session, "schedule.add", schedule.id, kind=kind, cron=cron, when=triggers.conditions)
        return self.listing()

    def edit(self, schedule: str, **changes: Any) -> list[dict[str, Any]]:
        """Change cron, timezone, triggers, cooldown, kind, workspace, paused, or an option of its runs; all schedules.

        Raises:
            NotFound: no such schedule.
            UserError: what it would then be is no schedule; nothing was changed.
        """
        with self._db.write() as session:
            found = self._found(session, schedule)
            options = dict(found.options)
            for name, value in changes.items():
                if name in OPTIONS:
                    options[name] = value
                elif name == "triggers":
                    if value and not Triggers.from_json(found.triggers) and "cooldown" not in changes:
                        found.cooldown = max(found.cooldown, COOLDOWN_MS)
                    found.triggers = value.to_json()
                elif name == "paused":
                    found.paused = int(value)
                else:
                    setattr(found, name, value or "" if name == "cron" else value)
            found.options = {name: value for name, value in options.items() if value is not None}
            found.seen = {}
            _settle(found)
            shown = {name: of.conditions if isinstance(of, Triggers) else of for name, of in changes.items()}
            record(session, "schedule.edit", schedule, changes=shown)
        return self.listing()

    def remove(self, schedule: str) -> list[dict[str, Any]]:
        with self._db.write() as session:
            session.delete(self._found(session, schedule))
            session.execute(delete(Firing).where(Firing.schedule == schedule))
            record(session, "schedule.remove", schedule)
        return self.listing()

    def pause(self, schedule: str) -> list[dict[str, Any]]:
        """Pause, or go on when it is paused. A paused schedule's missed times are not made up for."""
        with self._db.write() as session:
            found = self._found(session, schedule)
            found.paused = 1 - found.paused
            if not found.paused:  # what its times are worth matters again
                _settle(found)
            record(session, "schedule.pause" if found.paused else "schedule.resume", schedule)
        return self.listing()

    def history(self, schedule: str, limit: int = 50) -> list[dict[str, Any]]:
        """What its firings came to, newest first.

        Raises:
            NotFound: no such schedule.
        """
        with self._db.read() as session:
            self._found(session, schedule)
            return self._history(session, schedule, limit)

    # --- firing ----------------------------------------------------------------------------------

    def fire(self, start: Start) -> list[str]:
        """Start what is due; the jobs started. A due time that several beats see is taken by one of them.

        Where one cannot be looked at or started, its history says so, and the others go on.
        """
        now = now_ms()
        with self._db.read() as session:
            due = list(session.scalars(select(Schedule).where(Schedule.paused == 0, Schedule.next <= now)))
            left = list(session.scalars(select(Firing.id).where(Firing.result.is_(None), Firing.lease_until <= now)))
        found = chain(map(self._take_up, left), map(self._looked_at, due))  # each in its turn: its lease runs from then
        return [job for one in found if one is not None and (job := self._carry_out(one, start))]

    def begun(self, due: Due, session: Session, job: str) -> None:
        """Note the job of a firing, in the transaction that enqueues it.

        Raises:
            TryAgain: another beat took it up meanwhile and has started it, or it is gone.
        """
        open_one = (*_open(due.firing), Firing.job.is_(None))
        if not affected(session, update(Firing).where(*open_one).values(job=job)):
            raise TryAgain(f"another beat has started what schedule {due.id!r} was due for")

    def _looked_at(self, schedule: Schedule) -> Due | None:
        try:
            return self._claim(schedule)
        except Exception as error:
            if isinstance(error, RepriseError) and error.transient:
                return None  # the next look may succeed
            log.exception("schedule %s cannot be looked at", schedule.id)
            never = isinstance(error, UserError) and error.code == BAD_CRON  # and no better in a quarter of an hour
            message = f"{error}: it is paused; give it other times" if never else f"{type(error).__name__}: {error}"
            told = self._firing(schedule, "time", result="failed", message=message)
            self._enter(schedule, told, {"paused": int(never), "next": now_ms() + _DRIFT_MS, "last": now_ms()})
            return None

    def _claim(self, schedule: Schedule) -> Due | None:
        """The firing of a due time, if it is ours and starts something; what else became of it is recorded."""
        triggers, now = Triggers.from_json(schedule.triggers), now_ms()
        cause: str | None = "time"
        evidence: dict[str, Any] = {}
        options: dict[str, Any] = {}
        if triggers:
            answered = self._answered(schedule.id)
            of, method = (schedule.kind, schedule.workspace), schedule.options.get("method")
            cause, evidence, options = self._observed.look(triggers, *of, answered, method)
        result, message = self._held_back(schedule, cause, now)
        silent = result is not None and not schedule.cron  # a condition that does not hold yet is no event
        late = missed(schedule.cron, schedule.next, now, schedule.timezone) if schedule.cron else 0
        firing = self._firing(schedule, cause or "time", options, evidence, late, result=result, message=message)
        moved: dict[str, Any] = {"next": _next(schedule, now), "seen": evidence}
        if not silent:
            moved["last"] = schedule.next if schedule.cron else now
        found = self._enter(schedule, None if silent else firing, moved)
        return None if result is not None else found

    def _firing(
        self,
        schedule: Schedule,
        cause: str,
        options: Mapping[str, Any] | None = None,
        evidence: Mapping[str, Any] | None = None,
        late: int = 0,
        *,
        result: str | None,
        message: str,
    ) -> Firing:
        now = now_ms()
        return Firing(
            id=fresh("fire"),
            schedule=schedule.id,
            due=schedule.next,
            cause=cause,
            missed=late,
            options=dict.fromkeys(OPTIONS) | dict(schedule.options) | dict(options or {}),
            evidence=dict(evidence or {}),
            owner=self._owner,
            lease_until=now + _LEASE_MS,
            result=result,
            message=message,
            job=None,
            run=None,
            created=now,
        )

    def _enter(self, schedule: Schedule, firing: Firing | None, moved: Mapping[str, Any]) -> Due | None:
        """Move the schedule on and enter the firing, unless another beat was first; what is due, if it is ours."""
        ours = (Schedule.id == schedule.id, Schedule.next == schedule.next, Schedule.paused == 0)
        with self._db.write() as session:
            if not affected(session, update(Schedule).where(*ours).values(**moved)) or firing is None:
                return None
            had = select(Firing.id).where(Firing.schedule == schedule.id, Firing.due == schedule.next)
            if session.scalar(had) is not None:  # a clock that was put back: that time has been
                return None
            session.add(firing)
            _forget_old(session, schedule.id)
            return _due(schedule, firing)

    def _held_back(self, schedule: Schedule, cause: str | None, now: int) -> tuple[str | None, str]:
        """Why nothing is started now, or None."""
        if cause is None:
            return "waiting", "no condition holds"
        since = self._last_start(schedule.id)
        if since is not None and now - since < schedule.cooldown:
            return "waiting", f"the cooldown ends at {iso(since + schedule.cooldown)}"
        other = self._observed.under_way(schedule.kind, schedule.workspace)
        if other is not None:
            return "under way", f"{other} is still under way"
        return None, ""

    def _take_up(self, firing: str) -> Due | None:
        """A firing whose beat died before it had recorded what it started."""
        now = now_ms()
        lost = (*_open(firing), Firing.lease_until <= now)
        with self._db.write() as session:
            ours = update(Firing).where(*lost).values(owner=self._owner, lease_until=now + _LEASE_MS)
            if not affected(session, ours):
                return None
            found = session.get_one(Firing, firing)
            schedule = session.get(Schedule, found.schedule)
            return _due(schedule, found) if schedule is not None else None

    def _carry_out(self, due: Due, start: Start) -> str:
        with self._db.write() as session:
            ours = update(Firing).where(*_open(due.firing), Firing.owner == self._owner)
            if not affected(session, ours.values(lease_until=now_ms() + _LEASE_MS)):
                return ""  # taken up by another beat, or removed
            job = session.scalar(select(Job.id).where(Job.args["firing"].as_string() == due.firing))
        result, message = "started", ""
        try:
            job = job or start(due)
        except RepriseError as error:
            if error.transient:
                return ""  # its lease ends, and it is taken up again
            result, message = "nothing new" if error.code == "nothing_new" else "refused", error.message
        except Exception as error:
            log.exception("schedule %s cannot be started", due.id)
            result, message = "refused", f"{type(error).__name__}: {error}"
        with self._db.write() as session:
            found = session.get(Job, job) if job else None
            run = found.args.get("run") if found is not None else None
            told = {"result": result, "message": message, "job": job, "run": run}
            unless = () if job else (Firing.job.is_(None),)  # another beat has started it
            session.execute(update(Firing).where(*_open(due.firing), *unless).values(**told))
        return job or ""

    # --- parts -----------------------------------------------------------------------------------

    def _answered(self, schedule: str) -> set[str]:
        """Runs that a gate's order of this schedule has answered already. One that was refused has answered none."""
        with self._db.read() as session:
            wanted = select(Firing.evidence).where(Firing.schedule == schedule, Firing.cause == "gate")
            told = session.scalars(wanted.where(_CARRIED_OUT, Firing.result.is_distinct_from("refused")))
            return {evidence["gate"]["after"] for evidence in told if evidence.get("gate")}

    def _last_start(self, schedule: str) -> int | None:
        """When it last started something, tried to, or is about to."""
        with self._db.read() as session:
            wanted = select(Firing.created).where(Firing.schedule == schedule, _CARRIED_OUT)
            return session.scalar(wanted.order_by(Firing.created.desc()).limit(1))

    def _history(self, session: Session, schedule: str, limit: int) -> list[dict[str, Any]]:
        mine = select(Firing, Run).outerjoin(Run, Run.id == Firing.run).where(Firing.schedule == schedule)
        newest = mine.order_by(Firing.created.desc(), Firing.due.desc()).limit(limit)
        return [firing_json(firing, run) for firing, run in session.execute(newest)]

    def _found(self, session: Session, schedule: str) -> Schedule:
        found: Schedule | None = session.get(Schedule, schedule)
        if found is None:
            raise NotFound(f"no schedule {schedule!r}", hint="`reprise schedule list` shows them")
        return found


def _settle(schedule: Schedule) -> None:
    """Check what a schedule has become, and find when it is looked at next.

    Raises:
        UserError: it is none.
    """
    zone(schedule.timezone)
    if not schedule.cron and not Triggers.from_json(schedule.triggers):
        raise UserError(
            "a schedule needs a time or a condition",
            hint='give a cron expression, or --when "examples>=50"',
            code="bad_schedule",
        )
    if schedule.cron:
        check(schedule.cron)
    cooldown_ms(schedule.cooldown / 1000)
    now = now_ms()
    schedule.next = following(schedule.cron, now, schedule.timezone) if schedule.cron else now


def _next(schedule: Schedule, now: int) -> int:
    if schedule.cron:
        return following(schedule.cron, now, schedule.timezone)
    triggers = Triggers.from_json(schedule.triggers)
    quick = triggers.examples is not None or triggers.gate is not None
    return now + (_LOOK_MS if quick else _DRIFT_MS)


def _open(firing: str) -> tuple[ColumnElement[bool], ...]:
    """A firing of which it is not known what it came to."""
    return Firing.id == firing, Firing.result.is_(None)


def _due(schedule: Schedule, firing: Firing) -> Due:
    return Due(
        id=schedule.id,
        firing=firing.id,
        kind=schedule.kind,
        workspace=schedule.workspace,
        options={name: value for name, value in firing.options.items() if value is not None},
    )


def _forget_old(session: Session, schedule: str) -> None:
    for some in (_CARRIED_OUT, not_(_CARRIED_OUT)):  # one that waits every minute must not push out the last start
        theirs = (Firing.schedule == schedule, some)
        newest = select(Firing.created).where(*theirs).order_by(Firing.created.desc())
        oldest = session.scalar(newest.offset(_KEPT).limit(1))
        if oldest is not None:
            session.execute(delete(Firing).where(*theirs, Firing.created <= oldest))


__all__ = ["COOLDOWN_MS", "OPTIONS", "Due", "Schedules", "Start", "following"]
