"""The recovery probe: was a slice's knowledge lost, or only the way to it?

A model that has forgotten a slice may get it back within a few steps on that slice's own training examples. Then what
it knew is still there, and only its alignment to the task had moved: rehearse a little more. If a few steps bring
nothing back, the knowledge itself is gone. The probe changes no decision.

Paper: Zheng et al., Spurious forgetting in continual learning of language models, ICLR 2025 (2501.13453).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from finetune.gate import FEW, TOGETHER, HeldOut, Verdict
from finetune.tables import Run
from kernel.types import Progress

STEPS = 10
"""Of training, about: whole passes over the slice's examples, until it is so many."""
MOST_SLICES = 3
"""Those that lost most are probed; each costs a start of the training process."""
MOST_ROWS = 320
RECOVERED = 0.5
"""Share of the loss that has to come back for it to have been alignment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An old slice that lost more than was allowed."""

    slice: str
    examples: tuple[str, ...]
    """Held-out."""
    before: float
    """What the champion scored, or the base where there is none."""
    now: float
    """What the challenger scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a few steps brought back of a slice, by the metric of the gate."""

    slice: str
    n: int
    """Held-out questions."""
    steps: int
    before: float
    lost: float
    """What the challenger scored."""
    after: float
    """What the challenger scored after the steps."""

    @property
    def share(self) -> float:
        """Of the loss that came back: 1 is all of it, below 0 is more lost. NaN without a loss."""
        return (self.after - self.lost) / (self.before - self.lost) if self.before > self.lost else math.nan

    @property
    def said(self) -> str:
        """A sentence for the verdict."""
        back = f"{self.steps} steps on examples of slice {self.slice!r} bring back {self.share:.0%} of what it lost"
        if self.share >= RECOVERED:
            return f"{back}: its alignment was lost, not its knowledge; rehearsing more of it should keep it"
        return f"{back}: its knowledge was lost, not only the way to it; train more gently, or keep it in the index"


@runtime_checkable
class Probing(Protocol):
    """A kind of adapter that can be probed."""

    def probe(self, run: Run, folder: Path, lost: Sequence[Lost], progress: Progress) -> list[Recovery]:
        """Train a copy of the challenger a little on each lost slice, in child processes, and measure it again.

        The challenger itself, and what serves, stay as they are. A slice without training examples is left out.
        """


def lost_slices(verdict: Verdict, held_out: Sequence[HeldOut], min_slice: int) -> list[Lost]:
    """Old slices that lost more than was allowed, the worst first; at most three."""
    by_slice: dict[str, list[str]] = {}
    for e in held_out:
        if e.part == "old" and e.suite is None:
            by_slice.setdefault(e.slice, []).append(e.example)
    found = []
    for row in verdict.slices:
        if row.part != "old" or row.slice == TOGETHER or row.allowed is None or row.base is None:
            continue
        before = row.base if row.champion is None else row.champion
        if before - row.challenger > row.allowed + 1e-9:
            small = [e for some in by_slice.values() if len(some) < min_slice for e in some]
            examples = small if row.slice == FEW else by_slice[row.slice]
            found.append(Lost(slice=row.slice, examples=tuple(examples), before=before, now=row.challenger))
    return sorted(found, key=lambda one: one.now - one.before)[:MOST_SLICES]
