"""What a run cost: seconds, processor time, tokens, memory, bytes, and an estimate of energy where that is honest.

Processor time and memory are those of the training process itself, as the system counted them; a run whose process was
killed and went on has the sum of all of them. Energy is processor time times what one busy core draws, which nobody
but the owner of the machine can know: without that setting there is no figure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.files import write_json

USAGE = "usage.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the training processes of a run used."""

    cpu_seconds: float = 0.0
    """User and system time, of all threads."""
    peak_memory_bytes: int = 0
    processes: int = 0


def note(folder: Path, cpu_seconds: float, peak_memory_bytes: int) -> Usage:
    """Add what a process used that has just ended to the folder's record; the sum."""
    before = usage(folder)
    now = Usage(
        cpu_seconds=round(before.cpu_seconds + cpu_seconds, 3),
        peak_memory_bytes=max(before.peak_memory_bytes, peak_memory_bytes),
        processes=before.processes + 1,
    )
    write_json(folder / USAGE, asdict(now))
    return now


def usage(folder: Path) -> Usage:
    """What is noted; nothing where nothing is."""
    file = folder / USAGE
    return Usage(**json.loads(file.read_text())) if file.is_file() else Usage()


def bytes_of(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def cost(
    folder: Path, *, train_seconds: float, evaluate_seconds: float, tokens: int, watts: float | None
) -> dict[str, Any]:
    """The cost of a run, as its metrics show it.

    Args:
        folder: the run's.
        train_seconds: by the clock.
        evaluate_seconds: by the clock.
        tokens: read in training.
        watts: what one busy core draws; None where nobody said.
    """
    used = usage(folder)
    return {
        "train_seconds": round(train_seconds, 1),
        "evaluate_seconds": round(evaluate_seconds, 1),
        "cpu_seconds": used.cpu_seconds,
        "tokens": tokens,
        "peak_memory_bytes": used.peak_memory_bytes,
        "bytes": bytes_of(folder / "adapter"),
        "energy_wh_estimate": round(used.cpu_seconds * watts / 3600, 3) if watts else None,
        "watts_per_core": watts,
    }
