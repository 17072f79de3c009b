"""A platform for a program that runs beside others: opened when it is needed, let go of when it is not.

A tool server lives as long as the chat program that started it. If it kept the home folder all that time, nobody could
start a node on it, or a second tool server. So it talks to a node where one runs, and otherwise holds the home folder
only while it is asked something, and for a little while after: loading a model takes longer than answering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock, Timer
from typing import TYPE_CHECKING, Any

from kernel.errors import RepriseError

if TYPE_CHECKING:
    from ui.door import Door

IDLE_SECONDS = 5.0
"""Less than a command waits for a home (`ui.door`): who works beside an assistant waits, and is not refused."""


class Visits:
    """Opens the door for whoever asks. Safe from several threads."""

    def __init__(self, open_door: Callable[[], Door], idle_seconds: float = IDLE_SECONDS) -> None:
        self._open, self._idle = open_door, idle_seconds
        self._door: Door | None = None
        self._inside = 0
        self._timer: Timer | None = None
        self._lock = RLock()

    @contextmanager
    def platform(self) -> Iterator[Any]:
        """The platform of this process, or a running node: the same operations.

        Raises:
            Conflict: another process holds the home folder, and no node answers for it.
        """
        platform = self._enter()
        try:
            yield platform
        except RepriseError as error:
            if error.code == "node_unreachable":  # it was stopped; the next one asked looks for another
                self.leave()
            raise
        finally:
            self._exit()

    def leave(self) -> None:
        """Let go of the platform, if nobody is inside; the next visit opens it again."""
        with self._lock:
            if self._inside <= 1 and self._door is not None:
                door, self._door = self._door, None
                door.close()

    def close(self) -> None:
        """Let go, for good."""
        with self._lock:
            self._stop_waiting()
            self.leave()

    def _enter(self) -> Any:
        with self._lock:
            self._stop_waiting()
            if self._door is None:
                door = self._open()
                try:
                    platform = door.platform
                except BaseException:
                    door.close()
                    raise
                self._door = door
            else:
                platform = self._door.platform
            self._inside += 1
            return platform

    def _exit(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside or self._door is None:
                return
            self._timer = Timer(self._idle, self._idled)
            self._timer.daemon = True
            self._timer.start()

    def _idled(self) -> None:
        with self._lock:
            if not self._inside:
                self.leave()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
