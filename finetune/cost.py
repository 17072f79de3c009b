"""What a run cost: seconds, processor time, tokens, memory, bytes, and an estimate of energy where that is honest.

Processor time and memory are those of the training process itself, as the system counted them; a run whose process was
killed and went on has the sum of all of them. Energy is processor time times what one busy core draws, which nobody
but the owner of the machine can know: without that setting there is no figure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def told(cost: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A cost in words, by name. What was not measured is left out; that nobody could estimate the energy is said."""
    words = {
        "train_seconds": ("Training", _time),
        "evaluate_seconds": ("Measuring", _time),
        "cpu_seconds": ("Processor time", _time),
        "tokens": ("Tokens read", "{:,}".format),
        "peak_memory_bytes": ("Peak memory", size),
        "bytes": ("Size of the adapter", size),
    }
    said = [(name, in_words(cost[key])) for key, (name, in_words) in words.items() if cost.get(key) is not None]
    if cost.get("energy_wh_estimate") is not None:
        watts = cost.get("watts_per_core")
        said.append(("Energy", f"{cost['energy_wh_estimate']:.3g} Wh" + (f" at {watts:g} W a core" if watts else "")))
    elif "energy_wh_estimate" in cost:
        said.append(("Energy", "not estimated"))
    return said


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes for reading."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
