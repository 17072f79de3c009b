"""The rollout: an adapter's way to everybody, by the shadow and by growing shares, and back by itself if it does harm.

    from        move        to                     who
    candidate   start       shadow, or a share     a person; one that is retired or previous needs a reason
    shadow      advance     the first share        a person, or the shadow's figures
    a share     advance     the next share,        a person, or the votes: not worse, by a sequential test
                            then champion
    either      stop        candidate              a person
    either      harm        retired                the figures alone; from then on every move needs a reason, until
                                                   it is promoted or judged again
    either      (promote, rollback of the kind)    candidate: what it was compared with is gone

A trial is never started by itself: of two challengers of one cycle a run says which is `preferred`, and a person takes
it. What goes on by itself is the trial that was started.

Each move is one transaction, and needs an accepting verdict or the reason that was given at the start; both stand in
the audit log. It loads first, then flips the row, then lets go. A move that was decided from figures is made only if
nothing has moved since they were read, so that two ticks, or a tick and a person, make one move and not two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from finetune import trial
from finetune.registry import BASE, Registry, crown
from finetune.sequential import Decision, TestPlan, decide, decide_shadow, evidence_of_less, evidence_of_no_less
from finetune.tables import Adapter, Rollout
from kernel.audit import record
from kernel.database import Database
from kernel.errors import Conflict, NotFound, Refused, RepriseError, UserError
from kernel.ids import fresh, iso, now_ms
from retrieval.lending import Lending
from retrieval.tables import Pointer

log = logging.getLogger(__name__)
STEPS = (0.05, 0.25, 1.0)
"""Shares of those who ask; 1 is the champion's place."""
ITSELF = "rollout"
"""Who the audit log names for a move that the figures made."""


