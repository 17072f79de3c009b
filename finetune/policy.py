"""How strict the gate is, as data: one frozen policy, checked as a whole, that a verdict is stored with.

Figures are in units of the metric they limit, so .015 is one and a half points of nDCG. Where policies are kept is the
business of `finetune.policies`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernel.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The thresholds of the gate. A loss is measured against the larger of a tolerance and the measured noise.

    Raises:
        UserError: values that make no sense; all of them are named at once.
    """

    tolerance: float = 0.015
    """Loss on old slices, and as served, that is nobody's business."""
    min_gain: float = 0.0
    """What the lower bound of the gain has to be above."""
    gain: bool = True
    """Whether a gain is asked for at all. One that leaves documents out need only lose nothing."""
    min_n: int = 10
    """Held-out questions in total, below which nothing can be told."""
    min_new: int = 6
    """Questions on which a gain is judged. With 5 no exact test reaches 95 %: all five better has a chance of 1/32."""
    sure_new: int = 20
    """Below so many an exact test must agree with the bootstrap, whose intervals are too narrow for a few."""
    min_slice: int = 5
    """Slices with fewer questions are judged together, the old ones and the new ones."""
    resamples: int = 10_000
    confidence: float = 0.95
    """Of the bounds; half of what is left of 1 is the chance that a harmless run is refused for all its old slices."""
    leg_tolerance: float = 0.02
    """Loss on a leg (refusals, citations, faithfulness, …) that has no tolerance of its own."""
    legs: Mapping[str, float] = field(default_factory=dict)
    """Legs that must have been measured, each with its tolerance."""
    led: int = 3
    """Questions that were answered from the right document and may now be led to one and the same wrong one."""
    pulled: float = 0.05
    """Loss on questions for which the training rows most like them name one wrong document. Above `tolerance`: rows
    may well be alike and have other answers, and what is learnt of one costs the other a little."""
    stale: float = 0.05
    """Share of the mix whose source may have been superseded since it was drawn. Of what was deleted none may stay."""
    rise: float = 1.25
    """How many times its first value the training loss may end at."""
    approval: bool = False
    """An accepted adapter waits until a person approves it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "legs", dict(self.legs))
        _report([f"{name} = {getattr(self, name)!r}: {wanted}" for name, ok, wanted in _RULES if not ok(self)])

    def to_json(self) -> dict[str, Any]:
        """JSON values only; `from_json` takes it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GatePolicy:
        """A policy of `data`; what is not named keeps its default.

        Raises:
            UserError: unknown names, wrong types or values that make no sense; all of them are named at once.
        """
        defaults = cls()
        names = {f.name for f in dataclasses.fields(cls)}
        problems = [f"{name}: no such threshold" for name in data if name not in names]
        good = {}
        for name, value in data.items():
            if name in names:
                wanted = _wrong_type(getattr(defaults, name), value)
                if wanted:
                    problems.append(f"{name} = {value!r}: expected {wanted}")
                else:
                    good[name] = value
        try:
            policy = cls(**good)
        except UserError as error:
            problems += error.message.split("\n  ")[1:]
        _report(problems)
        return policy

    def tolerance_of(self, leg: str, own: float | None) -> float:
        """What a leg may lose: what the policy says of it, else what came with its figures, else the default."""
        return self.legs.get(leg, self.leg_tolerance if own is None else own)


_Rule = tuple[str, Callable[[GatePolicy], bool], str]


def _between(name: str, low: float, high: float, wanted: str) -> _Rule:
    return name, lambda p: low <= getattr(p, name) <= high and math.isfinite(getattr(p, name)), wanted


_RULES: tuple[_Rule, ...] = (
    _between("tolerance", 0, 1, "expected 0 to 1"),
    _between("min_gain", -1, 1, "expected -1 to 1"),
    _between("min_n", 1, 1_000_000, "expected 1 or more"),
    _between("min_new", 1, 1_000_000, "expected 1 or more"),
    _between("sure_new", 0, 1_000_000, "expected 0 or more"),
    _between("min_slice", 1, 1_000_000, "expected 1 or more"),
    _between("resamples", 1000, 1_000_000, "expected 1000 to 1000000; fewer are a noise of their own"),
    _between("confidence", 0.5, 0.9999, "expected 0.5 to 0.9999"),
    _between("leg_tolerance", 0, 1, "expected 0 to 1"),
    ("legs", lambda p: all(0 <= t <= 1 for t in p.legs.values()), "expected tolerances of 0 to 1"),
    _between("led", 0, 1_000_000, "expected 0 or more"),
    _between("pulled", 0, 1, "expected 0 to 1"),
    _between("stale", 0, 1, "expected a share of the mix, 0 to 1"),
    _between("rise", 1, 1000, "expected 1 or more"),
)


def _wrong_type(default: Any, value: Any) -> str | None:
    """What was expected, where `value` is not of the kind of `default`."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, Mapping):
        fits = isinstance(value, Mapping) and all(isinstance(k, str) and _is_number(v) for k, v in value.items())
        return None if fits else "an object of names and tolerances"
    if isinstance(default, int):
        return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    return None if _is_number(value) else "a number"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _report(problems: list[str]) -> None:
    if problems:
        raise UserError(
            "\n  ".join([f"the gate's policy has {len(problems)} problem(s):", *problems]),
            hint="correct them; a threshold that is left out takes its default, and nothing was changed",
            code="bad_policy",
        )
