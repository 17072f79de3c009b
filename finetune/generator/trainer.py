"""The training child of generators: `python -m finetune.generator.trainer RUN_DIR` trains one adapter and ends.

It reads config.json, train.jsonl and passages.jsonl of the run's folder (`rows` says what they hold), and writes there:

    before.json              how likely each answer was before training
    metrics.jsonl            a line per step: step, epoch, loss, lr, grad_norm, seconds
    checkpoints/             the last two, each complete once it holds complete.json; a run goes on from the last
    losses.jsonl             the last loss of each example
    left_out.json            why an example has none, beside what was left out before
    adapter/                 the adapter in PEFT's format
    adapter/manifest.json    written last: its existence means that the run is complete
    error.json               why it ended badly: code, message, hint

For several GPUs: `accelerate launch --num_processes N -m finetune.generator.trainer RUN_DIR`; the first process writes.
`duty` says what it owes its parent, and what its exit code means. It knows no index, no database and no job.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.duty import ERROR, alone, serve
from finetune.files import write
from finetune.generator.rows import RunConfig, TrainSet, read_config, read_train_set
from finetune.generator.triple import installed, require
from finetune.practised import LOSSES, MANIFEST, leave_out
from retrieval.encoder import WEIGHTS
from retrieval.generators.identity import identity_of

if TYPE_CHECKING:
    from finetune.generator.training import Trained

_GONE, _TOO_LONG = "passage gone", "too long for the model"
_ROOM = 2**28
"""Bytes that must be free before anything is loaded."""


def main(arguments: Sequence[str]) -> int:
    """Train the run in the one folder that is named; returns the exit code."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    return serve(arguments, train, "finetune.generator.trainer")


def train(run: Path) -> Path:
    """Train the run, or what is left of it; returns the adapter's folder. A finished run is left as it is.

    Raises:
        UserError: the folder cannot be trained on, or a library is missing.
        Conflict: another process trains it.
        TrainingFailed: a number is none, or the run does not continue where a checkpoint left off.
        DiskFull: there is no room.
    """
    first = int(os.environ.get("RANK", "0")) == 0
    with alone(run) if first else nullcontext():
        if not (run / MANIFEST).is_file():
            if first:
                (run / ERROR).unlink(missing_ok=True)
            require()
            config, data = read_config(run), read_train_set(run)

            from finetune.checkpoint import require_room

            require_room(run, _ROOM)

            from finetune.generator import training

            trained = training.run(run, config, data)
            if first:
                _finish(run, config, data, trained)
    return (run / MANIFEST).parent


def _finish(run: Path, config: RunConfig, data: TrainSet, trained: Trained) -> None:
    """Adapter and losses first, the manifest last and by a rename."""
    from finetune.generator.model import write_adapter

    folder = (run / MANIFEST).parent
    write_adapter(trained.learner, folder, config.base_name)
    losses: dict[str, list[float]] = {}
    for row, after in zip(trained.rows, trained.after, strict=True):
        losses.setdefault(row.row.example, []).append(-after)
    parts = {row.row.example: row.row.part for row in trained.rows}
    lines = [
        {"example": example, "part": parts[example], "loss": round(statistics.fmean(some), 6)}
        for example, some in losses.items()
    ]
    write(run / LOSSES, "".join(json.dumps(line) + "\n" for line in lines))
    leave_out(run, dict.fromkeys(data.broken, _GONE) | dict.fromkeys(trained.unfit, _TOO_LONG))
    write(run / MANIFEST, json.dumps(_manifest(config, data, trained, folder), indent=1) + "\n")


def _manifest(config: RunConfig, data: TrainSet, trained: Trained, folder: Path) -> dict[str, Any]:
    base, lora = identity_of(config.base), trained.learner.model.peft_config["default"]
    parts = [row.row.part for row in trained.rows]
    return {
        "format": 1,
        "kind": "generator",
        "method": config.recipe.method,
        "base": {
            "name": config.base_name,
            "sha256": base.weights,
            "tokenizer_sha256": base.tokenizer,
            "template_sha256": base.template,
        },
        "adapter": {"sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()},
        "parent": config.parent,
        "warm_start": config.champion is not None,
        "reference": None if config.recipe.method == "sft" else config.parent or "base",
        "data": {
            "sha256": data.digest,
            "rows": len(trained.rows),
            "new": parts.count("new"),
            "recalled": parts.count("recalled"),
            "votes": parts.count("vote"),
            "refusals": sum(not row.row.chosen for row in trained.rows),
            "known": round(trained.known, 4),
            "tokens": sum(row.length for row in trained.rows),
            "left_out": {**config.left_out, _TOO_LONG: len(trained.unfit), _GONE: len(data.broken)},
        },
        "recipe": config.recipe.to_json(),
        "lora": {"r": lora.r, "alpha": lora.lora_alpha, "dropout": lora.lora_dropout},
        "learning_rate": config.recipe.rate_for(trained.learner.parameters, warm=config.champion is not None),
        "parameters": trained.learner.parameters,
        "seed": config.recipe.seed,
        "precision": "nf4" if trained.learner.quantized else trained.learner.precision,
        "steps": trained.steps,
        "seconds": round(trained.seconds, 1),
        "final_loss": round(-statistics.fmean(trained.after), 6),
        "versions": {"python": sys.version.split()[0], **installed()},
        "licences": list(config.licences),
        "finished_ms": time.time_ns() // 1_000_000,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
