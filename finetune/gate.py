"""The gate: may a challenger take the champion's place? It judges figures that others measured, and says why.

    rule        the challenger is refused when
    figures     a figure is missing or not a number, or fewer than `min_n` questions were held out
    gain        it is not surely better on what is new: the lower bound of its gain is not above `min_gain`
    old         it lost more on an old slice, or on all of them together, than max(tolerance, measured noise)
    pinned      it finds nothing (0) for a pinned question for which the champion found something
    served      the answers as they are served got worse by more than max(tolerance, measured noise)

The measured noise is the standard error of the paired differences. Rules that do not apply say so or stay
silent; every rule that was applied leaves a sentence with its numbers, the refusals first. It is the same for
every adapter kind: what the figures mean is in the name of the metric.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from finetune.metrics import paired_bootstrap, standard_error
from kernel.errors import UserError

Part = Literal["new", "old", "pinned", "all"]
ModelScores = Mapping[str, Mapping[str, float]]
"""Model (`base`, `champion`, `challenger`) to example id to figure. Without `champion` the base stands in for
it."""

FEW, TOGETHER = "(small slices)", "(all old)"
"""Rows of a verdict that are not slices: old slices too small to judge alone, and all old questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """How strict the gate is. Figures are in units of the metric, so .015 is one and a half points of
    nDCG."""

    tolerance: float = 0.015
    min_gain: float = 0.0
    min_n: int = 10
    """Held-out questions in total, below which nothing can be told."""
    min_new: int = 5
    """Questions on which a gain is judged, below which a bootstrap means nothing."""
    min_slice: int = 5
    """Old slices with fewer questions are judged together."""
    resamples: int = 10_000
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A question that no model was trained on. `new` slices are what the challenger was trained for."""

    example: str
    slice: str
    part: Literal["new", "old"]
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """Means over the questions of a slice; `low` and `high` bound challenger minus champion."""

    slice: str
    n: int
    metric: str
    base: float
    champion: float | None
    """None when there is no champion: then the bounds are of challenger minus base."""
    challenger: float
    low: float
    high: float
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the challenger may serve, why, and the figures per slice."""

    accepted: bool
    reasons: list[str]
    slices: list[SliceResult]

    def to_json(self) -> dict[str, Any]:
        """JSON values only; `from_json` takes it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_json` gave."""
        slices = [SliceResult(**row) for row in data["slices"]]
        return cls(accepted=bool(data["accepted"]), reasons=list(data["reasons"]), slices=slices)


def judge(
    scores: ModelScores,
    examples: Sequence[HeldOut],
    *,
    policy: GatePolicy | None = None,
    seed: int = 0,
    metric: str = "ndcg@10",
    served_scores: ModelScores | None = None,
) -> Verdict:
    """The verdict on the challenger. The same figures, policy and seed give the same verdict.

    Args:
        scores: the metric of each model for each held-out example; higher is better.
        examples: what was held out; their ids are unique.
        policy: how strict; the default where None.
        seed: of the bootstrap.
        metric: its name, for the sentences.
        served_scores: the same for the answers as served (fused, reranked), where that was measured.

    Raises:
        UserError: `base` or `challenger` is not among the models, or an example is given twice.
    """
    _check(scores, examples)
    case = _Case(scores, examples, policy or GatePolicy(), seed, metric)
    findings = [*case.figures(), *case.enough()]
    if case.known:
        findings += [case.gain(), *case.old(), *case.pinned()]
        if served_scores is not None:
            findings.append(case.served(served_scores))
    refusals = [said for bad, said in findings if bad]
    return Verdict(
        accepted=not refusals,
        reasons=[f"refused: {said}" for said in refusals] + [f"passed: {said}" for bad, said in findings if not bad],
        slices=case.rows,
    )


# --- one case -----------------------------------------------------------------------------------------------

_Finding = tuple[bool, str]
"""(is a refusal, the sentence)"""


