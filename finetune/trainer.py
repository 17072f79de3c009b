"""The training child: `python -m finetune.trainer RUN_DIR` trains one retriever adapter and ends.

It reads config.json, train.jsonl and vectors.npy of the run's folder (`data` says what they hold), and writes
there:

    metrics.jsonl            a line per step: step, epoch, loss, lr, grad_norm, examples, seconds checkpoints/
    one after each epoch, the last two kept; started again, a run goes on from the last losses.jsonl
    the last loss of each example adapter/                 the adapter in PEFT's format adapter/manifest.json
    written last: its existence means that the run is complete error.json               why it ended badly:
    code, message, hint

Standard output is for the parent: one JSON line per step, {"step", "steps", "loss"}. Standard input, if it is a pipe,
is the parent's sign of life.

    exit code    0 done    1 a fault    2 the folder cannot be trained on    3 the loss is not a number
                 4 no room on the disk    5 the parent is gone, or another child has the folder

It knows no index, no database and no job: a killed child leaves a folder that another one can finish, with
the same adapter to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.merge import asked, merge_run
from kernel.errors import NO_ROOM, Conflict, DiskFull, RepriseError, TrainingFailed, UserError
from retrieval.encoder import WEIGHTS, weights_sha256

if TYPE_CHECKING:
    from finetune.training import Training

MANIFEST = Path("adapter", "manifest.json")
_METRICS, _LOSSES, _ERROR, _LOCK = "metrics.jsonl", "losses.jsonl", "error.json", ".lock"
_ROOM = 2**28
"""Bytes that must be free before anything is loaded."""
_NO_ROOM = re.compile(r"No space left|File too large|Disk quota exceeded|PytorchStreamWriter failed")
_VERSIONS_OF = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy")


def main(arguments: Sequence[str]) -> int:
    """Train the run in the one folder that is named; returns the exit code."""
    # Threads that wait must sleep: beside a serving process, spinning ones made a step up to thirty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if len(arguments) != 1:
        _say("usage: python -m finetune.trainer RUN_DIR")
        return 2
    run = Path(arguments[0])
    _end_with_parent()
    try:
        train(run)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
        return 5
    except Exception as error:
        return _report(run, error)
    return 0


def train(run: Path) -> Path:
    """Train the run, or what is left of it; returns the adapter's folder. A finished run is left as it is.

    Raises:
        UserError: the folder cannot be trained on.
        Conflict: another process trains it.
        TrainingFailed: the loss is not a number, or does not continue where a checkpoint left off.
        DiskFull: there is no room.
    """
    with _alone(run):
        if not (run / MANIFEST).is_file():
            (run / _ERROR).unlink(missing_ok=True)
            merge = asked(run)
            if merge is not None:
                _write(run / MANIFEST, json.dumps(merge_run(run, merge), indent=1) + "\n")
            else:
                training = _set_up(run)
                while training.epoch < training.config.recipe.epochs:
                    _one_epoch(training)
                _finish(training)
    return (run / MANIFEST).parent


def _set_up(run: Path) -> Training:
    """All that can be checked cheaply comes before the model is loaded."""
    from finetune.data import read_config, read_train_set

    config, data = read_config(run), read_train_set(run)

    from finetune.checkpoint import require_room

    require_room(run, _ROOM)

    from finetune.training import begin, resume

    training = begin(run, config, data)
    resume(training)
    _keep_metrics_until(run / _METRICS, training.step)
    return training


def _one_epoch(training: Training) -> None:
    from finetune.training import epoch_of, keep, one_step

    with (training.run / _METRICS).open("a", encoding="utf-8") as metrics:
        for batch in epoch_of(training):
            line = one_step(training, batch)
            metrics.write(json.dumps(line) + "\n")
            metrics.flush()
            _tell({"step": training.step, "steps": training.steps, "loss": line["loss"]})
    training.epoch += 1
    keep(training)


def _finish(training: Training) -> None:
    """Adapter and losses first, the manifest last and by a rename."""
    from finetune.model import write_adapter

    folder = (training.run / MANIFEST).parent
    write_adapter(training.learner, training.result, folder, training.config.base_name)
    lines = [
        {"example": row.example, "part": row.part, "loss": round(training.losses[i], 6)}
        for i, row in enumerate(training.data.rows)
    ]
    _write(training.run / _LOSSES, "".join(json.dumps(line) + "\n" for line in lines))
    _write(training.run / MANIFEST, json.dumps(_manifest(training, folder), indent=1) + "\n")


def _manifest(training: Training, folder: Path) -> dict[str, Any]:
    config, rows, base = training.config, training.data.rows, training.learner.spec.folder
    return {
        "format": 1,
        "kind": "retriever",
        "base": {"name": config.base_name, "sha256": weights_sha256(base)},
        "adapter": {"sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()},
        "parent": config.parent,
        "warm_start": config.champion is not None,
        "data": {
            "sha256": training.data.digest,
            "rows": len(rows),
            "new": sum(row.part == "new" for row in rows),
            "recalled": sum(row.part == "recalled" for row in rows),
        },
        "recipe": config.recipe.to_json(),
        "seed": config.recipe.seed,
        "precision": training.learner.precision,
        "steps": training.step,
        "seconds": round(training.seconds, 1),
        "final_loss": round(math.fsum(training.losses.values()) / len(rows), 6),
        "versions": {
            "python": sys.version.split()[0],
            **{name: metadata.version(name) for name in _VERSIONS_OF},
        },
        "licences": list(config.licences),
        "finished_ms": time.time_ns() // 1_000_000,
    }


# --- streams and files ---------------------------------------------------------------------------------------


def _end_with_parent() -> None:
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
def _alone(run: Path) -> Iterator[None]:
    """Hold the folder against a second child; the lock ends with the process, however that ends."""
    import fcntl

    if not run.is_dir():
        raise UserError(f"there is no folder {str(run)!r}", hint="name the folder of a run", code="bad_run")
    with (run / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"another process trains {str(run)!r}", hint="wait for it to end", code="taken") from error
        yield


def _report(run: Path, error: Exception) -> int:
    """error.json and the exit code. A folder that another child has is not written to."""
    _say("".join(traceback.format_exception(error)))
    if isinstance(error, Conflict):
        return 5
    known = error if isinstance(error, RepriseError) else _fault(error)
    if run.is_dir():
        _write(run / _ERROR, json.dumps(known.as_json(), indent=1) + "\n")
    if known.code == "diverged":
        return 3
    return 4 if isinstance(known, DiskFull) else 2 if isinstance(known, UserError) else 1


def _fault(error: Exception) -> RepriseError:
    # However early the disk was asked, it may fill up; safetensors and torch say so in words of their own.
    if (isinstance(error, OSError) and error.errno in NO_ROOM) or _NO_ROOM.search(str(error)):
        return DiskFull("the disk was full", hint="free some room and start the run again: it goes on from there")
    return TrainingFailed(f"{type(error).__name__}: {error}", hint="the log of the training has the trace")


def _keep_metrics_until(file: Path, step: int) -> None:
    """A killed process may have written of steps that are taken again, and half a line."""
    if file.is_file():
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        _write(file, "".join(line + "\n" for line in lines))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        return math.inf


def _write(file: Path, text: str) -> None:
    aside = file.with_name(f".{file.name}.tmp")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _say(message: str) -> None:
    sys.stderr.write(message + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
