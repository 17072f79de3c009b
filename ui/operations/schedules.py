"""Operations of schedules: when retrains start by themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from finetune.generator.recipe import METHODS
from finetune.schedule import OPTIONS, Due
from finetune.triggers import Triggers, cooldown_ms, parse
from kernel.errors import RepriseError, TryAgain, UserError
from retrieval.live_generator import GENERATOR
from ui.operations.learning import Learning

log = logging.getLogger(__name__)
EDITABLE = ("cron", "timezone", "when", "days", "turns", "cooldown", "kind", "workspace", *OPTIONS, "paused")


class Schedules(Learning):
    def schedules(self) -> list[dict[str, Any]]:
        return self.w.schedules.listing()

    def schedule_history(self, schedule: str, limit: int = 50) -> list[dict[str, Any]]:
        """What the firings of a schedule came to, newest first."""
        return self.w.schedules.history(schedule, limit)

    def add_schedule(
        self,
        cron: str | None = None,
        kind: str = "retriever",
        workspace: str | None = None,
        *,
        timezone: str = "UTC",
        when: Sequence[str] = (),
        days: float | None = None,
        turns: int | None = None,
        cooldown: float | None = None,
        policy: str | None = None,
        rho: float | None = None,
        method: str | None = None,
    ) -> list[dict[str, Any]]:
        """Add a schedule of times, of conditions, or of both; all schedules. `cooldown` is in seconds, `method`
        one that the kind knows, such as `dpo`."""
        options = {"policy": self._policy(policy), "rho": None if rho is None else self._rho(rho)}
        options["method"] = self._method(kind, method)
        return self.w.schedules.add(
            cron,
            self._kind_of(kind),
            workspace,
            timezone=timezone,
            triggers=parse(when, days=days, turns=turns),
            cooldown=None if cooldown is None else cooldown_ms(cooldown),
            **{name: value for name, value in options.items() if value is not None},
        )

    def edit_schedule(self, schedule: str, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Change what is named, and leave the rest; null clears. All schedules.

        Raises:
            UserError: a field there is none of, or a value that makes no sense.
        """
        unknown = sorted(set(changes) - set(EDITABLE))
        if unknown:
            raise UserError(f"no field {unknown[0]!r}", hint=f"there are: {', '.join(EDITABLE)}")
        told = dict(changes)
        if {"when", "days", "turns"} & set(told):
            told["triggers"] = self._triggers(schedule, told)
            for name in ("when", "days", "turns"):
                told.pop(name, None)
        if "cooldown" in told:
            told["cooldown"] = cooldown_ms(told["cooldown"] or 0)
        if "kind" in told:
            told["kind"] = self._kind_of(told["kind"])
        if told.get("method") is not None or "kind" in told:
            now = self._now(schedule)
            kind, method = (told.get(name, now.get(name)) for name in ("kind", "method"))
            self._method(str(kind), method)
        if told.get("policy") is not None:
            told["policy"] = self._policy(told["policy"])
        if told.get("rho") is not None:
            told["rho"] = self._rho(told["rho"])
        if "timezone" in told:
            told["timezone"] = told["timezone"] or "UTC"
        return self.w.schedules.edit(schedule, **told)

    def remove_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self.w.schedules.remove(schedule)

    def pause_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self.w.schedules.pause(schedule)

    # --- beat's part -----------------------------------------------------------------------------

    def _fire(self, due: Due) -> str:
        """Start what a schedule asks for, with the fresh challenger that its cycle may owe; the job of the former.

        Where mixes are approved, it ends when the mix is drawn.
        """
        options = {"hold": self.settings.approve_mix, **due.options}
        try:
            if options["hold"] and (proposal := self.w.proposals.waiting(due.kind, due.workspace)):
                raise UserError(f"{proposal} waits for approval", hint="approve or reject it", code="proposal_waits")
            run = self.request_run(kind=due.kind, workspace=due.workspace, **options)
        except RepriseError as error:
            log.info("schedule %s starts nothing: %s", due.id, error.message)
            raise
        sibling = self.w.retrainer.challenge(run)
        asked, begun = {"run": run, "firing": due.firing}, partial(self.w.schedules.begun, due)
        try:
            job = self.w.ledger.enqueue("retrain", asked, keys=["retrain"], by="beat", also=begun)
        except TryAgain as error:
            for one in (run, sibling):
                if one is not None:
                    self.w.runs.fail(one, error.as_json())
            raise
        if sibling is not None:
            self._enqueue_run(sibling, "beat")
        return job

    def _triggers(self, schedule: str, told: Mapping[str, Any]) -> Triggers:
        now = self._now(schedule)
        wanted = {name: told.get(name, now.get(name)) for name in ("when", "days", "turns")}
        return parse(wanted["when"] or (), days=wanted["days"], turns=wanted["turns"])

    def _now(self, schedule: str) -> dict[str, Any]:
        return next((s for s in self.schedules() if s["schedule"] == schedule), {})

    def _kind_of(self, kind: str) -> str:
        if kind not in self.w.kinds:
            raise UserError(f"no adapter of kind {kind!r} can be trained", hint=f"give {' or '.join(self.w.kinds)}")
        return kind

    def _method(self, kind: str, method: str | None) -> str | None:
        methods = METHODS if kind == GENERATOR else ()
        if method is not None and method not in methods:
            hint = f"there are: {', '.join(methods)}" if methods else "methods are a generator's; leave it out"
            raise UserError(f"a {kind} has no method {method!r}", hint=hint)
        return method

    def _policy(self, policy: str | None) -> str | None:
        from rehearsal.policies import POLICIES

        if policy is not None and policy not in POLICIES:
            raise UserError(f"no policy {policy!r}", hint=f"there are: {', '.join(sorted(POLICIES))}")
        return policy
