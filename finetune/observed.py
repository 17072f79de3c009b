"""What triggers of schedules look at, as SQL has it now: new examples, windows of turns, verdicts. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from finetune.generator.recipe import GeneratorRecipe
from finetune.kinds import Kind
from finetune.registry import Registry
from finetune.rival import AGAINST
from finetune.tables import Run
from finetune.triggers import Ended, Triggers, Window, drift, order, refused_on_old
from kernel.database import Database
from kernel.ids import now_ms
from kernel.jobs import ACTIVE
from kernel.tables import Job
from kernel.types import OPEN
from rehearsal.tables import Example, MixRow
from retrieval.live import RETRIEVER
from retrieval.live_generator import GENERATOR
from retrieval.tables import Feedback, Turn

_DAY = 86_400_000
_RUNS = 20
"""Runs with a verdict that an order looks back on."""


class Observed:
    """Looks for what triggers ask about."""

    def __init__(
        self,
        db: Database,
        registry: Registry,
        kinds: Mapping[str, Kind] | None = None,
        left_out: Callable[[str], Collection[str]] = lambda _run: (),
    ) -> None:
        """`left_out` gives the examples that a run, by its id, drew and could not be trained on."""
        self._db, self._registry, self._kinds, self._left_out = db, registry, kinds or {}, left_out

    def look(
        self, triggers: Triggers, kind: str, workspace: str | None, answered: set[str], method: str | None = None
    ) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
        """(cause or None, what was seen, options of the run). A gate's order comes first: it says what to change."""
        seen: dict[str, Any] = {}
        cause: str | None = None
        options: dict[str, Any] = {}
        if triggers.gate is not None:
            wanted = order(self.ended(kind, workspace), triggers.gate, answered)
            seen["gate"] = asdict(wanted) if wanted else None
            if wanted is not None:
                cause, options = "gate", wanted.options
        if triggers.examples is not None:
            seen["examples"] = self.new_examples(kind, workspace, method)
            if seen["examples"] >= triggers.examples:
                cause = cause or "examples"
        if triggers.drift is not None:
            now, length = now_ms(), int(triggers.days * _DAY)
            with self._db.read() as session:
                before = _window(session, workspace, now - 2 * length, now - length)
                recent = _window(session, workspace, now - length, now)
            change = drift(before, recent, triggers.turns)
            worse = change.surely(triggers.drift) if change else None
            seen["drift"] = {
                "days": triggers.days,
                "before": asdict(before),
                "recent": asdict(recent),
                "change": asdict(change) if change else None,
                "worse": worse,
            }
            if worse is not None:
                cause = cause or "drift"
        return cause, seen, options

    def new_examples(self, kind: str, workspace: str | None, method: str | None = None) -> int:
        """Approved training examples that neither the champion's lineage nor a judged run on top of it has practised.

        What a candidate has learnt that nobody has promoted yet is not new, nor what the gate has just refused, nor
        what one of these runs could not be trained on by the same method: a schedule would draw it again after every
        cooldown. What no run of the method would draw is not counted either.
        """
        lineage = self._registry.lineage(kind)
        with self._db.read() as session:
            judged = select(Run.id).where(Run.kind == kind, Run.state.in_(("accepted", "rejected")))
            champion = session.scalar(select(Run.adapter).where(Run.id == lineage[0])) if lineage else None
            against = Run.parent == champion
            if champion is not None:  # also what was judged again since, when another one served at first
                against |= Run.verdict[AGAINST].as_string() == champion
            runs = [*lineage, *session.scalars(judged.where(against))]
            practised = select(MixRow.example).where(MixRow.run.in_(runs))
            told = session.execute(select(Run.id, Run.options).where(Run.id.in_(runs)))
            usual = GeneratorRecipe().method  # a retriever is trained in one way alone
            alike = [run for run, options in told if (options.get("method") or usual) == (method or usual)]
            wanted = select(Example.id)
            wanted = wanted.where(Example.status == "approved", Example.split == "train", Example.died == OPEN)
            if workspace is not None:
                wanted = wanted.where(Example.workspace == workspace)
            if kind in self._kinds and (suited := self._kinds[kind].suited(method)):
                wanted = wanted.where(suited.new)
            new = set(session.scalars(wanted.where(Example.id.not_in(practised))))
        return len(new.difference(*(self._left_out(run) for run in alike))) if new else 0

    def ended(self, kind: str, workspace: str | None) -> list[Ended]:
        """Retrains with a verdict, newest first.

        Controls are made to fail; merges and runs that leave documents out are what a person wanted once. More
        rehearsal would be no answer to any of them.
        """
        with self._db.read() as session:
            wanted = select(Run).where(Run.kind == kind, Run.state.in_(("accepted", "rejected")))
            wanted = wanted.where(Run.workspace == workspace if workspace is not None else Run.workspace.is_(None))
            runs = session.scalars(wanted.order_by(Run.finished.desc(), Run.id).limit(_RUNS)).all()
        return [
            Ended(
                run=r.id,
                accepted=r.state == "accepted",
                refused_on_old=refused_on_old(r.verdict),
                rho=float(r.options.get("rho") or 0.0),
                start=r.options.get("start") or "champion",
            )
            for r in runs
            if not any(r.options.get(special) for special in ("control", "merged", "without"))
        ]

    def under_way(self, kind: str, workspace: str | None) -> str | None:
        """A run of this kind and workspace that has a job which is queued or running; None if there is none."""
        with self._db.read() as session:
            jobs = session.scalars(select(Job.args).where(Job.kind == "retrain", Job.state.in_(ACTIVE)))
            runs = session.scalars(select(Run).where(Run.id.in_([args.get("run") for args in jobs])))
            return next((r.id for r in runs if (r.kind, r.workspace) == (kind, workspace)), None)


def _window(session: Session, workspace: str | None, start: int, end: int) -> Window:
    """Turns of [start, end) that were answered by what serves: what is tried is judged by its trial, and whoever named
    an adapter was measuring. A turn's last vote is its vote."""
    abstained, support = Turn.shown["abstained"].as_boolean(), Turn.shown["support"].as_float()
    within: list[ColumnElement[bool]] = [Turn.created >= start, Turn.created < end]
    for kind in (RETRIEVER, GENERATOR):
        why = Turn.shown[("chosen", kind)].as_string()
        within.append(func.coalesce(why, "").not_in(("canary", "named")))
    if workspace is not None:
        within.append(Turn.workspace == workspace)
    turns = session.execute(select(Turn.id, abstained, support).where(*within)).all()
    votes = select(Feedback.turn, Feedback.vote).join(Turn, Turn.id == Feedback.turn).where(*within)
    last = dict(session.execute(votes.order_by(Feedback.created)).all())
    answered = [float(s) for _, refused, s in turns if not refused and s is not None]
    mean = sum(answered) / len(answered) if answered else 0.0
    spread = sum((s - mean) ** 2 for s in answered) / (len(answered) - 1) if len(answered) > 1 else 0.0
    return Window(
        turns=len(turns),
        refused=sum(bool(refused) for _, refused, _ in turns),
        voted_down=sum(not refused and last.get(turn) == "down" for turn, refused, _ in turns),
        answered=len(answered),
        support=mean,
        variance=spread,
    )