class Rollouts:
    """Starts, moves and shows trials; one at a time for each kind. Safe from several threads and processes."""

    def __init__(self, db: Database, registry: Registry, lending: Lending) -> None:
        self._db, self._registry, self._lending = db, registry, lending
        self._looked: dict[str, tuple[int, ...]] = {}
        self.step: Callable[[str], None] = lambda _name: None

    def start(
        self,
        name: str,
        *,
        shadow: bool = False,
        share: float | None = None,
        steps: Sequence[float] | None = None,
        plan: TestPlan | None = None,
        override: str | None = None,
        actor: str = "local",
    ) -> dict[str, Any]:
        """Try an adapter: in the shadow first, or with a share at once; the trial.

        Raises:
            NotFound: no such adapter.
            Refused: its gate did not accept it and no reason is given, or its state does not allow it.
            Conflict: another one of its kind is tried already.
            UserError: shares that do not grow.
        """
        shares = _shares(share, steps)
        with self._db.read() as session:
            found = self._registry.checked(session, name, override, "start")
            kind, path = found.kind, found.path
        with self._lending.held(kind, name, path):
            self.step("loaded")
            with self._db.write() as session:
                trial.one_move(session)
                adapter = self._registry.checked(session, name, override, "start")
                self._startable(session, adapter, override)
                pointer = session.get(Pointer, kind)
                if pointer is None:
                    pointer = Pointer(kind=kind)
                    session.add(pointer)
                now = now_ms()
                begun = Rollout(
                    id=fresh("rollout"),
                    kind=kind,
                    adapter=name,
                    against=pointer.champion,
                    stage="shadow",
                    share=0.0,
                    steps=list(shares),
                    plan=(plan or TestPlan()).to_json(),
                    override=override,
                    outcome=None,
                    reason="",
                    started=now,
                    stepped=now,
                    ended=None,
                )
                session.add(begun)
                pointer.challenger, pointer.challenger_path = name, path
                pointer.rollout, pointer.stage, pointer.share, pointer.changed = begun.id, "shadow", 0.0, now
                session.execute(update(Adapter).where(Adapter.name == name).values(state="shadow", share=0.0))
                record(
                    session, "rollout.start", name, actor, kind=kind, rollout=begun.id, against=begun.against or BASE,
                    stage="shadow" if shadow else "canary", steps=list(shares),
                    accepted=bool(adapter.accepted), override=override,
                )  # fmt: skip
                if not shadow:
                    _grow(session, begun, pointer)
                self.step("flipping")
            self.step("flipped")
        return self._told(begun.id)

    def advance(self, kind: str | None = None, *, actor: str = "local", reason: str = "by hand") -> dict[str, Any]:
        """Let the trial take its next step, whatever its figures say; the trial.

        Raises:
            NotFound: nothing is tried.
            UserError: several kinds are, and none was named.
        """
        running = self._only(kind)
        self._advance(running, reason, actor)
        return self._told(running.id)

    def stop(self, kind: str | None = None, *, actor: str = "local", reason: str = "by hand") -> dict[str, Any]:
        """End the trial; its adapter is a candidate again.

        Raises:
            NotFound: nothing is tried.
            UserError: several kinds are, and none was named.
        """
        running = self._only(kind)
        self._end(running, "stopped", reason, "candidate", actor)
        return self._told(running.id)

    def listing(self, limit: int = 20) -> list[dict[str, Any]]:
        """Trials with their figures, newest first: those that run, and how the last ones ended."""
        with self._db.read() as session:
            ids = list(session.scalars(select(Rollout.id).order_by(Rollout.started.desc()).limit(limit)))
        return [self._told(one) for one in ids]

    def tick(self) -> list[dict[str, Any]]:
        """Make the moves that the figures call for; each with its reason. Repeatable, and safe with others at it."""
        made = []
        with self._db.read() as session:
            open_trials = list(session.scalars(select(Rollout).where(Rollout.ended.is_(None))))
            sizes = {one.id: (*trial.size(session, one), one.stepped) for one in open_trials}
        for running in open_trials:
            if self._looked.get(running.id) == sizes[running.id]:
                continue  # nothing was said since
            with self._db.read() as session:
                decision = _decide(session, running)
            moved = False
            try:
                if decision.move == "harm":
                    moved = self._end(running, "harm", decision.reason, "retired", ITSELF)
                elif decision.move == "advance":
                    moved = self._advance(running, decision.reason, ITSELF)
            except RepriseError as error:  # beat has other things to do; `trouble` and the next tick say it again
                log.warning("%r was not moved on: %s", running.adapter, error.message)
                continue
            self._looked[running.id] = sizes[running.id]
            if moved:
                made.append({"adapter": running.adapter, "move": decision.move, "reason": decision.reason})
        return made

    # --- moves -----------------------------------------------------------------------------------

    def _advance(self, seen: Rollout, reason: str, actor: str) -> bool:
        """The next step of a trial as it was seen; False where it has moved since."""
        with self._db.read() as session:
            path = self._registry.checked(session, seen.adapter, seen.override, "start").path
        with self._lending.held(seen.kind, seen.adapter, path):
            self.step("loaded")
            with self._db.write() as session:
                trial.one_move(session)
                running = _unmoved(session, seen)
                if running is None:
                    return False
                adapter = self._registry.checked(session, seen.adapter, seen.override, "start")
                told = {"kind": seen.kind, "rollout": seen.id, "reason": reason, "override": seen.override}
                if running.steps and running.steps[0] < 1:
                    _grow(session, running, session.get_one(Pointer, seen.kind))
                    record(session, "rollout.advance", seen.adapter, actor, share=running.share, **told)
                else:
                    old = crown(session, adapter)
                    running.reason = reason
                    record(
                        session, "promote", seen.adapter, actor, previous=old or BASE,
                        accepted=bool(adapter.accepted), **told,
                    )  # fmt: skip
                self.step("flipping")
            self.step("flipped")
            self._lending.tidy(seen.kind)
        return True

    def _end(self, seen: Rollout, outcome: str, reason: str, leave: str, actor: str) -> bool:
        with self._db.write() as session:
            trial.one_move(session)
            if _unmoved(session, seen) is None:
                return False
            trial.close(session, seen.kind, outcome=outcome, reason=reason, leave=leave)
            told = {"kind": seen.kind, "rollout": seen.id, "reason": reason, "state": leave}
            record(session, f"rollout.{outcome}", seen.adapter, actor, **told)
            self.step("flipping")
        self.step("flipped")
        self._lending.tidy(seen.kind)
        return True

    def _startable(self, session: Session, adapter: Adapter, override: str | None) -> None:
        running = trial.running(session, adapter.kind)
        if running is not None:
            raise Conflict(
                f"{running.adapter!r} is being tried already",
                hint="`reprise rollout show` tells how it does; `reprise rollout stop` ends it",
                code="rollout_running",
            )
        again = adapter.state in ("retired", "previous") and override and override.strip()
        if adapter.state != "candidate" and not again:
            raise Refused(
                f"{adapter.name!r} is {adapter.state}, and only a candidate is tried",
                hint='one that served or was taken back is tried again with --override "REASON"',
                code="not_a_candidate",
            )

    # --- showing ---------------------------------------------------------------------------------

    def _only(self, kind: str | None) -> Rollout:
        with self._db.read() as session:
            rows = select(Rollout).where(Rollout.ended.is_(None))
            found = list(session.scalars(rows if kind is None else rows.where(Rollout.kind == kind)))
        if not found:
            raise NotFound(
                "no adapter is being tried", hint="`reprise rollout start ADAPTER` begins", code="no_rollout"
            )
        if len(found) > 1:
            raise UserError("adapters of several kinds are being tried", hint="say which with --kind")
        return found[0]

    def _told(self, rollout: str) -> dict[str, Any]:
        with self._db.read() as session:
            one = session.get_one(Rollout, rollout)
            seen, plan = trial.observed(session, one), TestPlan.from_json(one.plan)
            slow, shadow = trial.latencies(session, one), trial.shadowed(session, one)
            decision = _decide(session, one) if one.ended is None else None
        arms = {
            arm: {
                "votes": votes.n,
                "good": votes.good,
                "answers": answers.n,
                "abstained": answers.bad,
                "ms": slow[arm],
            }
            for arm, votes, answers in (
                ("canary", seen.canary, seen.canary_answers),
                ("champion", seen.champion, seen.champion_answers),
            )
        }
        return {
            "rollout": one.id,
            "adapter": one.adapter,
            "kind": one.kind,
            "against": one.against,
            "stage": one.stage,
            "share": one.share,
            "steps": one.steps,
            "state": "running" if one.ended is None else one.outcome,
            "reason": decision.reason if decision else one.reason,
            "override": one.override,
            "arms": arms,
            "log_evidence": {
                "worse": _finite(evidence_of_less(seen.canary, seen.champion)),
                "not_worse": _finite(evidence_of_no_less(seen.canary, seen.champion, plan.margin)),
            },
            "shadow": shadow,
            "plan": one.plan,
            "started": iso(one.started),
            "stepped": iso(one.stepped),
            "ended": iso(one.ended),
        }


