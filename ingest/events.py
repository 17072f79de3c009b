"""What the file system says about watched folders, as a hint to look now. The look finds out what really happened.

A hint that is lost costs nothing but time: the folder is looked at when it is due. One thread watches all folders.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ingest.archive import is_wanted

log = logging.getLogger(__name__)

_DEBOUNCE_MS, _WAKE_MS = 400, 1_000
_LOOK_AGAIN_SECONDS = 30
"""When a watched folder that is not there is looked for again."""
_SPACING_SECONDS = 5.0
"""A folder in which something happens all the time is looked at no more often than this."""


class Events:
    """A thread that calls `hint(watch)` when something happened in its folder.

    Args:
        folders: the folders to watch now, by watch.
        hint: starts a look, or sees that one is about to start.
        avoid: a folder whose events are our own doing.
    """

    def __init__(self, folders: Callable[[], dict[str, Path]], hint: Callable[[str], None], avoid: Path) -> None:
        self._folders, self._hint, self._avoid = folders, hint, avoid.resolve()
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._listening: dict[str, Path] = {}
        self._pending: dict[str, float] = {}
        """Watches to hint at, and the earliest time for it."""
        self._last: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="folder-events", daemon=True)
        self.listening = threading.Event()
        """Set while events of the folders that are watched now are heard."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 10) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def refresh(self) -> None:
        """There may be other folders to watch than before."""
        self._wake.set()  # first, or a round that is under way would say that it listens
        self.listening.clear()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                wanted = self._folders()
                self._listening = {watch: path for watch, path in wanted.items() if path.is_dir()}
                self._listen(_LOOK_AGAIN_SECONDS if len(self._listening) < len(wanted) else None)
            except Exception as error:  # no more inotify watches, a folder that went away: the due times still hold
                log.warning("folder events are not heard for now: %s: %s", type(error).__name__, error)
                self._wake.wait(_LOOK_AGAIN_SECONDS)

    def _listen(self, seconds: float | None) -> None:
        """Until `_wake` is set, a folder goes, or `seconds` have passed."""
        if not self._listening:
            self.listening.set()
            self._wake.wait(seconds)
            return
        from watchfiles import watch

        until = time.monotonic() + seconds if seconds is not None else float("inf")
        for changes in watch(
            *set(self._listening.values()),
            watch_filter=lambda _change, path: self._ours(Path(path)),
            debounce=_DEBOUNCE_MS,
            rust_timeout=_WAKE_MS,
            yield_on_timeout=True,
            stop_event=self._wake,
            raise_interrupt=False,
        ):
            self._note(Path(path) for _change, path in changes)
            self._tell()
            if not self.listening.is_set() and not self._wake.is_set():
                self.listening.set()
            if time.monotonic() > until or any(not path.is_dir() for path in self._listening.values()):
                return

    def _note(self, paths: Iterable[Path]) -> None:
        now = time.monotonic()
        for path in paths:
            for watch, folder in self._listening.items():
                if path.is_relative_to(folder) and watch not in self._pending:
                    self._pending[watch] = max(now, self._last.get(watch, -_SPACING_SECONDS) + _SPACING_SECONDS)

    def _tell(self) -> None:
        now = time.monotonic()
        for watch, when in list(self._pending.items()):
            if when <= now:
                del self._pending[watch]
                self._last[watch] = now
                self._hint(watch)

    def _ours(self, path: Path) -> bool:
        """False for what a look would not take, and for the home, to which every look writes."""
        if path.is_relative_to(self._avoid):
            return False
        folders = [folder for folder in self._listening.values() if path.is_relative_to(folder)]
        return any(path == folder or is_wanted(path.relative_to(folder).as_posix()) for folder in folders)
