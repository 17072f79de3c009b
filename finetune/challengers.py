"""When a cycle trains a second challenger, fresh from the base on the whole memory, and which of two is the better.

A warm start keeps what the champion knows, and keeps its faults as well: what was learnt badly years ago stays in the
weights, and directions that no single training would have taken gather (Shuttleworth et al., LoRA vs full fine-tuning:
an illusion of equivalence, 2024). A model trained from nothing on all that is remembered, in balance, has none of that
(Prabhu, Torr and Dokania, GDumb, ECCV 2020). It costs as much as all cycles so far, so it is trained now and then, and
the gate judges both.

Pure: it knows what became of earlier cycles and reads nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.kinds import BASE, CHAMPION, Options

EVERY = 4
"""Every so many cycles one is fresh."""
REFUSALS = 2
"""So many refusals in a row bring the next fresh one forward."""
_ENDED = ("accepted", "rejected", "failed", "declined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """A retrain that came to its verdict, its fresh sibling included."""

    fresh: bool
    """One of its challengers began from the base."""
    accepted: bool
    """One of them was accepted."""


def challengers(asked: Options, history: Sequence[Cycle]) -> list[Options]:
    """What a cycle trains: what was asked and, where one is due, a fresh challenger beside it.

    `history` is of the same kind of adapter, oldest first. Only a plain retrain from the champion has a sibling: who
    asks for a control, a merge, another start or a retrain without some document gets exactly that.
    """
    plain = asked.start == CHAMPION and not (asked.control or asked.without or asked.merged or asked.sibling)
    if not plain or not due(history):
        return [asked]
    return [asked, dataclasses.replace(asked, start=BASE)]


def due(history: Sequence[Cycle]) -> bool:
    """Whether the cycle that comes next owes a fresh challenger. The first cycle of all begins from the base anyway."""
    since: list[Cycle] = []
    for cycle in reversed(history):
        if cycle.fresh:
            break
        since.insert(0, cycle)
    refused = len(since) >= REFUSALS and not any(cycle.accepted for cycle in since[-REFUSALS:])
    return bool(history) and (refused or len(since) >= EVERY - 1)


def preferred(runs: Sequence[Mapping[str, Any]]) -> str | None:
    """The adapter of the better accepted run, by its mean over all held-out questions; None while one is under way.

    Both were measured on the same questions. Among equals the first wins; give the one that goes on from the champion
    first, since it changes less. `runs` are as `Runs.result` tells them.
    """
    if any(run["state"] not in _ENDED for run in runs):
        return None
    accepted = [run for run in runs if run["state"] == "accepted"]
    best = max(accepted, key=_figure, default=None)
    return str(best["adapter"]) if best is not None else None


def beside(run: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What a run has to do with the `other` challenger of its cycle, and which of them is preferred, in one sentence.

    Both are as `Runs.result` tells them, the first with its `preferred`.
    """
    began = "went on from the champion" if run["options"].get("start") == BASE else "began fresh from the base model"
    which = f"the other challenger of this cycle, {other['run']}, {began}"
    if any(one["state"] not in _ENDED for one in (run, other)):
        return f"{which}; which of the two is better is told when both have ended"
    best = run["preferred"]
    if best is None:
        return f"{which}; neither of the two was accepted"
    return f"{which}; of the two {'this one' if best == run['adapter'] else best} is preferred"


def _figure(run: Mapping[str, Any]) -> float:
    rows = (run["verdict"] or {}).get("slices", ())
    return next((float(row["challenger"]) for row in rows if row["slice"] == "(all)"), float("-inf"))
