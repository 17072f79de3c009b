"""An answer under way, heard by a thread of its own.

A page is drawn anew whenever somebody clicks, and what it was doing then is broken off anywhere. The answer is not: it
lies here, and the next drawing goes on with what has come meanwhile. So nothing is lost, and nothing is asked twice.
It knows nothing of Streamlit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

Event = dict[str, Any]


class Reply:
    """The events of one answer, as often as somebody wants to go through them.

    Args:
        ask: asks, and gives the events; called at once, in the thread that listens.
    """

    def __init__(self, ask: Callable[[], Iterator[Event]]) -> None:
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._ended = False
        self._news = threading.Condition()
        threading.Thread(target=self._listen, args=(ask,), name="reply", daemon=True).start()

    def __iter__(self) -> Iterator[Event]:
        """All events from the first on; waits for those that are still to come.

        Raises:
            RepriseError: what the node said instead of going on.
        """
        at = 0
        while True:
            with self._news:
                self._news.wait_for(lambda at=at: len(self._events) > at or self._ended)  # type: ignore[misc]
                if len(self._events) <= at:
                    break
                event = self._events[at]
            at += 1
            yield event
        if self._error is not None:
            raise self._error

    def _listen(self, ask: Callable[[], Iterator[Event]]) -> None:
        try:
            for event in ask():
                with self._news:
                    self._events.append(event)
                    self._news.notify_all()
        except Exception as error:  # whatever it is, it belongs to whoever reads the answer
            self._error = error
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()
