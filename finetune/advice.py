"""Where what is new belongs: in the index, in an adapter, or in neither. Pure: facts in, a verdict with its reason out.

    facts belong to the index        a passage grounds answers in seconds, and its next version takes its place
    behaviour belongs to adapters    how questions are understood and answers written: what stays while facts change

    first that applies                                                      verdict
    questions that no passage answers                                       index: ingest what says it
    a document that changes often                                           index alone: an adapter would learn the past
    nobody asks, and there are no examples                                  neither
    what answers is there and is not found                                  retriever adapter
    what answers is found, and answers are voted down or corrected          generator adapter
    too little is known                                                     neither
    all is well                                                             neither

Retrieval beats fine-tuning for new facts by far (.875 against .504 on current events: Ovadia et al., Fine-tuning or
retrieval?, EMNLP 2024), while fine-tuning teaches how to read what was retrieved (Zhang et al., RAFT, 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Where = Literal["index", "retriever adapter", "generator adapter", "neither"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the platform knows of one document, slice or workspace."""

    subject: Literal["document", "slice", "workspace"]
    name: str
    document: str | None = None
    workspace: str
    chunks: int = 0
    # change
    days: float = 0.0
    """For how long it has been watched: since its first version."""
    changes: float = 0.0
    """New versions in that time; of a slice the mean of its documents."""
    turnover: float = 0.0
    """Share of its chunks that were replaced per month."""
    superseded: int = 0
    """Examples whose fact was superseded in the last 90 days."""
    # demand
    asked: int = 0
    """Turns of the last 90 days that cite it."""
    turns: int = 0
    """All turns of its workspace in that time."""
    # retrieval
    judged: int = 0
    """Questions whose right passage is known, and which the champion has not practised."""
    judged_by: Literal["examples", "pseudo-questions", "nothing"] = "nothing"
    found: float | None = None
    """Share of them with a right passage among the first ten, as served."""
    ndcg_base: float | None = None
    ndcg_champion: float | None = None
    # behaviour
    rated: int = 0
    """Turns with a vote or a correction in which the right passage was shown."""
    unhappy: int = 0
    """Of those: voted down or corrected."""
    overlooked: int = 0
    """Corrections that stand on a passage which the answer did not show."""
    # what is not there
    unanswered: int = 0
    """Turns that were refused, and corrections that no passage supports."""
    # material
    train: int = 0
    held_out: int = 0
    # cost, in seconds
    index_seconds: float = 0.0
    retriever_seconds: float = 0.0
    generator_seconds: float | None = None
    """Null where no generator is trained here."""

    @property
    def changes_per_month(self) -> float:
        """Over a month at least: what came yesterday in three versions is not known to change daily."""
        return self.changes / max(self.days, 30.0) * 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where one verdict ends and the next begins."""

    changes_per_month: float = 2.0
    turnover: float = 0.25
    superseded: int = 5
    asked: int = 5
    judged: int = 5
    found: float = 0.8
    rated: int = 5
    unhappy: float = 0.3
    unanswered: int = 3
    train: int = 30
    """Examples from which a retrain is worth its while."""
    held_out: int = 10
    """The gate's least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Where it belongs, why in one sentence, and what to do next."""

    verdict: Where
    reason: str
    ready: bool = True
    """False where an adapter is the answer and there is not enough to train or to judge it."""
    missing: dict[str, int] = field(default_factory=dict)
    """How many more examples it takes, by split."""
    seconds: float | None = None
    """What following the advice takes."""


def decide(facts: Facts, limits: Limits | None = None) -> Advice:
    """The verdict on one document, slice or workspace."""
    limits = limits or Limits()
    if facts.unanswered >= limits.unanswered:
        said = f"{facts.unanswered} questions found nothing that answers them: ingest a document that says it"
        return Advice(verdict="index", reason=f"{said}, and it counts at once", seconds=facts.index_seconds)
    volatile = _volatile(facts, limits)
    if volatile is not None:
        said = f"{volatile}: an adapter would learn what soon no longer holds, and a new version counts in"
        return Advice(verdict="index", reason=f"{said} {_seconds(facts.index_seconds)}", seconds=facts.index_seconds)
    if facts.asked < limits.asked and facts.train + facts.held_out == 0:
        return Advice(verdict="neither", reason=f"it is in the index, and {_times(facts.asked)} asked about it")
    if _not_found(facts, limits):
        return _adapter("retriever adapter", _lost(facts), facts, facts.retriever_seconds, limits)
    if facts.rated >= limits.rated and facts.unhappy / facts.rated >= limits.unhappy:
        said = f"the right passage was shown, and {facts.unhappy} of {facts.rated} answers were voted down or corrected"
        return _adapter("generator adapter", said, facts, facts.generator_seconds, limits)
    if facts.judged < limits.judged and facts.rated < limits.rated:
        said = f"too little is known: {facts.judged} questions with a known passage and {facts.rated} votes"
        return Advice(verdict="neither", reason=said)
    return Advice(verdict="neither", reason=f"nothing is to be learnt: {_well(facts, limits)}")


def _volatile(facts: Facts, limits: Limits) -> str | None:
    if facts.changes_per_month >= limits.changes_per_month:
        return f"it changes {facts.changes_per_month:.1f} times a month"
    if facts.turnover >= limits.turnover:
        return f"{facts.turnover:.0%} of its passages are replaced every month"
    if facts.superseded >= limits.superseded:
        return f"{facts.superseded} of its facts were superseded in the last 90 days"
    return None


def _not_found(facts: Facts, limits: Limits) -> bool:
    """A correction that stands on a passage which was not shown counts as a question whose passage was not found."""
    judged = facts.judged + facts.overlooked
    if judged < limits.judged:
        return False
    return (facts.found or 0.0) * facts.judged / judged < limits.found


def _lost(facts: Facts) -> str:
    said = f"what answers is there, and only {facts.found or 0:.0%} of {facts.judged} {_kind(facts)} find it"
    return said + (f"; {facts.overlooked} corrections stand on passages not shown" if facts.overlooked else "")


def _well(facts: Facts, limits: Limits) -> str:
    said = []
    if facts.judged >= limits.judged:
        said.append(f"{facts.found or 0:.0%} of {facts.judged} {_kind(facts)} find the right passage")
    if facts.rated >= limits.rated:
        said.append(f"{facts.rated - facts.unhappy} of {facts.rated} answers with a vote were liked")
    return " and ".join(said)


def _kind(facts: Facts) -> str:
    return "questions" if facts.judged_by == "examples" else "questions made from its headings"


def _adapter(where: Where, why: str, facts: Facts, seconds: float | None, limits: Limits) -> Advice:
    short = {"train": limits.train - facts.train, "held-out": limits.held_out - facts.held_out}
    missing = {split: n for split, n in short.items() if n > 0}
    if seconds is None:
        why = f"{why}; the generator that serves here cannot be trained"
        return Advice(verdict=where, reason=why, ready=False, missing=missing)
    if missing:
        more = " and ".join(f"{n} {'to train on' if s == 'train' else 'held out'}" for s, n in missing.items())
        return Advice(verdict=where, reason=f"{why}; {more} are missing", ready=False, missing=missing, seconds=seconds)
    return Advice(verdict=where, reason=f"{why}; a retrain takes about {_seconds(seconds)}", seconds=seconds)


def _times(asked: int) -> str:
    return "nobody" if asked == 0 else f"hardly anybody ({asked})"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min"
