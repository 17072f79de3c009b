"""What was learnt and what was forgotten over a line of models: the matrix R and the figures that are read off it.

    R[i, j]     mean figure of model i on the held-out questions of slice j; NaN where there is none
    rows        in order of training: row i is what came out of the i-th run
    columns     slices; `learnt[j]` is the row whose run first brought something of slice j

In a benchmark every run brings one task, so `learnt` is the diagonal and may be left out. On a platform one run may
bring several slices, a slice may come in several runs, and a slice that is younger than a model has no figure for it.
Such cells are NaN and left out of every mean; where nothing is left, the figure is NaN, never 0.

It is pure: it knows numpy, and neither models nor where figures are kept. All rows must have been measured on the
same questions over the same index, or a grown index would look like forgetting.

Papers: Lopez-Paz and Ranzato, Gradient episodic memory for continual learning, NeurIPS 2017 (average accuracy,
backward and forward transfer); Chaudhry et al., Riemannian walk for incremental learning, ECCV 2018 (forgetting).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.metrics import paired_bootstrap
from kernel.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model of a line: what it scored, question by question, and what its run had brought."""

    model: str
    figures: Mapping[str, Mapping[str, float]]
    """Slice to example to figure. A figure that is no number counts as not measured."""
    learnt: tuple[str, ...] = ()
    """Slices that its run brought something new of; of a base model none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changed on a slice between two rows, over the questions that both were asked."""

    slice: str
    n: int
    before: float
    after: float
    mean: float
    low: float
    high: float
    """Bounds of after minus before, by the paired bootstrap."""


def build(rows: Sequence[Row], slices: Sequence[str] | None = None) -> np.ndarray:
    """R of shape (rows, slices), float64; `slices` in this order, all there are by name where None."""
    names = list(slices) if slices is not None else slices_of(rows)
    return np.array([[_mean(row.figures.get(name, {})) for name in names] for row in rows]).reshape(
        len(rows), len(names)
    )


def slices_of(rows: Sequence[Row]) -> list[str]:
    """Every slice that some row has a figure of, by name."""
    return sorted({name for row in rows for name in row.figures})


def learnt_at(rows: Sequence[Row], slices: Sequence[str]) -> list[int | None]:
    """For each slice the first row whose run brought something of it; None for one that was never learnt."""
    return [next((i for i, row in enumerate(rows) if name in row.learnt), None) for name in slices]


def average_accuracy(R: np.ndarray) -> float:
    """Mean over all slices of what the last model scores.

    ACC = 1/T sum over j of R[T, j]
    """
    return _over(_square(R)[-1]) if len(R) else math.nan


def backward_transfer(R: np.ndarray, learnt: Sequence[int | None] | None = None) -> float:
    """How much later runs moved what earlier ones had brought; below 0 is forgetting.

        BWT = 1/(T-1) sum over j < T of R[T, j] - R[j, j]

    Slices that the last run brought have nothing later, and are left out.
    """
    R = _square(R)
    last = len(R) - 1
    at = _learnt(R, learnt)
    return _over([R[last, j] - R[i, j] for j, i in enumerate(at) if i is not None and i < last])


def forward_transfer(R: np.ndarray, base: Sequence[float], learnt: Sequence[int | None] | None = None) -> float:
    """How much a model gains on a slice before any run brought it.

        FWT = 1/(T-1) sum over j > 1 of R[j-1, j] - b_j

    The paper takes a network at random initialisation for b. Here it is the base model, which is what serves
    without any run: anything else would count its pretraining as transfer.

    Args:
        R: (rows, slices).
        base: what the base model scores on each slice (slices,).
        learnt: for each slice the row that brought it; the diagonal where None.
    """
    R = _square(R)
    b = np.asarray(base, dtype=np.float64)
    if b.shape != (R.shape[1],):
        raise UserError(f"the base has figures of shape {b.shape} for {R.shape[1]} slices", hint="give one for each")
    return _over([R[i - 1, j] - b[j] for j, i in enumerate(_learnt(R, learnt)) if i is not None and i > 0])


def forgetting(R: np.ndarray, learnt: Sequence[int | None] | None = None) -> float:
    """Mean loss of the last model against the best that any earlier one scored; 0 or less where nothing was lost.

    F = 1/(T-1) sum over j < T of (max over l < T of R[l, j]) - R[T, j]
    """
    return _over([lost for lost in forgotten(R, learnt) if not math.isnan(lost)])


def forgotten(R: np.ndarray, learnt: Sequence[int | None] | None = None) -> list[float]:
    """`forgetting` slice by slice; NaN for those the last run brought, and where a figure is missing."""
    R = _square(R)
    last = len(R) - 1
    found = []
    for j, i in enumerate(_learnt(R, learnt)):
        earlier = R[:last, j][~np.isnan(R[:last, j])]
        known = i is not None and i < last and len(earlier) > 0
        found.append(float(earlier.max() - R[last, j]) if known else math.nan)
    return found


def compare(
    before: Row, after: Row, *, seed: int = 0, resamples: int = 10_000, confidence: float = 0.95
) -> list[Change]:
    """What changed from one row to another, slice by slice, over questions that both have a figure of."""
    changes = []
    for name in sorted(set(before.figures) & set(after.figures)):
        then, now = before.figures[name], after.figures[name]
        both = sorted(e for e in set(then) & set(now) if _finite(then[e]) and _finite(now[e]))
        if not both:
            continue
        mean, low, high = paired_bootstrap(
            np.array([now[e] - then[e] for e in both]), seed, resamples=resamples, confidence=confidence
        )
        changes.append(
            Change(
                slice=name,
                n=len(both),
                before=_mean({e: then[e] for e in both}),
                after=_mean({e: now[e] for e in both}),
                mean=mean,
                low=low,
                high=high,
            )
        )
    return changes


# --- private ------------------------------------------------------------------------------------


def _square(R: np.ndarray) -> np.ndarray:
    R = np.asarray(R, dtype=np.float64)
    if R.ndim != 2:
        raise UserError(f"R has shape {R.shape}", hint="it has a row per model and a column per slice")
    return R


def _learnt(R: np.ndarray, learnt: Sequence[int | None] | None) -> list[int | None]:
    """The row that brought each column; the diagonal, where nobody says."""
    if learnt is None:
        return [j if j < len(R) else None for j in range(R.shape[1])]
    if len(learnt) != R.shape[1]:
        raise UserError(f"{len(learnt)} rows are named for {R.shape[1]} slices", hint="name one for each, or None")
    return list(learnt)


def _over(values: Sequence[float] | np.ndarray) -> float:
    """The mean of what is a number; NaN where nothing is."""
    known = [float(v) for v in values if not math.isnan(v)]
    return math.fsum(known) / len(known) if known else math.nan


def _mean(figures: Mapping[str, float]) -> float:
    return _over([v for v in figures.values() if _finite(v)])


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
