"""What else than a time starts a retrain: enough new examples, drift, an order of the gate. Pure; it reads nothing.

    examples>=50     so many approved training examples that no run on top of the champion has practised
    drift>=0.05      in the last days surely more questions were refused or voted down than in the days before, or
                     answers were surely less supported, by this much at least
    gate             the last run was refused: go on with more rehearsal, and after some refusals from the base

Drift is looked for again and again on windows that overlap, so a bound that is passed by chance once in twenty looks
would start a retrain every few weeks. The bounds here are one-sided at 99 %, the change has to be worth something, and
a schedule's cooldown holds besides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from kernel.errors import UserError

Z = 2.326
"""Of the one-sided bound at 99 %."""
RAISE, MOST_RHO = 1.5, 0.5
"""How an order raises the replay ratio, and how far."""
MOST_COOLDOWN = 365 * 86_400
"""Seconds: longer is no pause but an end."""
_CONDITION = re.compile(r"(examples|drift|gate)\s*(?:>=\s*([0-9.]+))?")
_FORMS = '"examples>=50", "drift>=0.05" or "gate"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """Conditions, any of which starts a retrain. None switches one off."""

    examples: int | None = None
    drift: float | None = None
    """Least rise of the share of unhappy turns, or fall of the mean support, both from 0 to 1."""
    gate: int | None = None
    """Refusals in a row after which the next challenger starts from the base model."""
    days: float = 7.0
    """Length of a window of drift."""
    turns: int = 30
    """Least turns in each window, below which nothing is said."""

    def __bool__(self) -> bool:
        return (self.examples, self.drift, self.gate) != (None, None, None)

    @property
    def conditions(self) -> list[str]:
        """As `parse` takes them."""
        named = (("examples", self.examples), ("drift", self.drift), ("gate", self.gate))
        return [f"{name}>={least:g}" for name, least in named if least is not None]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) if self else {}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Triggers:
        known = {f.name for f in fields(cls)}
        return cls(**{name: of for name, of in value.items() if name in known})


def parse(conditions: Sequence[str], *, days: float | None = None, turns: int | None = None) -> Triggers:
    """Conditions as people write them.

    Raises:
        UserError: one is none, makes no sense, or is given twice.
    """
    found: dict[str, Any] = {}
    for text in conditions:
        match = _CONDITION.fullmatch(text.strip())
        if match is None or match[1] in found:
            raise UserError(f"{text!r} is no condition", hint=f"give each of {_FORMS} once", code="bad_trigger")
        found[match[1]] = _least(match[1], match[2], text)
    if days is not None:
        found["days"] = days
    if turns is not None:
        found["turns"] = turns
    triggers = Triggers(**found)
    if not 0.04 <= triggers.days <= 365 or not 5 <= triggers.turns <= 100_000:
        raise UserError(
            f"a window of {triggers.days:g} days with at least {triggers.turns} turns",
            hint="give an hour to a year, and at least 5 turns: fewer tell nothing",
            code="bad_trigger",
        )
    return triggers


def cooldown_ms(seconds: float) -> int:
    """A cooldown as people give it, in ms.

    Raises:
        UserError: it is none.
    """
    if not 0 <= seconds <= MOST_COOLDOWN:  # false for what is no number as well
        raise UserError(f"a cooldown of {seconds:g} seconds", hint="give 0 to a year (365 days)", code="bad_schedule")
    return round(seconds * 1000)


def _least(name: str, number: str | None, text: str) -> float:
    default = {"examples": None, "drift": 0.05, "gate": 2}[name]
    try:
        least = float(number) if number is not None else default
    except ValueError:
        least = None
    low, high = {"examples": (1, 1e9), "drift": (0.001, 1), "gate": (1, 100)}[name]
    if least is None or not low <= least <= high or (name != "drift" and least != int(least)):
        raise UserError(f"{text!r} is no condition", hint=f"write {_FORMS}", code="bad_trigger")
    return least if name == "drift" else int(least)


# --- drift ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The turns of some days."""

    turns: int = 0
    refused: int = 0
    voted_down: int = 0
    """Of those that were not refused."""
    answered: int = 0
    """Turns whose support is known and that were not refused."""
    support: float = 0.0
    """Mean of theirs, 0 to 1."""
    variance: float = 0.0
    """Of theirs, with n - 1."""

    @property
    def unhappy(self) -> int:
        """A turn that was refused and voted down counts once."""
        return self.refused + self.voted_down


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How two windows differ. A `low` is what the change surely is at least."""

    rise: float
    """Of the share of unhappy turns."""
    rise_low: float
    fall: float | None
    """Of the mean support; None where one window has too few answers."""
    fall_low: float | None

    def surely(self, least: float) -> str | None:
        """What has become worse by `least` or more and not by chance, in words; None for nothing."""
        if self.rise >= least and self.rise_low > 0:
            return f"the share of questions refused or voted down rose by {self.rise:.2f}"
        if self.fall is not None and self.fall_low is not None and self.fall >= least and self.fall_low > 0:
            return f"the mean support of answers fell by {self.fall:.2f}"
        return None


def drift(before: Window, recent: Window, turns: int) -> Drift | None:
    """The change from one window to the next; None where one has fewer than `turns` turns.

    Papers: Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine
    17(8), 1998 (method 10, from Wilson's intervals); for the means, Welch, Biometrika 34, 1947, with the normal bound.
    """
    if min(before.turns, recent.turns) < turns:
        return None
    then, now = before.unhappy / before.turns, recent.unhappy / recent.turns
    _, then_high = _wilson(before.unhappy, before.turns)
    now_low, _ = _wilson(recent.unhappy, recent.turns)
    rise_low = now - then - math.hypot(now - now_low, then_high - then)
    fall = fall_low = None
    if min(before.answered, recent.answered) >= turns:
        fall = before.support - recent.support
        fall_low = fall - Z * math.sqrt(before.variance / before.answered + recent.variance / recent.answered)
    return Drift(rise=now - then, rise_low=rise_low, fall=fall, fall_low=fall_low)


def _wilson(hits: int, n: int) -> tuple[float, float]:
    share, z2 = hits / n, Z * Z
    centre, half = share + z2 / (2 * n), Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)


# --- the gate's order -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that has its verdict."""

    run: str
    accepted: bool
    refused_on_old: bool = False
    rho: float
    start: str = "champion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the gate's last verdict asks for."""

    after: str
    """The run it answers."""
    options: dict[str, Any]
    why: str


def order(ended: Sequence[Ended], refusals: int, answered: Collection[str] = ()) -> Order | None:
    """What to do about the newest of `ended` (newest first), if it was refused and is not `answered` yet.

    Refused on old slices: the same again with more rehearsal. Refused `refusals` times in a row, or with no more room
    for rehearsal: a challenger from the base model, as intruder dimensions gather in adapters that are trained on and
    on. When that is refused as well no order helps: the next examples may, or a person.
    """
    if not ended or ended[0].accepted or ended[0].run in answered or ended[0].start == "base":
        return None
    newest = ended[0]
    row = next((n for n, one in enumerate(ended) if one.accepted), len(ended))
    full = newest.rho >= MOST_RHO
    if row >= refusals or (newest.refused_on_old and full):
        why = f"{row} runs in a row were refused" if row >= refusals else "rehearsal has no more room"
        return Order(after=newest.run, options={"start": "base", "rho": newest.rho}, why=f"{why}: from the base model")
    if newest.refused_on_old:
        rho = min(MOST_RHO, round(max(newest.rho, 0.05) * RAISE, 4))
        why = f"{newest.run} was refused on old slices: rho {newest.rho:g} to {rho:g}"
        return Order(after=newest.run, options={"rho": rho}, why=why)
    return None


def refused_on_old(verdict: Mapping[str, Any] | None) -> bool:
    """Whether a verdict refuses for what was lost on old slices."""
    verdict = verdict or {}
    if "refused_by" in verdict:
        return "old" in verdict["refused_by"]
    reasons = verdict.get("reasons", ())
    return any(reason.startswith(("refused: old slice", "refused: all old")) for reason in reasons)
