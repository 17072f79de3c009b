"""Checkpoints of a training run: written aside and renamed, so that one that has its name is complete.

    checkpoints/step-000024/adapter_model.safetensors     the adapter's weights
    checkpoints/step-000024/state.pt                      optimiser, random state, average, losses, probe

A probe is the loss on one fixed batch without dropout. It is kept beside the weights and measured again after
loading: a run that goes on must go on from where it was, not from a fresh adapter that happens to have the
same shapes.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from kernel.errors import DiskFull

FOLDER = "checkpoints"
_WEIGHTS, _STATE = "adapter_model.safetensors", "state.pt"
_KEPT = 2
_SPARE = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped, as plain tensors and values."""

    step: int
    epoch: int
    """Epochs that are done."""
    seconds: float
    """Training time so far."""
    digest: str
    """Of the data and the recipe: a checkpoint of other data is not one of this run."""
    probe: float
    weights: dict[str, torch.Tensor] = field(repr=False)
    optimiser: dict[str, Any] = field(repr=False)
    random: torch.Tensor = field(repr=False)
    average: dict[str, torch.Tensor] | None = field(repr=False, default=None)
    losses: dict[int, float] = field(repr=False, default_factory=dict)
    """Last loss of each row that was seen."""
    negatives: list[list[int]] = field(repr=False, default_factory=list)
    """Of each row, those of the epoch that is done: a run need not choose anew at the next one."""


def save(run: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint whole or not at all, and drop all but the last two.

    Raises:
        DiskFull: there is no room; nothing was written.
    """
    require_room(run, 4 * sum(w.nbytes for w in checkpoint.weights.values()) + _SPARE)
    aside = run / FOLDER / f".step-{checkpoint.step:06d}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_file(checkpoint.weights, str(aside / _WEIGHTS))
    rest = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__ if name != "weights"}
    torch.save(rest, aside / _STATE)
    for file in aside.iterdir():
        _to_disk(file)
    final = aside.with_name(aside.name[1:])
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    for old in _complete(run)[:-_KEPT]:
        shutil.rmtree(old)
    return final


def latest(run: Path, digest: str) -> Checkpoint | None:
    """The last complete checkpoint of this data and recipe; None when training has to start from the
    beginning.

    Checkpoints of other data are removed: their weights have learnt what may since have been deleted.
    """
    for folder in reversed(_complete(run)):
        state = torch.load(folder / _STATE, weights_only=True)
        if state["digest"] == digest:
            return Checkpoint(weights=load_file(str(folder / _WEIGHTS)), **state)
        shutil.rmtree(folder)
    return None


def require_room(folder: Path, wanted: int) -> None:
    """Nothing, if the disk of `folder` has `wanted` bytes free.

    Raises:
        DiskFull: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise DiskFull(
            f"training needs {wanted / 2**20:.0f} MiB in {str(folder)!r} and {free / 2**20:.0f} MiB are free",
            hint="free some room and start the run again: it goes on from its last checkpoint",
        )


def _complete(run: Path) -> list[Path]:
    found = (run / FOLDER).glob("step-*") if (run / FOLDER).is_dir() else ()
    return sorted(folder for folder in found if (folder / _STATE).is_file() and (folder / _WEIGHTS).is_file())


def _to_disk(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
