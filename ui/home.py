"""The home folder: who holds it, and where its node answers.

One process at a time holds an embedded home (Qdrant Edge locks its folder). The lock is the operating system's, so a
killed process lets go of it by dying; `node.json` is only a note of where the holder answers.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO, Any

from kernel.errors import Conflict, UserError

LOCK, NOTE = "node.lock", "node.json"


class HomeLock:
    """Exclusive use of a home folder, until `release` or the end of the process."""

    def __init__(self, home: Path, wait: float = 0.0) -> None:
        """Raises:
        Conflict: another process holds it, and did not let go within `wait` seconds.
        UserError: the folder cannot be made or written.
        """
        self.home = home
        try:
            home.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] | None = (home / LOCK).open("a+")
        except OSError as error:
            raise UserError(
                f"the home folder {str(home)!r} cannot be used: {error.strerror or error}",
                hint="give a folder you can write with --home or REPRISE_HOME",
                code="bad_home",
            ) from error
        deadline = time.monotonic() + wait
        while not self._try():
            if time.monotonic() > deadline:
                self._file.close()
                note = running_node(home) or {}
                where = f" (process {note['pid']}, {note['api']})" if note else ""
                raise Conflict(
                    f"another Reprise process holds the home folder {str(home)!r}{where}",
                    hint="talk to it (the command line does so by itself), stop it, or use another --home",
                    code="home_in_use",
                )
            time.sleep(0.05)
        (home / NOTE).unlink(missing_ok=True)  # of a holder that was killed: nobody answers there any more

    def announce(self, **note: Any) -> None:
        """Say where this process answers."""
        aside = self.home / f".{NOTE}"
        aside.write_text(json.dumps({"pid": os.getpid(), **note}))
        aside.replace(self.home / NOTE)

    def release(self) -> None:
        (self.home / NOTE).unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _try(self) -> bool:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def running_node(home: Path) -> dict[str, Any] | None:
    """The note of the node that holds `home` now; None when nobody does, whatever an old note says."""
    try:
        note: dict[str, Any] = json.loads((home / NOTE).read_text())
        with (home / LOCK).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return note
    except (OSError, ValueError):
        return None
    return None
