"""The record of trials: what a rollout has seen so far, by arm, and how one is ended.

Feedback belongs to the arm that answered the turn. The first word on a turn counts: up is good, down is bad, and so is
a correction, whatever vote it came with, as it says that something else should have been answered. An abstention is no
bad vote: refusing is right where the documents do not answer, and counting it against a canary would reward one that
answers anything. It has a test of its own.

A person counts so many times in each arm. Whoever is drawn into a growing share was in the champion's arm before, and
would not be heard of the canary if what was said there were counted along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from statistics import fmean, median
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from finetune.sequential import Arm, Observed, TestPlan
from finetune.tables import Adapter, Rollout
from kernel.database import alone
from kernel.errors import Refused
from kernel.ids import now_ms
from kernel.tables import AuditEntry
from rehearsal.split import question_key
from retrieval.tables import Difference, Exposure, Feedback, Pointer, Turn

_MOVES = "adapters"
"""One move of adapters at a time."""


def one_move(session: Session) -> None:
    """Let the caller's write transaction be the only one that moves adapters, until its end."""
    alone(session, _MOVES)


def running(session: Session, kind: str) -> Rollout | None:
    """The trial of a kind that has not ended."""
    return session.scalars(select(Rollout).where(Rollout.kind == kind, Rollout.ended.is_(None))).first()


def close(session: Session, kind: str, *, outcome: str, reason: str, leave: str) -> Rollout | None:
    """End the trial of a kind, if there is one, in the caller's transaction; its adapter is left in the state `leave`.

    From the next question on the champion answers everybody again.
    """
    trial = running(session, kind)
    if trial is None:
        return None
    trial.outcome, trial.reason, trial.ended = outcome, reason, now_ms()
    pointer = session.get_one(Pointer, kind)
    leave = "previous" if pointer.previous == trial.adapter else leave  # it can still be rolled back to
    pointer.challenger = pointer.challenger_path = pointer.stage = pointer.rollout = None
    pointer.share, pointer.changed = 0.0, now_ms()
    session.execute(update(Adapter).where(Adapter.name == trial.adapter).values(state=leave, share=0.0))
    session.execute(update(Adapter).where(Adapter.kind == kind, Adapter.state == "champion").values(share=1.0))
    return trial


def harmed(session: Session, adapters: Collection[Adapter]) -> dict[str, str]:
    """By name, why a trial took an adapter back for harm, where it was neither promoted nor judged again since.

    The audit log has all three in order, each from the transaction that it tells of.
    """
    by_run = {adapter.run: adapter.name for adapter in adapters}
    named = and_(AuditEntry.action.in_(("rollout.harm", "promote")), AuditEntry.subject.in_(by_run.values()))
    judged = and_(AuditEntry.action == "gate", AuditEntry.subject.in_(by_run))
    told = select(AuditEntry.action, AuditEntry.subject, AuditEntry.detail).where(or_(named, judged))
    found: dict[str, str] = {}
    for action, subject, detail in session.execute(told.order_by(AuditEntry.seq)):
        if action == "rollout.harm":
            found[subject] = detail["reason"]
        else:
            found.pop(by_run.get(subject, subject), None)
    return found


def require_unharmed(session: Session, adapter: Adapter, how: str = "promote") -> None:
    """Nothing, if no trial took an adapter back for harm, or it was promoted or judged again since.

    Raises:
        Refused: one did; `how` names in the hint what an override would do.
    """
    reason = harmed(session, [adapter]).get(adapter.name)
    if reason is not None:
        raise Refused(
            f"a trial took {adapter.name!r} back: {reason}",
            hint=f"`reprise rejudge {adapter.run}` asks what is held out by now; or {how} with "
            '--override "REASON", which is kept in the audit log',
            code="did_harm",
        )


