"""The seam between a retrain and a kind of adapter: what the story needs of a kind, and what a person may ask of a run.

    materialise ──▶ train (a child process) ──▶ evaluate ──▶ what the gate judges

`retrain` tells the story and knows no model; a `Kind` knows its model and no story.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from finetune.gate import HeldOut, Leg, ModelScores, Standing, Wrong
from finetune.tables import Run
from kernel.errors import UserError
from kernel.types import Progress
from rehearsal.mix import Mix, Rise
from rehearsal.suited import Suited

CHAMPION, BASE = "champion", "base"
"""Where training may start; any other name is an adapter's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a run. It is stored with the run, so that the run can be told apart and made again.

    Raises:
        UserError: a control that there is none of.
    """

    policy: str
    rho: float
    seed: int = 0
    control: Literal["shuffled"] | None = None
    """A run that the gate must refuse: `shuffled` deals the relevant chunks out anew."""
    method: str | None = None
    """How it is trained, where a kind knows several; None is the kind's default."""
    start: str = CHAMPION
    """`champion` (a warm start), `base` (from nothing), or the name of an adapter of the same kind."""
    without: tuple[str, ...] = ()
    """Ids of documents whose examples stay out of the mix."""
    merged: tuple[str, ...] = ()
    """Adapters that are merged instead of training one; `method` and `recipe` say how (`finetune.merge`)."""
    sibling: str | None = None
    """The other run of the same cycle, where there is one (`finetune.challengers`)."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the kind's recipe that differ from its defaults."""
    slices: Mapping[str, float] = field(default_factory=dict)
    """Replay ratio of slices for which it is not `rho`."""
    because: tuple[str, ...] = ()
    """Why rho is what it is, where the controller chose it."""
    measure: bool = True
    """Whether a virtual step may be taken for a policy that chooses better with one."""
    hold: bool = False
    """Whether the mix waits for a person to approve it before anything is trained."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "without", tuple(self.without))
        object.__setattr__(self, "merged", tuple(self.merged))
        object.__setattr__(self, "because", tuple(self.because))
        if self.control not in (None, "shuffled"):
            raise UserError(f"no control {self.control!r}", hint="the one there is: shuffled")

    def origin(self, champion: str | None) -> str | None:
        """The adapter that training goes on from, given the one it is compared with; None for the base model.

        Of a merge the first that is merged; the others are its parents as well (`registry.parents`).
        """
        if self.merged:
            return self.merged[0]
        return {CHAMPION: champion, BASE: None}.get(self.start, self.start)

    def to_json(self) -> dict[str, Any]:
        """JSON values only; `from_json` takes it back."""
        lists = {name: list(getattr(self, name)) for name in ("without", "merged", "because")}
        return {**dataclasses.asdict(self), **lists}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Options:
        """The options that `to_json` gave, of this release or an earlier one."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the gate judges, and what the run's record keeps beside it."""

    held_out: Sequence[HeldOut]
    scores: ModelScores
    """Model (`base`, `champion`, `challenger`) to example to figure; without a parent there is no `champion`."""
    metric: str
    served: ModelScores | None = None
    """The same for the answers as they are served."""
    works: ModelScores | None = None
    """1 where a pinned question works, 0 where it fails, where `scores` cannot tell: a likelihood is never 0."""
    legs: Mapping[str, Leg] = field(default_factory=dict)
    """What else must not get worse, by name: refusals, citations, faithfulness, with RAG on or off."""
    wrong: Wrong | None = None
    """Which wrong documents each model ranks among the first ten, where that was looked at."""
    pulled: Mapping[str, str | None] | None = None
    """Which wrong document the row of the run most like a question names (`pull`), where that was looked at."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Of the documents in `wrong` and `pulled`, by id: reasons quote them, and a delete must find them there."""
    repeats: Sequence[ModelScores] = ()
    """`scores` again by other seeds of the evaluation, where it draws random numbers: their spread is noise."""
    standing: Standing | None = None
    """Where the run stands. With a stale base `scores` may be empty: figures of it would mean nothing."""
    metrics: Mapping[str, Any] = field(default_factory=dict)


class Kind(Protocol):
    """One kind of adapter: how its data, its training and its evaluation are made. It starts no run and judges none."""

    name: str
    """retriever | generator | reranker"""

    def check(self, options: Options) -> None:
        """Nothing, if a run with these options could be trained here.

        Raises:
            UserError: it could not; the message says why.
        """

    def suited(self, method: str | None, policy: str | None = None) -> Suited | None:
        """What an example has to hold to be drawn for a run of this method, by this policy; None where any will do.

        Raises:
            UserError: no such method.
        """

    def suffices(self, options: Options, workspace: str | None, examples: Sequence[str]) -> None:
        """Nothing, if a mix of these examples holds as much as the method asks for.

        Raises:
            UserError: it does not; the message says how much there is.
        """

    def parent(self) -> str | None:
        """The champion, if it fits what serves: what a retrain goes on from by default."""

    def materialise(self, run: Run, mix: Mix, folder: Path) -> None:
        """Write everything training needs into `folder`, `config.json` last: its existence means complete."""

    def train(self, folder: Path, progress: Progress) -> None:
        """Train in a child process, or go on where one died; `adapter/manifest.json` is written last.

        Before it stands `losses.jsonl`, with the last loss of each example that was trained on (`practised`).

        Raises:
            TrainingFailed: it ended badly; the folder can be trained again.
        """

    def evaluate(self, run: Run, mix: Mix, folder: Path, progress: Progress) -> Evaluation:
        """Figures of base, champion and challenger on held-out examples. Serving is not touched."""

    def finish(self, run: Run) -> None:
        """Let go of what evaluation loaded and nothing serves."""

    def tokens(self, questions: Sequence[str], options: Options) -> int:
        """Tokens that training would read, for the preview's cost."""


@runtime_checkable
class Measures(Protocol):
    """A kind that can tell beforehand what learning something new would do to what is old."""

    def rises(self, run: Run, mix: Mix, folder: Path) -> Mapping[str, Rise]:
        """The loss of the mix's recalled rows before and after a virtual step on its new ones, by example.

        Nothing is kept but these figures; `folder` is thrown away. Empty where it cannot be told.
        """
