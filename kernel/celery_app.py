"""The Celery app: carries job ids from the ledger to a worker, and beat's tick. It knows nothing of what jobs do.

One app per process at a time, made by whoever starts it; there is no module-level app, so `@shared_task` and its
binding to Celery's default app never come into play.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.beat import Scheduler
from kombu.exceptions import OperationalError

from kernel.settings import Settings

log = logging.getLogger(__name__)

RUN, TICK = "reprise.run", "reprise.tick"
QUEUES = ("default", "ingest", "train")
_SERVER = {"visibility_timeout": 86_400, "max_retries": 1, "interval_start": 0, "interval_step": 0.2}
"""Few retries: whoever accepts a job must not wait for a broker that is away; the ledger's sweep delivers it."""


def make_app(settings: Settings, run: Callable[[str], None], tick: Callable[[], object]) -> Celery:
    """An app whose tasks call `run(job_id)` and `tick()`."""
    app = Celery("reprise", broker=settings.broker_url or "memory://localhost/", set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,  # the ledger recovers jobs; redelivery by the broker would run them twice
        task_default_queue="default",
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options=_SERVER if settings.broker_url else {"polling_interval": 0.1},
        timezone="UTC",
        beat_schedule={
            "tick": {
                "task": TICK,
                "schedule": settings.tick_seconds,
                "options": {"queue": "default", "expires": max(1.0, settings.tick_seconds)},
            }
        },
    )

    # Not shared: Celery would hand them to every later app of the process, with the `run` of this one.
    @app.task(name=RUN, shared=False)  # type: ignore[untyped-decorator]
    def run_job(job_id: str) -> None:
        run(job_id)

    @app.task(name=TICK, shared=False)  # type: ignore[untyped-decorator]
    def run_tick() -> None:
        tick()

    app.set_default()  # a thread of the worker's pool looks tasks up in the default app
    return app


def deliver(app: Celery) -> Callable[[str, str], None]:
    """A `Deliver` for the ledger. A broker that is away only delays: the ledger's sweep delivers again."""

    def send(job_id: str, queue: str) -> None:
        try:
            app.send_task(RUN, args=[job_id], queue=queue, retry=False)
        except OperationalError as error:
            log.warning("job %s waits in the ledger, the broker did not take it: %s", job_id, error)

    return send


def beat_scheduler(may_beat: Callable[[], bool]) -> type[Scheduler]:
    """A scheduler for Celery beat that ticks only while `may_beat()` says so: one of several beats is active.

    The plain in-memory scheduler is enough below it: its only entry is the tick, and due times are in SQL.
    """

    class LeasedScheduler(Scheduler):
        def tick(self, *args: Any, **kwargs: Any) -> float:
            return super().tick(*args, **kwargs) if may_beat() else float(self.max_interval)

    return LeasedScheduler
