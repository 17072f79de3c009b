"""What a training child owes its parent: to end with it, to have its folder alone, and to say what happened.

Standard output carries one JSON line per step; standard input, if it is a pipe, is the parent's sign of life. What went
wrong stands in error.json, and in the exit code:

    0 done    1 a fault    2 the folder cannot be trained on    3 the loss is not a number
    4 no room on the disk    5 the parent is gone, or a process that trains with this one, or another has the folder
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from finetune.files import no_room, write
from kernel.errors import Conflict, DiskFull, RepriseError, TrainingFailed, UserError

ERROR, LOCK = "error.json", ".lock"
_LOST = re.compile(r"gloo|NCCL|TCPStore")
"""What torch names where processes that train together cannot reach each other: one of them is gone."""


def serve(arguments: Sequence[str], train: Callable[[Path], Any], module: str) -> int:
    """Train the run in the one folder that is named; returns the exit code."""
    # Threads that wait must sleep: beside a serving process, spinning ones made a step up to thirty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if len(arguments) != 1:
        say(f"usage: python -m {module} RUN_DIR")
        return 2
    run = Path(arguments[0])
    end_with_parent()
    try:
        train(run)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
        return 5
    except Exception as error:
        return report(run, error)
    return 0


def end_with_parent() -> None:
    """Where standard input is a pipe, end as soon as it is closed: a parent that was killed leaves no orphan.

    That may be in the middle of anything, and is as good as a kill: the next child goes on from a checkpoint.
    """

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(5)

    with suppress(OSError):
        if stat.S_ISFIFO(os.fstat(0).st_mode):
            threading.Thread(target=watch, daemon=True).start()


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Hold the folder against a second child; the lock ends with the process, however that ends."""
    import fcntl

    if not run.is_dir():
        raise UserError(f"there is no folder {str(run)!r}", hint="name the folder of a run", code="bad_run")
    with (run / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"another process trains {str(run)!r}", hint="wait for it to end", code="taken") from error
        yield


def report(run: Path, error: Exception) -> int:
    """error.json and the exit code. A folder that another child has is not written to.

    Of several processes that train together the first that fails says why: it takes the others with it. One that was
    killed can say nothing, and then the others do not either.
    """
    say("".join(traceback.format_exception(error)))
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if isinstance(error, Conflict) or (together and _LOST.search(str(error))):
        return 5
    known = error if isinstance(error, RepriseError) else _fault(error)
    if run.is_dir() and not (run / ERROR).exists():
        own = run / f".{ERROR}.{os.environ.get('RANK', '0')}"
        write(own, json.dumps(known.as_json(), indent=1) + "\n")
        own.replace(run / ERROR)
    if known.code == "diverged":
        return 3
    return 4 if isinstance(known, DiskFull) else 2 if isinstance(known, UserError) else 1


def _fault(error: Exception) -> RepriseError:
    if no_room(error):  # however early the disk was asked, it may fill up
        return DiskFull("the disk was full", hint="free some room and start the run again: it goes on from there")
    return TrainingFailed(f"{type(error).__name__}: {error}", hint="the log of the training has the trace")


def keep_metrics_until(file: Path, step: int) -> None:
    """A killed process may have written of steps that are taken again, and half a line."""
    if file.is_file():
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        write(file, "".join(line + "\n" for line in lines))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        return math.inf


def tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def say(message: str) -> None:
    sys.stderr.write(message + "\n")
