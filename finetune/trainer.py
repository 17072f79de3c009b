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
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.duty import ERROR, alone, keep_metrics_until, serve, tell
from finetune.files import write
from finetune.merge import asked, merge_run
from retrieval.encoder import WEIGHTS, weights_sha256

if TYPE_CHECKING:
    from finetune.training import Training

MANIFEST = Path("adapter", "manifest.json")
_METRICS, _LOSSES = "metrics.jsonl", "losses.jsonl"
_ROOM = 2**28
"""Bytes that must be free before anything is loaded."""
_VERSIONS_OF = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy")


def main(arguments: Sequence[str]) -> int:
    """Train the run in the one folder that is named; returns the exit code."""
    return serve(arguments, train, "finetune.trainer")


def train(run: Path) -> Path:
    """Train the run, or what is left of it; returns the adapter's folder. A finished run is left as it is.

    Raises:
        UserError: the folder cannot be trained on.
        Conflict: another process trains it.
        TrainingFailed: the loss is not a number, or does not continue where a checkpoint left off.
        DiskFull: there is no room.
    """
    with alone(run):
        if not (run / MANIFEST).is_file():
            (run / ERROR).unlink(missing_ok=True)
            merge = asked(run)
            if merge is not None:
                write(run / MANIFEST, json.dumps(merge_run(run, merge), indent=1) + "\n")
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
    keep_metrics_until(run / _METRICS, training.step)
    return training


def _one_epoch(training: Training) -> None:
    from finetune.training import epoch_of, keep, one_step

    with (training.run / _METRICS).open("a", encoding="utf-8") as metrics:
        for batch in epoch_of(training):
            line = one_step(training, batch)
            metrics.write(json.dumps(line) + "\n")
            metrics.flush()
            tell({"step": training.step, "steps": training.steps, "loss": line["loss"]})
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
    write(training.run / _LOSSES, "".join(json.dumps(line) + "\n" for line in lines))
    write(training.run / MANIFEST, json.dumps(_manifest(training, folder), indent=1) + "\n")


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