def observed(session: Session, trial: Rollout) -> Observed:
    """What a canary and its champion have shown so far: votes and answers, so many of each person in each arm."""
    most = TestPlan.from_json(trial.plan).per_unit
    exposures = list(
        session.execute(
            select(Exposure.turn, Exposure.arm, Exposure.unit, Exposure.abstained)
            .where(Exposure.rollout == trial.id)
            .order_by(Exposure.created, Exposure.turn)
        )
    )
    answers, votes = {"canary": Counter[bool](), "champion": Counter[bool]()}, _votes(session, trial)
    seen = Counter[tuple[str, str]]()
    for _, arm, unit, abstained in exposures:
        seen[arm, unit] += 1
        if seen[arm, unit] <= most:
            answers[arm][not abstained] += 1
    counted, now = {"canary": Counter[bool](), "champion": Counter[bool]()}, 0
    voted = Counter[tuple[str, str]]()
    for arm, unit, good, created in votes:
        voted[arm, unit] += 1
        if voted[arm, unit] <= most:
            counted[arm][good] += 1
            now += arm == "canary" and created >= trial.stepped
    return Observed(
        canary=_arm(counted["canary"]),
        champion=_arm(counted["champion"]),
        canary_answers=_arm(answers["canary"]),
        champion_answers=_arm(answers["champion"]),
        canary_votes_now=now,
    )


def latencies(session: Session, trial: Rollout) -> dict[str, float | None]:
    """Median of the time to the whole answer in each arm, in ms."""
    by_arm: dict[str, list[float]] = {"canary": [], "champion": []}
    for arm, ms in session.execute(select(Exposure.arm, Exposure.ms).where(Exposure.rollout == trial.id)):
        by_arm[arm].append(ms)
    return {arm: round(median(ms), 1) if ms else None for arm, ms in by_arm.items()}


def shadowed(session: Session, trial: Rollout) -> dict[str, Any]:
    """What the shadow has shown so far, by the questions on which it did not fail: one that is asked again is answered
    again likewise, and says nothing new."""
    meant = func.coalesce(Turn.standalone, Turn.question)
    ours = select(Difference, Turn.workspace, meant).join(Turn, Turn.id == Difference.turn)
    ours = ours.where(Difference.rollout == trial.id)
    found = session.execute(ours.order_by(Difference.created, Difference.turn)).all()
    rows = [row for row, _, _ in found]
    first: dict[tuple[str, str], Difference] = {}
    for row, workspace, question in found:
        if row.error is None:
            first.setdefault((workspace, question_key(question)), row)
    whole = list(first.values())
    return {
        "compared": len(whole),
        "failed": dict(Counter(row.error for row in rows if row.error is not None)),
        "dropped": sum(row.dropped for row in rows),
        "overlap@10": _mean([row.overlap for row in whole]),
        "rbo": _mean([row.rbo for row in whole]),
        "first_citation_changed": sum(row.first_changed for row in whole),
        "answers_lost": sum(row.shadow_abstained > row.abstained for row in whole),
        "answers_gained": sum(row.shadow_abstained < row.abstained for row in whole),
        "ms": round(median(row.ms for row in whole), 1) if whole else None,
        "shadow_ms": round(median(row.shadow_ms or 0.0 for row in whole), 1) if whole else None,
    }


def size(session: Session, trial: Rollout) -> tuple[int, int, int]:
    """How much there is to look at: where it has not changed, nothing new can follow."""
    turns = select(Exposure.turn).where(Exposure.rollout == trial.id)
    return (
        session.scalar(select(func.count()).select_from(turns.subquery())) or 0,
        session.scalar(select(func.count()).select_from(Feedback).where(Feedback.turn.in_(turns))) or 0,
        session.scalar(select(func.count()).select_from(Difference).where(Difference.rollout == trial.id)) or 0,
    )


def _votes(session: Session, trial: Rollout) -> list[tuple[str, str, bool, int]]:
    """(arm, unit, good, when) of the first word on each turn, oldest first."""
    said = (
        select(Feedback.turn, Exposure.arm, Exposure.unit, Feedback.vote, Feedback.correction, Feedback.created)
        .join(Exposure, Exposure.turn == Feedback.turn)
        .where(Exposure.rollout == trial.id)
        .order_by(Feedback.created, Feedback.id)
    )
    first: dict[str, tuple[str, str, bool, int]] = {}
    for turn, arm, unit, vote, correction, created in session.execute(said):
        first.setdefault(turn, (arm, unit, vote == "up" and not correction, created))
    return list(first.values())


def _arm(counts: Counter[bool]) -> Arm:
    return Arm(n=counts.total(), good=counts[True])


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None
