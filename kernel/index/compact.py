"""Optimizing an embedded index in a process of its own: build search structures, drop what was deleted.

Edge's `optimize` holds Python's global lock for its whole run, which would freeze whoever serves. The folder must be
open nowhere. The process forks: one half optimizes, the other watches the parent, because the first cannot.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kernel.errors import Failed


def optimize(folder: Path, alive: Callable[[], None], every: float = 0.2) -> None:
    """Optimize the index in `folder`; `alive` is called all the while, and what it raises ends the work.

    Raises:
        Failed: the process ended badly. Make the index anew.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "kernel.index.compact", str(folder)]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=environment
        )
        try:
            while child.poll() is None:
                alive()
                time.sleep(every)
        finally:
            assert child.stdin is not None
            child.stdin.close()  # the watching half ends the other, if it still runs
            code = child.wait()
        if code:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {code}"]
            raise Failed(
                f"the index could not be optimized: {last[0]}",
                hint="what served goes on serving; try `reprise maintain` again",
                code="index_maintenance",
            )


def _optimize(folder: str) -> None:
    import qdrant_edge  # not our engine's module, which takes a second to import

    shard = qdrant_edge.EdgeShard.load(folder)
    shard.optimize()
    shard.flush()
    shard.close()


def _watch(child: int) -> int:
    """Wait for the half that works; end it when the parent is gone or asks for it. The exit code."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return abs(os.waitstatus_to_exitcode(status))
        readable, _, _ = select.select([0], [], [], 0.05)
        if readable and not os.read(0, 1):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 1


if __name__ == "__main__":
    working = os.fork()
    if working:
        sys.exit(_watch(working))
    _optimize(sys.argv[1])