def _decide(session: Session, running: Rollout) -> Decision:
    plan = TestPlan.from_json(running.plan)
    if running.stage == "canary":
        return decide(plan, trial.observed(session, running))
    seen = trial.shadowed(session, running)
    failed = sum(seen["failed"].values())
    return decide_shadow(plan, seen["compared"], failed, seen["answers_lost"], seen["answers_gained"])


def _unmoved(session: Session, seen: Rollout) -> Rollout | None:
    """The trial, if it is where it was when it was seen."""
    now = session.get(Rollout, seen.id)
    if now is None or now.ended is not None or (now.stage, now.share) != (seen.stage, seen.share):
        return None
    return now


def _grow(session: Session, running: Rollout, pointer: Pointer) -> None:
    """Take the next share, in the caller's transaction."""
    share, *rest = running.steps
    running.stage, running.share, running.steps, running.stepped = "canary", share, rest, now_ms()
    pointer.stage, pointer.share, pointer.changed = "canary", share, now_ms()
    session.execute(update(Adapter).where(Adapter.name == running.adapter).values(state="canary", share=share))
    champion = (Adapter.kind == running.kind, Adapter.state == "champion")
    session.execute(update(Adapter).where(*champion).values(share=round(1.0 - share, 6)))


def _shares(share: float | None, steps: Sequence[float] | None) -> tuple[float, ...]:
    """The shares in order, 1 last.

    Raises:
        UserError: they do not grow, or do not lie above 0 and up to 1.
    """
    shares = tuple(steps) if steps else STEPS
    if share is not None:
        shares = (share, *(s for s in shares if s > share))
    if not all(0 < s <= 1 for s in shares) or any(a >= b for a, b in pairwise(shares)):
        raise UserError(f"the shares {shares} do not grow from above 0 to 1", hint="give .05,.25,1 for example")
    if shares[0] == 1:
        raise UserError("a first share of 1 is no trial", hint="`reprise promote` lets an adapter serve everybody")
    return shares if shares[-1] == 1 else (*shares, 1.0)


def _finite(value: float) -> float | None:
    return None if value == float("-inf") else round(value, 3)
