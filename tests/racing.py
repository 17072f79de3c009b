"""Two writers whose statements meet where a test wants them to, on PostgreSQL: SQLite lets no two write at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import event, text

from kernel.database import Database

_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_LONG = 60.0
"""Seconds."""


def meet(db: Database, first: Callable[[], Any], after: str, second: Callable[[], Any]) -> None:
    """Run `first`, and right after its first statement that holds `after` the whole of `second`.

    Where `second` comes to wait for a lock, which then is the first one's, `first` goes on, and the rest of `second`
    comes when it has ended.
    """
    here, met = threading.current_thread(), threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def halt(*said: Any) -> None:
            if threading.current_thread() is not here or met.is_set() or after not in said[2]:
                return
            met.set()
            other, until = pool.submit(second), time.monotonic() + _LONG
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watching:  # or it sees no news
                while not other.done() and not watching.execute(text(_WAITS)).scalar_one():
                    assert time.monotonic() < until, "the second writer neither ended nor waits for a lock"
            results.append(other)

        results: list[Any] = []
        event.listen(db.engine, "after_cursor_execute", halt)
        try:
            first()
        finally:
            event.remove(db.engine, "after_cursor_execute", halt)
        assert met.is_set(), f"no statement holds {after!r}"
        results[0].result()
