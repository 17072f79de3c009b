"""The training process, seen from its parent: start it, follow it, end it, say what became of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune.cost import note
from finetune.duty import ERROR
from kernel.errors import TrainingFailed
from kernel.types import Progress

TRAINER = ("-m", "finetune.trainer")
RESTARTS = 2
"""A process that was killed (memory, an operator) goes on from its last checkpoint this many times.

So does one that ends badly and does not say why: of several that train together, the one that was killed cannot.
"""


def train(folder: Path, progress: Progress, command: Sequence[str] = TRAINER) -> None:
    """Run `python COMMAND FOLDER` to its end. The child ends when this process does: it watches its input.

    Raises:
        TrainingFailed: it ended badly; the message is the child's own.
    """
    (folder / ERROR).unlink(missing_ok=True)
    for attempt in range(RESTARTS + 1):
        code = _run(folder, progress, command)
        if code == 0:
            return
        if attempt == RESTARTS or (code > 0 and (folder / ERROR).exists()):
            raise _failure(folder, code)


def environment() -> dict[str, str]:
    """What a child is started with: it finds the same modules as this process."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "TOKENIZERS_PARALLELISM": "false",
    }


def _run(folder: Path, progress: Progress, command: Sequence[str]) -> int:
    with (
        (folder / "train.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, *command, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment(),
            start_new_session=True,
        ) as child,
    ):
        try:
            assert child.stdout is not None
            for line in child.stdout:
                try:
                    told = json.loads(line)
                    progress("training", int(told["step"]), int(told["steps"]))
                except (ValueError, KeyError, TypeError):
                    continue  # a library wrote to standard output
            return _wait(child, folder)
        finally:
            if child.poll() is None:
                child.kill()


def _wait(child: subprocess.Popen[bytes], folder: Path) -> int:
    """The exit code; what the process used is noted. `Popen.wait` would throw the system's count away."""
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # of the peak: bytes there, KiB elsewhere
    note(folder, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)
    return child.returncode


def _failure(folder: Path, code: int) -> TrainingFailed:
    file = folder / ERROR
    if file.exists():
        told = json.loads(file.read_text())
        return TrainingFailed(told["message"], hint=told.get("hint", ""), code=told.get("code", "training_failed"))
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    log = (folder / "train.log").read_text(errors="replace").splitlines()
    tail = next((line.strip() for line in reversed(log) if any(map(str.isalnum, line))), "")
    return TrainingFailed(
        f"the training process {how}: {tail}",
        hint=f"see {folder / 'train.log'}; starting the retrain again goes on from a new mix",
    )
