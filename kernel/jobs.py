"""The job ledger: SQL is the truth about jobs; Celery only delivers their ids.

    queued ──claim──▶ running ──▶ done | failed | cancelled
       ▲                 │
       └──── retry ◀─────┘   a transient error, or a heartbeat that stopped, while attempts are left

Jobs that share a key run one after another in order of acceptance (`kernel.order`); all others run at once. A job that
is delivered twice is claimed once. A job that was never delivered, or whose worker died, is found by `sweep`; what it
had in hand is then suspect (`kernel.items`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, case, or_, select, update
from sqlalchemy.orm import Session

from kernel import items, order
from kernel.database import Database, affected
from kernel.errors import Conflict, NotFound, RepriseError
from kernel.ids import fresh, now_ms
from kernel.items import Outcomes
from kernel.pace import unbegun
from kernel.running import Cancelled, Running, TakenAway
from kernel.tables import Job
from kernel.told import as_json, brief

__all__ = ["ACTIVE", "Cancelled", "Deliver", "Ledger", "Running", "SoFar", "TakenAway", "Work"]
log = logging.getLogger(__name__)

ACTIVE = ("queued", "running")
Deliver = Callable[[str, str], None]
"""(job id, queue): hand the id to a worker, some time, at least once."""
_MOST = 10
"""Times the attempts of a job: that many workers may die on it in all, whatever their deaths tell."""
_WATCHED = 200
"""Active jobs that are watched at once."""
_JOIN_SECONDS = 5.0
_REDELIVERED = 64
"""Jobs of a queue that a sweep delivers again; the next sweep goes on."""


Work = Callable[[Running], dict[str, Any]]
SoFar = Callable[[Outcomes], dict[str, Any]]
"""The result of a job that did not get to its end, from what became of its items."""


class Ledger:
    """Enqueue, run and watch jobs. One per process; safe from several threads."""

    def __init__(self, db: Database, owner: str, lease_seconds: float, attempts: int) -> None:
        self._db, self.owner, self._lease_ms, self._attempts = db, owner, int(lease_seconds * 1000), attempts
        self._works: dict[str, tuple[Work, str, SoFar | None]] = {}
        self._beats: dict[str, int] = {}
        """The last heartbeat this process wrote, of each job it runs."""
        self._suspects_turn = threading.Lock()
        self._closed = False
        self.deliver: Deliver = lambda _job, _queue: None

    def register(self, kind: str, work: Work, queue: str = "default", so_far: SoFar | None = None) -> None:
        self._works[kind] = (work, queue, so_far)

    # --- asking for work -------------------------------------------------------------------------

    def enqueue(
        self,
        kind: str,
        args: dict[str, Any],
        *,
        keys: Sequence[str] = (),
        by: str = "person",
        also: Callable[[Session, str], None] | None = None,
    ) -> str:
        """Accept a job; its id. It is in the ledger when this returns, whatever the broker does.

        `also` is given the id in the same transaction: what it writes is kept with the job, and where it raises there
        is no job.
        """
        queue = self._works[kind][1]
        keys = list(dict.fromkeys(keys))
        with self._db.write() as session:
            job = Job(
                id=fresh("job"),
                serial=order.next_serial(session),
                kind=kind,
                keys=keys,
                queue=queue,
                args=args,
                state="queued",
                attempt=0,
                attempts=self._attempts,
                excused=0,
                cancel=0,
                progress=unbegun("queued"),
                result=None,
                error=None,
                enqueued_by=by,
                worker=None,
                heartbeat=None,
                delivered=0,
                created=now_ms(),
                started=None,
                finished=None,
            )
            session.add(job)
            order.stand_in_line(session, job.id, keys, job.serial)
            if also is not None:
                also(session, job.id)
        self.deliver(job.id, queue)
        return job.id

    def cancel(self, job_id: str) -> dict[str, Any]:
        """A queued job is cancelled at once, a running one at its next report; an ended one stays as it is."""
        with self._db.write() as session:
            job = _found(session, job_id, lock=True)
            job.cancel = 1
            if job.state == "queued":
                self._close(session, job, "cancelled")
        self._wake(job)  # what waited behind it
        return self.get(job_id)

    def retry(self, job_id: str) -> dict[str, Any]:
        """Queue a job again that failed, was cancelled, or is done but for some items; what it did stays done.

        It has all its attempts again, and stands behind those of its keys accepted since.
        """
        with self._db.write() as session:
            job = _found(session, job_id, lock=True)
            if job.state not in ACTIVE:
                left = items.take_up(session, job.id)
                if job.state != "done" or left:
                    job.state, job.attempt, job.excused, job.cancel = "queued", 0, 0, 0
                    job.result = job.error = job.finished = None  # what became of its items is kept with them
                    job.progress = unbegun("queued")
                    job.serial = order.next_serial(session)
                    order.stand_in_line(session, job.id, job.keys, job.serial)
            queue = job.queue
        self.deliver(job_id, queue)
        return self.get(job_id)

    def remove(self, job_id: str) -> dict[str, Any]:
        """Take a job that ended out of the ledger, and with it what was kept for a retry; the job as it was.

        Raises:
            Conflict: it has not ended.
        """
        with self._db.write() as session:
            job = _found(session, job_id, lock=True)
            if job.state in ACTIVE:
                raise Conflict(f"job {job_id!r} is {job.state}", hint="cancel it first", code="job_active")
            items.forget(session, job_id)
            session.delete(job)
        return as_json(job)

    # --- looking ---------------------------------------------------------------------------------

    def get(self, job_id: str) -> dict[str, Any]:
        """The job; while it is active, its result is what it has so far."""
        with self._db.read() as session:
            job = _found(session, job_id)
            shown = as_json(job)
            if job.state in ACTIVE:
                shown["result"] = self._so_far(session, job)
            return shown

    def listing(self, limit: int = 100) -> list[dict[str, Any]]:
        """Newest first."""
        with self._db.read() as session:
            return [brief(j) for j in session.scalars(select(Job).order_by(Job.serial.desc()).limit(limit))]

    def glance(self, job_id: str | None = None) -> dict[str, tuple[Any, ...]]:
        """What changes while jobs are under way: of one job, or of the oldest that are active. Quick, to watch by."""
        which = Job.state.in_(ACTIVE) if job_id is None else Job.id == job_id
        with self._db.read() as session:
            asked = select(Job.id, Job.state, Job.attempt, Job.cancel, Job.progress).where(which)
            asked = asked.order_by(Job.serial).limit(_WATCHED)
            return {row.id: tuple(row)[1:] for row in session.execute(asked)}

    # --- doing it --------------------------------------------------------------------------------

    def run(self, job_id: str) -> None:
        """Claim and run one job to its end; does nothing when it is not to be run now."""
        job = self._claim(job_id)
        if job is None:
            return
        stopped = threading.Event()
        pulse = threading.Thread(target=self._pulse, args=(job, stopped), name=f"heartbeat-{job.id}", daemon=True)
        pulse.start()
        try:
            result = self._works[job.kind][0](self._running(job))
            self._end(job, "done", result=result)
        except Cancelled:
            self._end(job, "cancelled")
        except RepriseError as error:
            again = error.transient and job.attempt - job.excused < job.attempts
            self._end(job, "queued" if again else "failed", error=error.as_json())
        except Exception as error:
            log.exception("job %s (%s) failed", job.id, job.kind)
            hint = "this is a fault of Reprise: the log has the details; nothing acknowledged is lost"
            self._end(
                job,
                "failed",
                error={"code": "internal", "message": f"{type(error).__name__}: {error}", "hint": hint},
            )
        finally:
            stopped.set()
            pulse.join(_JOIN_SECONDS)  # who closes the database next must not find it beating
            self._beats.pop(job.id, None)
        self._wake(job)

    def sweep(self, *, orphaned: bool = False) -> list[str]:
        """Queue again, or fail for good, jobs whose worker went silent; deliver what waits. Ids delivered."""
        now = now_ms()
        with self._db.write() as session:
            for job in self._silent(session, now, orphaned):
                self._mourn(session, job)
            session.flush()
            chosen = self._waiting(session, now, orphaned)
            some = [job for job, _ in chosen]
            session.execute(update(Job).where(Job.id.in_(some)).values(delivered=now))
        for job_id, queue in chosen:
            self.deliver(job_id, queue)
        return some

    def hand_back(self) -> None:
        """Before this process stops in order: its jobs are queued again, and nothing they had in hand is to blame.

        Their work ends at its next report, and none is claimed from now on.
        """
        self._closed = True
        with self._db.write() as session:
            ours = select(Job).where(Job.state == "running", Job.worker == self.owner).with_for_update()
            for job in session.scalars(ours):
                items.put_down(session, job.id, done=False)
                job.state, job.worker, job.excused = "queued", None, job.excused + 1
                job.progress = unbegun("queued")

    # --- the ledger's own ------------------------------------------------------------------------

    def _claim(self, job_id: str) -> Job | None:
        with self._db.read() as session:  # most of what a broker delivers twice is told here, without a lock
            state = session.execute(select(Job.state).where(Job.id == job_id)).scalar()
        if state != "queued" or self._closed:
            return None
        with self._db.write() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or job.state != "queued":
                return None
            if session.execute(select(Job.id).where(Job.id == job_id, order.its_turn())).first() is None:
                return None  # `_wake` delivers it when its turn comes
            job.state, job.worker, job.attempt = "running", self.owner, job.attempt + 1
            job.started = job.heartbeat = self._beats[job.id] = now_ms()
            job.progress = unbegun("starting")
        return job

    def _running(self, job: Job) -> Running:
        with self._db.read() as session:
            before = items.suspects(session, job.id), items.outcomes(session, job.id)
        return Running(job, *before, partial(self._beat, job.id, job.attempt), self._suspects_turn)

    def _beat(
        self,
        job_id: str,
        attempt: int,
        progress: dict[str, Any] | None = None,
        change: Callable[[Session], None] | None = None,
    ) -> tuple[bool, bool]:
        """Record a heartbeat, and what comes with it; (the job is still this attempt's, a cancel is asked for)."""
        beat = now_ms()
        # What waited for its turn to write is older than what stands there by now, and a heartbeat never goes back.
        latest = case((Job.heartbeat > beat, Job.heartbeat), else_=beat)
        values: dict[str, Any] = {"heartbeat": latest} | ({} if progress is None else {"progress": progress})
        with self._db.write() as session:
            if not affected(session, update(Job).where(*self._ours(job_id, attempt)).values(**values)):
                return False, False
            if change is not None:
                change(session)
            cancelled = bool(session.execute(select(Job.cancel).where(Job.id == job_id)).scalar())
        self._beats[job_id] = max(beat, self._beats.get(job_id, 0))
        return True, cancelled

    def _ours(self, job_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
        """True while this very attempt holds the job: a lost one may come to life beside its successor."""
        return (Job.id == job_id, Job.state == "running", Job.worker == self.owner, Job.attempt == attempt)

    def _pulse(self, job: Job, stopped: threading.Event) -> None:
        while not stopped.wait(self._lease_ms / 4000):
            try:
                self._beat(job.id, job.attempt)
            except Exception:
                log.exception("heartbeat of %s", job.id)

    def _end(self, job: Job, state: str, *, result: Any = None, error: dict[str, Any] | None = None) -> None:
        with self._db.write() as session:
            held = session.scalars(select(Job).where(*self._ours(job.id, job.attempt)).with_for_update()).first()
            if held is None:
                return
            held.error = error
            if state == "queued":
                items.put_down(session, job.id, done=False)
                held.state, held.progress = "queued", unbegun("queued")
            else:
                self._close(session, held, state, result)

    def _close(self, session: Session, job: Job, state: str, result: Any = None) -> None:
        """End a job: out of its lines, with what it did in its result."""
        so_far = self._so_far(session, job)  # from the rows as they are now: what was deleted meanwhile is not named
        job.result = so_far if state != "done" else result | so_far if result and so_far else result
        items.put_down(session, job.id, done=state == "done")
        order.leave(session, job.id)
        told = dict(job.progress) | {"eta_seconds": None, "item": None}
        if state == "done":
            told |= {"done": told["total"] or told["done"], "eta_seconds": 0.0}
        job.state, job.progress, job.finished = state, told, now_ms()

    def _so_far(self, session: Session, job: Job) -> dict[str, Any] | None:
        so_far = self._works[job.kind][2] if job.kind in self._works else None
        outcomes = items.outcomes(session, job.id) if so_far else {}
        return so_far(outcomes) if so_far and outcomes else job.result

    def _silent(self, session: Session, now: int, orphaned: bool) -> list[Job]:
        """Running jobs whose heartbeat has stopped.

        One of our own that still has the last beat we know of, or one that we are just writing, is not dead: this
        process was starved, and is alive to ask.
        """
        running = select(Job).where(Job.state == "running").with_for_update()
        if not orphaned:
            running = running.where(or_(Job.heartbeat.is_(None), Job.heartbeat <= now - self._lease_ms))
        found = list(session.scalars(running))
        return found if orphaned else [job for job in found if not self._beats_here(job)]

    def _beats_here(self, job: Job) -> bool:
        known = self._beats.get(job.id)
        return known is not None and job.worker == self.owner and (job.heartbeat or 0) >= known

    def _mourn(self, session: Session, job: Job) -> None:
        """The job's worker died: queue it again while attempts are left. A death that told who is to blame is free."""
        beside = select(Job.id).where(Job.state == "running", Job.worker == job.worker)
        items.together(session, [job.id, *session.scalars(beside)])
        job.excused += items.bury(session, job.id)
        if job.cancel:
            self._close(session, job, "cancelled")
        elif job.attempt - job.excused < job.attempts and job.attempt < _MOST * job.attempts:
            job.state, job.worker, job.progress = "queued", None, unbegun("queued")
        else:
            self._close(session, job, "failed")
            job.error = {
                "code": "worker_died",
                "message": f"the worker died or went silent {job.attempt} time(s) while on {job.kind!r}",
                "hint": "look at the log, then retry the job; if its input does this, leave that input out",
            }

    def _waiting(self, session: Session, now: int, orphaned: bool) -> list[tuple[str, str]]:
        """(id, queue) of queued jobs to deliver again: those whose turn has come, the oldest of each queue."""
        waiting = select(Job.id, Job.queue).where(Job.state == "queued", order.its_turn()).order_by(Job.serial)
        if orphaned:
            return [(row.id, row.queue) for row in session.execute(waiting)]
        late = now - self._lease_ms  # what was just accepted or delivered is on its way
        waiting = waiting.where(Job.created <= late, Job.delivered <= late)
        found: list[tuple[str, str]] = []
        for queue in session.scalars(select(Job.queue).where(Job.state == "queued").distinct().order_by(Job.queue)):
            rows = session.execute(waiting.where(Job.queue == queue).limit(_REDELIVERED))
            found += [(row.id, row.queue) for row in rows]
        return found

    def _wake(self, job: Job) -> None:
        """Deliver whatever this job's end lets run: itself on a retry, or the next in the lines of its keys."""
        with self._db.read() as session:
            itself = session.execute(select(Job.id, Job.queue).where(Job.id == job.id, Job.state == "queued"))
            freed = [*itself, *order.freed(session, job.keys)]
        for job_id, queue in {row.id: row.queue for row in freed}.items():
            self.deliver(job_id, queue)


def _found(session: Session, job_id: str, *, lock: bool = False) -> Job:
    job = session.get(Job, job_id, with_for_update=lock)
    if job is None:
        raise NotFound(f"no job {job_id!r}", hint="`reprise jobs` lists them")
    return job
