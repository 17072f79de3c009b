"""Answers as server-sent events. An answer begins before its status is sent, so that a mistake is a plain error.

What goes wrong later cannot be a status any more: it is the last event, and the stream ends there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator
from typing import Any

from kernel.errors import RepriseError

log = logging.getLogger(__name__)
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""A proxy that gathers what it passes on would make one piece of a stream."""
_FAULT = "this is a fault of Reprise; the node's log says where, and nothing acknowledged is lost"


def begun(events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same events, the first of them already there.

    Raises:
        RepriseError: what was wrong with the question, or with looking for its answer.
    """
    first = next(events)

    def all_of_them() -> Generator[dict[str, Any], None, None]:
        yield first
        yield from events

    return all_of_them()


def told(events: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Each event as data; an error as the last one, of the type `error`, with the status it has."""
    try:
        for event in events:
            yield data(event)
    except Exception as error:
        status, body = failure(error)
        yield data({"type": "error", "status": status, "error": body})


def data(value: dict[str, Any]) -> str:
    """One event on the wire."""
    return f"data: {json.dumps(value)}\n\n"


def failure(error: Exception) -> tuple[int, dict[str, Any]]:
    """(status, body) of an error: ours say what to do, any other is a fault and goes to the log."""
    if isinstance(error, RepriseError):
        return error.status, dict(error.as_json())
    log.error("an answer broke off", exc_info=error)
    return 500, fault(error)


def fault(error: Exception) -> dict[str, Any]:
    """The body of an error that is a fault of ours."""
    return {"code": "internal", "message": f"{type(error).__name__}: {error}", "hint": _FAULT}
