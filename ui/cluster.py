"""The cluster's processes: API, worker, beat. The node's code, on Qdrant, PostgreSQL and Redis or RabbitMQ."""

from __future__ import annotations

import logging
import threading
from typing import Any

from kernel.celery_app import QUEUES, beat_scheduler, deliver, make_app
from kernel.database import Database
from kernel.errors import UserError
from kernel.ids import fresh
from kernel.leases import acquire, release
from kernel.settings import Settings
from ui.node import BEAT, LOADING_S, check_exposure
from ui.platform import Platform
from ui.wiring import Wired

log = logging.getLogger(__name__)


def serve_api(settings: Settings, announce: Any) -> None:
    """HTTP API of a cluster; any number of them."""
    from ui.api.app import make_app as make_api
    from ui.api.server import Server

    _check(settings)
    check_exposure(settings)
    wired = Wired(settings)
    platform = Platform(wired)
    app = make_app(settings, wired.ledger.run, platform.tick)
    wired.ledger.deliver = deliver(app)
    api = make_api(platform)
    loaded = threading.Event()
    api.state.ready = loaded.is_set

    def load() -> None:
        wired.embedder.load()
        wired.lending.warm()
        loaded.set()

    loader = threading.Thread(target=load, name="load-models", daemon=True)
    loader.start()
    announce(f"http://{settings.api_host}:{settings.api_port}", None)
    try:
        Server(api, host=settings.api_host, port=settings.api_port).run()
    finally:
        loader.join(LOADING_S)
        wired.close()


def run_worker(settings: Settings, queues: list[str], concurrency: int) -> None:
    """Work on jobs until told to stop. Threads, not forks: torch does not survive a fork."""
    _check(settings)
    unknown = sorted(set(queues) - set(QUEUES))
    if unknown:
        raise UserError(f"no queue {', '.join(unknown)!r}", hint=f"there are: {', '.join(QUEUES)}")
    wired = Wired(settings)
    platform = Platform(wired)
    app = make_app(settings, wired.ledger.run, platform.tick)
    wired.ledger.deliver = deliver(app)
    try:
        app.Worker(
            pool="threads",
            concurrency=concurrency,
            queues=queues,
            loglevel="WARNING",
            without_mingle=True,
            quiet=True,
        ).start()
    finally:
        wired.close()


def run_beat(settings: Settings) -> None:
    """Celery beat, active while it holds the lease; the others stand by."""
    from celery.beat import Service

    _check(settings)
    db = Database(settings.sql_url)
    app = make_app(settings, lambda _job: None, lambda: None)
    owner = fresh("beat")
    seconds = max(settings.lease_seconds, 3 * settings.tick_seconds)
    scheduler = beat_scheduler(lambda: acquire(db, BEAT, owner, seconds))
    try:
        Service(app, max_interval=settings.tick_seconds, scheduler_cls=scheduler).start()
    finally:
        release(db, BEAT, owner)
        db.close()


def _check(settings: Settings) -> None:
    missing = [
        f"REPRISE_{name.upper()}"
        for name in ("qdrant_url", "database_url", "broker_url")
        if getattr(settings, name) is None
    ]
    if missing:
        raise UserError(
            f"a cluster process needs {', '.join(missing)}",
            hint="set them, or run everything in one process with `reprise up`",
            code="not_a_cluster",
        )
