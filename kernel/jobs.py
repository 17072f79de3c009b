"""The job ledger: SQL is the truth about jobs; Celery only delivers their ids.

    queued ──claim──▶ running ──▶ done | failed | cancelled
       ▲                 │
       └──── retry ◀─────┘   a transient error, or a heartbeat that stopped, while attempts are left

Jobs that share a `key` run one after another in order of acceptance: a job is not claimed while an older one with its
key is queued or running. A job that is delivered twice is claimed once. A job that was never delivered, or whose worker
died, is found by `sweep`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from kernel.database import Database, affected, alone
from kernel.errors import NotFound, RepriseError
from kernel.ids import fresh, iso, now_ms
from kernel.tables import Job

log = logging.getLogger(__name__)

ACTIVE = ("queued", "running")
Deliver = Callable[[str, str], None]
"""(job id, queue): hand the id to a worker, some time, at least once."""


class Cancelled(Exception):
    """Raised inside a job's work when somebody asked to cancel it."""


class Running:
    """A job being run: where its work reports progress and learns of a cancel."""

    def __init__(self, ledger: Ledger, job: Job) -> None:
        self._ledger, self.id, self.args, self.attempt = ledger, job.id, job.args, job.attempt

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Raises:
        Cancelled: the job is to stop here.
        """
        if not self._ledger._beat(self.id, self.attempt, {"stage": stage, "done": done, "total": total}):
            raise Cancelled


Work = Callable[[Running], dict[str, Any]]


class Ledger:
    """Enqueue, run and watch jobs. One per process; safe from several threads."""

    def __init__(self, db: Database, owner: str, lease_seconds: float, attempts: int) -> None:
        self._db, self.owner, self._lease_ms, self._attempts = db, owner, int(lease_seconds * 1000), attempts
        self._works: dict[str, tuple[Work, str]] = {}
        self.deliver: Deliver = lambda _job, _queue: None

    def register(self, kind: str, work: Work, queue: str = "default") -> None:
        self._works[kind] = (work, queue)

    # --- asking for work -------------------------------------------------------------------------

    def enqueue(self, kind: str, args: dict[str, Any], *, key: str | None = None, by: str = "person") -> str:
        """Accept a job; its id. It is in the ledger when this returns, whatever the broker does."""
        queue = self._works[kind][1]
        with self._db.write() as session:
            job = Job(
                id=fresh("job"),
                serial=_next_serial(session),
                kind=kind,
                key=key,
                queue=queue,
                args=args,
                state="queued",
                attempt=0,
                attempts=self._attempts,
                cancel=0,
                progress={"stage": "queued", "done": 0, "total": 0},
                result=None,
                error=None,
                enqueued_by=by,
                worker=None,
                heartbeat=None,
                created=now_ms(),
                started=None,
                finished=None,
            )
            session.add(job)
        self.deliver(job.id, queue)
        return job.id

    def cancel(self, job_id: str) -> dict[str, Any]:
        """A queued job is cancelled at once, a running one at its next report; an ended one stays as it is."""
        with self._db.write() as session:
            job = _found(session, job_id, lock=True)
            job.cancel = 1
            if job.state == "queued":
                job.state, job.finished = "cancelled", now_ms()
        self._wake(job)  # what waited behind it
        return self.get(job_id)

    def retry(self, job_id: str) -> dict[str, Any]:
        """Queue a failed or cancelled job again, with all its attempts, behind those of its key accepted since."""
        with self._db.write() as session:
            job = _found(session, job_id, lock=True)
            if job.state in ("failed", "cancelled"):
                job.state, job.attempt, job.cancel, job.error, job.finished = "queued", 0, 0, None, None
                job.serial = _next_serial(session)
            queue = job.queue
        self.deliver(job_id, queue)
        return self.get(job_id)

    def get(self, job_id: str) -> dict[str, Any]:
        with self._db.read() as session:
            return as_json(_found(session, job_id))

    def listing(self, limit: int = 100) -> list[dict[str, Any]]:
        """Newest first."""
        with self._db.read() as session:
            return [brief(j) for j in session.scalars(select(Job).order_by(Job.serial.desc()).limit(limit))]

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
            result = self._works[job.kind][0](Running(self, job))
            self._end(job, "done", result=result)
        except Cancelled:
            self._end(job, "cancelled")
        except RepriseError as error:
            again = error.transient and job.attempt < job.attempts
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
        self._wake(job)

    def sweep(self, *, orphaned: bool = False) -> list[str]:
        """Queue again, or fail for good, jobs whose worker went silent; deliver what waits. Ids delivered."""
        now = now_ms()
        with self._db.write() as session:
            running = select(Job).where(Job.state == "running").with_for_update()
            for job in session.scalars(running):
                if not orphaned and (job.heartbeat or 0) > now - self._lease_ms:
                    continue
                if job.attempt < job.attempts and not job.cancel:
                    job.state, job.worker = "queued", None
                else:
                    job.state, job.finished = "cancelled" if job.cancel else "failed", now
                    job.error = {
                        "code": "worker_died",
                        "message": f"the worker died or went silent {job.attempt} time(s) while on {job.kind!r}",
                        "hint": "look at the log, then retry the job; if its input does this, leave that input out",
                    }
            waiting = select(Job).where(Job.state == "queued").order_by(Job.serial)
            if not orphaned:  # what was just accepted is on its way
                waiting = waiting.where(Job.created <= now - self._lease_ms)
            queued = list(session.scalars(waiting))
            taken = set(session.scalars(select(Job.key).where(Job.state == "running"))) - {None}
        delivered = []
        for job in queued:
            if job.key not in taken:  # else its turn has not come, and `_wake` delivers it
                delivered.append(job.id)
                self.deliver(job.id, job.queue)
            taken |= {job.key} - {None}
        return delivered

    # --- the ledger's own ------------------------------------------------------------------------

    def _claim(self, job_id: str) -> Job | None:
        with self._db.write() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or job.state != "queued":
                return None
            if job.key is not None:
                older = (
                    select(Job.id).where(Job.key == job.key, Job.serial < job.serial, Job.state.in_(ACTIVE)).limit(1)
                )
                if session.scalars(older).first() is not None:
                    return None  # `_wake` delivers it when its turn comes
            job.state, job.worker, job.attempt = "running", self.owner, job.attempt + 1
            job.started = job.heartbeat = now_ms()
            return job

    def _beat(self, job_id: str, attempt: int, progress: dict[str, Any] | None = None) -> bool:
        """Record a heartbeat; False when the job is not ours to go on with."""
        values: dict[str, Any] = {"heartbeat": now_ms()}
        if progress is not None:
            values["progress"] = progress
        with self._db.write() as session:
            alive = affected(session, update(Job).where(*self._ours(job_id, attempt)).values(**values))
            return bool(alive) and not session.execute(select(Job.cancel).where(Job.id == job_id)).scalar()

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
            ended = None if state == "queued" else now_ms()
            ours = self._ours(job.id, job.attempt)
            session.execute(update(Job).where(*ours).values(state=state, result=result, error=error, finished=ended))

    def _wake(self, job: Job) -> None:
        """Deliver whatever this job's end lets run: itself on a retry, or the next with its key."""
        with self._db.read() as session:
            same = Job.key == job.key if job.key is not None else Job.id == job.id
            queued = select(Job).where(same, Job.state == "queued").order_by(Job.serial).limit(1)
            successor = session.scalars(queued).first()
        if successor is not None:
            self.deliver(successor.id, successor.queue)


def as_json(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "kind": job.kind,
        "state": job.state,
        "progress": job.progress,
        "result": job.result,
        "error": job.error,
        "attempt": job.attempt,
        "enqueued_by": job.enqueued_by,
        "worker": job.worker,
        "created": iso(job.created),
        "started": iso(job.started),
        "finished": iso(job.finished),
        "args": job.args,
    }


def _next_serial(session: Session) -> int:
    """The next place in the order of acceptance."""
    alone(session, "jobs")
    return (session.execute(select(func.max(Job.serial))).scalar() or 0) + 1


def brief(job: Job) -> dict[str, Any]:
    """A job in a list: long arguments and results are counted, not told."""

    def short(values: dict[str, Any] | None) -> dict[str, Any] | None:
        return values and {k: len(v) if isinstance(v, list | dict) else v for k, v in values.items()}

    return as_json(job) | {"args": short(job.args), "result": short(job.result)}


def _found(session: Session, job_id: str, *, lock: bool = False) -> Job:
    job = session.get(Job, job_id, with_for_update=lock)
    if job is None:
        raise NotFound(f"no job {job_id!r}", hint="`reprise jobs` lists them")
    return job
