"""One child process that reads files, seen from its parent: start it, ask it, put an end to it.

It is started anew rather than forked, because the parent has threads and an open index. It gets no more of the parent's
environment than it needs, leads a process group of its own so that nothing it started outlives it, and cannot outlive
the parent. Every wait has an end. It does not know what is asked or answered.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ingest.parse.frames import CHARS_PER_SECOND, MOST_HEAD, PREFIX, Garbled, frame
from kernel.errors import Failed

log = logging.getLogger(__name__)

START_SECONDS = 120.0
"""A cold disk may take long to read the libraries."""
_GRACE_SECONDS = 1.0  # for a child whose pipe has closed to be dead as well, so that we learn how it died
_STEP = 1 << 20
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TESSDATA_PREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ONE_THREAD = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
_NO_MEMORY = re.compile(r"bad_alloc|out of memory|MemoryError|memory allocation of|cannot allocate memory", re.I)
_SAID_BYTES = 4000
_FOLDER = "reprise-parse-"


class Died(Exception):
    """The child is gone, or its pipes are."""


class Late(Died):
    """The child did not answer in time."""


def sweep() -> None:
    """Remove folders of children whose parent was killed. A folder in use has its `stderr` locked by its child."""
    for errors in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*/stderr"):
        with contextlib.suppress(OSError), errors.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(errors.parent, ignore_errors=True)


class Worker:
    """A running child. Used by one thread at a time; `kill` may be called by any.

    Args:
        settings: what it is told first; plain JSON.
        reader: `module:function` instead of our parsers.

    Raises:
        Failed: `parser_did_not_start`.
    """

    def __init__(self, settings: dict[str, Any], *, reader: str | None = None) -> None:
        self.served = 0
        """Files that were given to it."""
        self.worn = False
        """It is to be replaced when its file is done."""
        self._lock = threading.Lock()
        self._ended = False
        self._status: int | None = None
        self._peak = self._first_peak = 0
        try:
            self._start(reader)
        except OSError as error:
            raise _not_started(str(error)) from error
        try:
            self._write(*frame(settings), deadline=time.monotonic() + START_SECONDS)
            hello, _ = self._receive(time.monotonic() + START_SECONDS, 0)
        except (Died, Garbled) as error:
            self.close()
            raise _not_started(f"{error} ({self.how}) {self.said}") from error
        if not hello.get("ready"):
            self.close()
            raise _not_started(str(hello.get("failed")))
        self._first_peak = int(hello.get("peak", 0))

    def ask(
        self, head: dict[str, Any], content: bytes, *, seconds: float, most_body: int
    ) -> tuple[dict[str, Any], bytes]:
        """Give it a file and wait for its answer: head and body.

        It may say in between that it has parsed a text of so many characters; cutting that has a time of its own.

        Raises:
            Late: no answer after `seconds`.
            Died: it ended.
            Garbled: what came is not an answer to this.
        """
        self.served += 1
        deadline = time.monotonic() + seconds
        self._write(*frame(head | {"id": self.served}, content), deadline=deadline)
        answer, body = self._receive(deadline, most_body)
        parsed = answer.get("parsed")
        if type(parsed) is int and answer.get("id") == self.served:  # once: the rest is our own work
            deadline = time.monotonic() + seconds + min(max(parsed, 0), most_body) / CHARS_PER_SECOND
            answer, body = self._receive(deadline, most_body)
        if answer.get("id") != self.served:
            raise Garbled("an answer to something else")
        return answer, body

    @property
    def waiting(self) -> bool:
        """True if it lives and has nothing to say: what it wrote unasked would be taken for an answer."""
        return not self._ended and not _ready(self._from, select.POLLIN, 0)

    def kill(self) -> None:
        """Send the whole group a SIGKILL. Who talks to the child finds out and closes it."""
        with self._lock:
            if not self._ended:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it and everything it started, and keep in mind how it ended. Repeatable."""
        if self._ended:
            return
        self._wait_for_its_end()
        self.kill()
        with self._lock:
            self._ended = True
            try:
                _, self._status, usage = os.wait4(self._process.pid, 0)
                self._peak = usage.ru_maxrss
                self._process.returncode = os.waitstatus_to_exitcode(self._status)
            except ChildProcessError:  # somebody else has waited for it
                self._process.returncode = 0
        for end in (self._to, self._from, self._life):
            os.close(end)
        self._read_stderr()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- how it ended --------------------------------------------------------------------------------

    said = ""
    """The end of what it wrote to standard error."""

    @property
    def how(self) -> str:
        """In words: `SIGSEGV`, `exit code 3`."""
        code = self._process.returncode
        if code is None:
            return "it still runs"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"signal {-code}"

    @property
    def out_of_time(self) -> bool:
        """The system ended it for its processor time."""
        return self._process.returncode == -signal.SIGXCPU

    def out_of_memory(self, limit: int) -> bool:
        """It filled its memory or said that it could get no more; libraries in C then end the process."""
        # What a process took at most counts its parent's memory at the start as its own, so that alone says nothing.
        filled = self._peak * (1 if sys.platform == "darwin" else 1024) >= 0.9 * limit
        return (filled and self._peak > self._first_peak) or _NO_MEMORY.search(self.said) is not None

    # --- starting and ending -------------------------------------------------------------------------

    def _start(self, reader: str | None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
        stdin, self._to = os.pipe()
        self._from, stdout = os.pipe()
        life, self._life = os.pipe()
        command = [sys.executable, "-P", "-X", "faulthandler", "-m", "ingest.parse.child", str(life)]
        try:
            with (self._folder / "new").open("wb") as errors:
                fcntl.flock(errors, fcntl.LOCK_EX)  # and the child's, as long as it holds the file open
                (self._folder / "new").rename(self._folder / "stderr")
                self._process = subprocess.Popen(
                    command + (["--reader", reader] if reader else []),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=errors,
                    env=_environment(self._folder),
                    cwd=self._folder,
                    pass_fds=(life,),
                    start_new_session=True,
                )
        except BaseException:
            for end in (self._to, self._from, self._life):
                os.close(end)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            for end in (stdin, stdout, life):
                os.close(end)
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)

    def _wait_for_its_end(self) -> None:
        """If its pipe has closed it is dying, and how it dies is worth a moment."""
        if not _ready(self._from, 0, 0):  # a hang-up is reported whatever is asked for
            return
        deadline = time.monotonic() + _GRACE_SECONDS
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        with contextlib.suppress(ChildProcessError):
            while os.waitid(os.P_PID, self._process.pid, flags) is None and time.monotonic() < deadline:
                time.sleep(0.005)

    def _read_stderr(self) -> None:
        with contextlib.suppress(OSError), (self._folder / "stderr").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _SAID_BYTES))
            self.said = file.read().decode("utf-8", "replace").strip()

    # --- pipes ---------------------------------------------------------------------------------------

    def _write(self, *parts: bytes, deadline: float) -> None:
        for part in parts:
            rest = memoryview(part)
            while rest:
                self._await(self._to, select.POLLOUT, deadline)
                try:
                    rest = rest[os.write(self._to, rest[:_STEP]) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise Died("its input is closed") from error

    def _receive(self, deadline: float, most_body: int) -> tuple[dict[str, Any], bytes]:
        head_bytes, body_bytes = PREFIX.unpack(self._read(PREFIX.size, deadline))
        if head_bytes > MOST_HEAD or body_bytes > most_body:
            raise Garbled(f"a frame of {head_bytes:,} and {body_bytes:,} bytes")
        head, body = self._read(head_bytes, deadline), self._read(body_bytes, deadline)
        try:
            found = json.loads(head)
        except (ValueError, RecursionError) as error:
            raise Garbled("a head that is not JSON") from error
        if not isinstance(found, dict):
            raise Garbled("a head that is no object")
        return found, bytes(body)

    def _read(self, size: int, deadline: float) -> bytearray:
        found = bytearray()
        while len(found) < size:  # grows with what comes, not with what was announced
            self._await(self._from, select.POLLIN, deadline)
            try:
                part = os.read(self._from, min(_STEP, size - len(found)))
            except BlockingIOError:
                continue
            if not part:
                raise Died("it ended without an answer")
            found += part
        return found

    def _await(self, end: int, event: int, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not _ready(end, event, left):
            raise Late("no answer in time")


def _ready(end: int, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(end, event)
    return bool(poll.poll(seconds * 1000))


def _environment(folder: Path) -> dict[str, str]:
    """What a child needs to know: where programs and our own modules are. No keys, no proxies, no home."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    root = str(Path(__file__).resolve().parents[2])
    ours = {"PYTHONPATH": root, "PYTHONUTF8": "1", "HOME": str(folder), "TMPDIR": str(folder)}
    threads = dict.fromkeys(_ONE_THREAD, "1") | {"TOKENIZERS_PARALLELISM": "false", "MALLOC_ARENA_MAX": "2"}
    return kept | ours | threads


def _not_started(why: str) -> Failed:
    return Failed(
        f"the process that reads files did not start: {why[:1000]}",
        hint="Check that there is memory and room in the folder for temporary files; `reprise doctor` looks at both.",
        code="parser_did_not_start",
    )