class _Case:
    """The held-out questions of one verdict with their figures, and a method per rule."""

    def __init__(
        self, scores: ModelScores, examples: Sequence[HeldOut], policy: GatePolicy, seed: int, metric: str
    ) -> None:
        self.policy, self.seed, self.metric = policy, seed, metric
        self.scores = scores
        self.rival = "champion" if "champion" in scores else "base"
        self.given = sorted(examples, key=lambda e: e.example)
        self.known = [e for e in self.given if not self._missing(e)]
        self.rows: list[SliceResult] = []

    def figures(self) -> Iterable[_Finding]:
        lost = [e for e in self.given if self._missing(e)]
        if lost:
            named = ", ".join(f"{e.example!r} ({', '.join(self._missing(e))})" for e in lost[:3])
            yield True, f"{len(lost)} of {len(self.given)} questions have no {self.metric}: {named}"

    def enough(self) -> Iterable[_Finding]:
        few, wanted = len(self.given), self.policy.min_n
        if few < wanted:
            yield True, f"only {few} questions are held out, and {wanted} are needed to tell a gain from chance"

    def gain(self) -> _Finding:
        new = [e for e in self.known if e.part == "new"]
        for name in sorted({e.slice for e in new}):
            self._row(name, "new", [e for e in new if e.slice == name])
        self._row("(all)", "all", self.known)
        judged, what = (new, "new questions") if self.rival == "champion" else (self.known, "questions")
        if len(judged) < self.policy.min_new:
            return True, f"only {len(judged)} {what} could show a gain, and {self.policy.min_new} are needed"
        mean, low, high = self._bounds(judged)
        then, now = self._mean(self.rival, judged), self._mean("challenger", judged)
        sentence = (
            f"{mean:+.3f} {self.metric} against the {self.rival} on {len(judged)} {what} ({then:.3f} to {now:.3f}; "
            f"{self.policy.confidence:.0%} between {low:+.3f} and {high:+.3f})"
        )
        if low > self.policy.min_gain:
            return False, sentence
        return True, f"{sentence}, and the lower bound has to be above {self.policy.min_gain:+.3f}"

    def old(self) -> Iterable[_Finding]:
        old = [e for e in self.known if e.part == "old"]
        slices = {name: [e for e in old if e.slice == name] for name in sorted({e.slice for e in old})}
        small = [e for e in old if len(slices[e.slice]) < self.policy.min_slice]
        groups = {name: some for name, some in slices.items() if len(some) >= self.policy.min_slice}
        if small:
            groups[FEW] = small
        if len(groups) > 1:  # many small losses, each within its noise, are a large one together
            groups[TOGETHER] = old
        for name, some in groups.items():
            self._row(name, "old", some)
            where = "all old slices together" if name == TOGETHER else f"old slice {name!r}"
            yield self._loss(where, self._diff(some))

    def pinned(self) -> Iterable[_Finding]:
        pinned = [e for e in self.known if e.pinned]
        if not pinned:
            return
        self._row("(pinned)", "pinned", pinned)
        before, now = self.scores[self.rival], self.scores["challenger"]
        failed = [e.example for e in pinned if before[e.example] > 0 >= now[e.example]]
        if failed:
            named = ", ".join(map(repr, failed[:5]))
            yield True, f"{len(failed)} of {len(pinned)} pinned questions worked and now fail: {named}"
        else:
            yield False, f"no pinned question of {len(pinned)} that worked fails now"

    def served(self, served: ModelScores) -> _Finding:
        rival = "champion" if "champion" in served else "base"
        now, then = served.get("challenger", {}), served.get(rival, {})
        lost = [
            e.example for e in self.given if not (_is_number(now.get(e.example)) and _is_number(then.get(e.example)))
        ]
        if lost:
            return True, f"{len(lost)} of {len(self.given)} questions have no figure as served, first {lost[0]!r}"
        return self._loss("as served", np.array([now[e.example] - then[e.example] for e in self.given]))

    def _loss(self, where: str, diff: np.ndarray) -> _Finding:
        noise = standard_error(diff)
        allowed, change = max(self.policy.tolerance, noise), float(diff.mean())
        kind = "the measured noise" if noise > self.policy.tolerance else "the tolerance"
        sentence = (
            f"{where}: {change:+.3f} {self.metric} on {len(diff)} questions, allowed down to {-allowed:+.3f} ({kind})"
        )
        # One question alone that lost x of n gives a mean of x/n and a noise of x/n: rounding must not decide.
        return -change > allowed + 1e-9, sentence

    def _row(self, name: str, part: Part, some: Sequence[HeldOut]) -> None:
        _, low, high = self._bounds(some)
        self.rows.append(
            SliceResult(
                slice=name,
                n=len(some),
                metric=self.metric,
                base=self._mean("base", some),
                champion=self._mean("champion", some) if self.rival == "champion" else None,
                challenger=self._mean("challenger", some),
                low=low,
                high=high,
                part=part,
            )
        )

    def _bounds(self, some: Sequence[HeldOut]) -> tuple[float, float, float]:
        return paired_bootstrap(self._diff(some), self.seed, self.policy.resamples, self.policy.confidence)

    def _diff(self, some: Sequence[HeldOut]) -> np.ndarray:
        now, then = self.scores["challenger"], self.scores[self.rival]
        return np.array([now[e.example] - then[e.example] for e in some])

    def _mean(self, model: str, some: Sequence[HeldOut]) -> float:
        return math.fsum(self.scores[model][e.example] for e in some) / len(some)

    def _missing(self, e: HeldOut) -> list[str]:
        return [model for model in sorted(self.scores) if not _is_number(self.scores[model].get(e.example))]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _check(scores: ModelScores, examples: Sequence[HeldOut]) -> None:
    missing = sorted({"base", "challenger"} - set(scores))
    if missing:
        raise UserError(f"the gate has no figures of {missing}", hint="give those of base and challenger at least")
    if len({e.example for e in examples}) < len(examples):
        raise UserError("a held-out example is given twice", hint="give each once")
