"""What the gate is given and what it says: questions, figures, where a run stands; findings, and the verdict.

Data alone. `gate` judges, `case` and `standing` hold the rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Part = Literal["new", "old", "pinned", "suite", "leg", "all", "origin"]
"""What a row of a verdict is about. One of an origin tells, and nothing is refused by it."""
ModelScores = Mapping[str, Mapping[str, float]]
"""Model (`base`, `champion`, `challenger`) to example id to figure; higher is better. Without `champion` the base
stands in for it."""
Wrong = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Model to example id to the documents among the first ten in which nothing relevant stands, each with its place from
1. Where there is none, the example may be left out."""

QUOTING = LED, PULLED = "newly led to", "whose most similar rows name"
"""What stands in a reason before the name of a document, in quotation marks: a delete finds it there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A question that no model was trained on. What is `new` is what the challenger was trained for."""

    example: str
    slice: str
    part: Literal["new", "old"]
    renewed: bool = False
    """It is old, and something new was practised of its slice: it must not get worse, and may show a gain as well."""
    pinned: bool = False
    suite: str | None = None
    """The pinned suite it stands in. Such a question is judged with its suite alone."""
    seen: bool | None = None
    """Whether a chunk that grounds it was trained on with another question; None where nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One more thing that must not get worse, with the questions it can be measured on: refusals, citations, …

    Figures are 0 to 1 per example, higher is better. Every example that one of the models has must have a finite figure
    from all that are compared. Say in the name what was measured, with RAG on or off: `refusals`, `faithfulness (RAG
    off)`.
    """

    scores: ModelScores
    tolerance: float | None = None
    """What it may lose, where the policy says nothing of it; None is the policy's default."""
    covered_by: str | None = None
    """The leg that makes a loss here harmless when it holds itself: what is lost without the index, and still answered
    with it, is covered by the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands in the world at the moment it is judged. What is None was not looked at."""

    base: str | None = None
    """Fingerprint of the base model that the adapter was trained on."""
    serves: str | None = None
    """Fingerprint of the base model that serves."""
    parent: str | None = None
    """The champion when the mix was drawn; None for the base model."""
    champion: str | None = None
    """The champion now."""
    epoch: int = 0
    """Epoch of the mix."""
    rows: int = 0
    superseded: int = 0
    """Rows of the mix whose source has another version since."""
    deleted: int = 0
    """Rows whose source or example was deleted or withdrawn since."""
    first_loss: float | None = None
    """Mean training loss over the first tenth of the steps."""
    last_loss: float | None = None
    """Over the last tenth."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Slices that the champion was judged on, with so many questions that still stand, and of which none is asked. A
    slice that ended with its sources is not missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule made of a run."""

    rule: str
    refused: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """Means over the questions of a slice; `low` and `high` bound challenger minus champion."""

    slice: str
    """Or what else the row is of: a leg, a suite, an origin, or a name in brackets."""
    n: int
    metric: str
    base: float | None
    """None where a leg was not measured for it."""
    champion: float | None
    """None when there is no champion: then the bounds are of challenger minus base."""
    challenger: float
    low: float
    high: float
    part: Part
    allowed: float | None = None
    """The loss that would have been let pass: the larger of tolerance and measured noise. None for a gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the challenger may serve, why, and the figures per slice."""

    accepted: bool
    reasons: list[str]
    slices: list[SliceResult]
    refused_by: list[str] = field(default_factory=list)
    """Names of the rules that refused it."""
    approval: bool = False
    """It is accepted, and the policy wants a person to approve it before it serves."""
    policy: dict[str, Any] = field(default_factory=dict)
    """What it was judged by."""

    def noting(self, notes: list[str]) -> Verdict:
        """The same verdict with remarks behind its reasons that change nothing."""
        return dataclasses.replace(self, reasons=[*self.reasons, *(f"note: {said}" for said in notes)])

    def to_json(self) -> dict[str, Any]:
        """JSON values only; `from_json` takes it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_json` gave, of this release or an earlier one."""
        known = {f.name for f in dataclasses.fields(cls)} - {"slices"}
        slices = [SliceResult(**row) for row in data["slices"]]
        return cls(slices=slices, **{name: value for name, value in data.items() if name in known})


def rival_of(row: Mapping[str, Any]) -> Any:
    """What the challenger's figure in a stored row is compared with: the champion's, or the base's without one."""
    return row["base"] if row["champion"] is None else row["champion"]
