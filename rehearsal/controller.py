"""The replay ratio as a controlled variable: overall and per slice, from what the gate measured.

    rho starts at .30 and stays within .05 and .50
    x 1.5       for a slice, and overall, after a retrain was refused for what it lost there
    x .75       after two clean passes in a row (overall, and per slice)

The ratio overall says how much is practised again; that is split among slices by their size and their own ratios. A
slice begins with the ratio overall of the time when it is first judged.

A clean pass is a retrain that was accepted and lost nothing to speak of. A retrain says something about rho only as far
as it practised accordingly: one that was refused with less replay than is due does not raise it, and one that passed
with more does not lower it. What was refused for other reasons, or judged on nothing old, says nothing.

Pure: no run is read here, and no mix drawn. The bounds: small drift wants 5 to 10 % of replay, a strong shift 25 to 40
(Ibrahim et al., Simple and scalable strategies to continually pre-train large language models, TMLR 2024), and on
benign drift replay does next to nothing (arXiv 2511.17936), so rho may fall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

START, LEAST, MOST = 0.3, 0.05, 0.5
UP, DOWN = 1.5, 0.75
CLEAN_PASSES = 2
CLEAN = 0.003
"""A slice that lost no more than this (three tenths of a point) lost nothing to speak of."""
_NEAR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A retrain as the controller sees it. Changes are challenger minus champion, in units of the gate's metric."""

    run: str
    accepted: bool
    rho: float
    """What it practised, overall."""
    change: float | None
    """Over all old questions; None where there were none."""
    failed: bool
    """Whether it was refused for what it lost on old questions, wherever that was."""
    slices: Mapping[str, float] = field(default_factory=dict)
    """Change per old slice."""
    failed_slices: tuple[str, ...] = ()
    rhos: Mapping[str, float] = field(default_factory=dict)
    """What it practised of slices, where that was not `rho`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of the controller. `slice` is None for the ratio overall."""

    slice: str | None
    before: float
    after: float
    run: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """How much to practise again: overall, and of the slices that differ; with the reason for each."""

    rho: float
    slices: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    def of(self, *names: str) -> float:
        """The ratio of a slice, by the first of its names that has one of its own."""
        return next((self.slices[name] for name in names if name in self.slices), self.rho)

    def to_json(self) -> dict[str, Any]:
        return {"rho": self.rho, "slices": dict(self.slices), "reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Where the controller stands, and how it came there."""

    replay: Replay
    changes: tuple[Change, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**self.replay.to_json(), "changes": [asdict(change) for change in self.changes]}


def control(history: Sequence[Judged], start: float = START) -> Control:
    """The ratios after these retrains, oldest first; `start` before the first of them."""
    overall, slices = _Ratio(None, start), dict[str, _Ratio]()
    for run in history:
        if run.change is None:
            continue
        for name in sorted(run.slices):
            slices.setdefault(name, _Ratio(name, overall.rho))
        for name, ratio in slices.items():
            if name in run.slices:
                failed = name in run.failed_slices
                ratio.judge(run, run.rhos.get(name, run.rho), run.slices[name], failed)
        overall.judge(run, run.rho, run.change, run.failed)
    ratios = [overall, *(slices[name] for name in sorted(slices))]
    replay = Replay(
        rho=overall.rho,
        slices={name: ratio.rho for name, ratio in sorted(slices.items()) if ratio.rho != overall.rho},
        reasons=tuple(_said(ratio) for ratio in ratios if ratio.changes) or (f"rho {_short(start)}: where it starts",),
    )
    changes = [change for ratio in ratios for change in ratio.changes]
    order = {run.run: at for at, run in enumerate(history)}
    return Control(replay=replay, changes=tuple(sorted(changes, key=lambda c: (order[c.run], c.slice or ""))))


class _Ratio:
    """One ratio on its way through the history."""

    def __init__(self, name: str | None, rho: float) -> None:
        self.name, self.rho, self.passes, self.changes = name, rho, list[str](), list[Change]()

    def judge(self, run: Judged, practised: float, change: float, failed: bool) -> None:
        if failed:
            self.passes = []
            if practised >= self.rho - _NEAR:
                where = "there" if self.name else "on old questions"
                self._move(UP, run, f"refused {where} in run {run.run} ({change:+.3f})")
        elif run.accepted and change >= -CLEAN and practised <= self.rho + _NEAR:
            self.passes.append(run.run)
            if len(self.passes) == CLEAN_PASSES:
                self._move(DOWN, run, f"{CLEAN_PASSES} clean passes in a row, runs {' and '.join(self.passes)}")
                self.passes = []
        elif run.accepted:
            self.passes = []

    def _move(self, factor: float, run: Judged, reason: str) -> None:
        after = round(min(MOST, max(LEAST, self.rho * factor)), 4)
        if after != self.rho:
            self.changes.append(Change(slice=self.name, before=self.rho, after=after, run=run.run, reason=reason))
            self.rho = after


def _said(ratio: _Ratio) -> str:
    where = f" for {ratio.name!r}" if ratio.name else ""
    return f"rho {_short(ratio.rho)}{where}: {ratio.changes[-1].reason}"


def _short(rho: float) -> str:
    return f"{rho:.2f}".removeprefix("0")
