"""Operations of learning: examples, rehearsal, retrains, adapters, schedules."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from finetune.kinds import Options
from kernel.errors import UserError
from kernel.jobs import Running
from kernel.types import Progress, silent
from retrieval.live import RETRIEVER
from ui.operations.seat import Seat

log = logging.getLogger(__name__)

KINDS = ("retriever", "generator")
STATUSES = ("approved", "quarantined", "retired")


class Learning(Seat):
    def import_examples(
        self, content: str, slice_name: str | None = None, workspace: str | None = None
    ) -> dict[str, Any]:
        return self.w.memory.import_jsonl(content, workspace or self.settings.workspace, slice_name)

    def examples(self, status: str | None = None, workspace: str | None = None) -> list[dict[str, Any]]:
        if status is not None and status not in STATUSES:
            raise UserError(f"no status {status!r}", hint=f"there are: {', '.join(STATUSES)}")
        return self.w.memory.listing(status, workspace)

    def export_examples(self) -> Iterator[str]:
        return self.w.memory.export_jsonl()

    def retire_example(self, example: str) -> dict[str, Any]:
        return self.w.memory.retire(example)

    def preview(
        self,
        kind: str = RETRIEVER,
        policy: str | None = None,
        rho: float | None = None,
        seed: int = 0,
        workspace: str | None = None,
    ) -> dict[str, Any]:
        return self.w.retrainer.preview(kind, self._options(policy, rho, seed), workspace)

    # --- adapters --------------------------------------------------------------------------------

    def retrain(self, progress: Progress = silent, **options: Any) -> dict[str, Any]:
        """Run a retrain here and now, to its verdict."""
        run = self.request_run(**options)
        sibling = self.w.retrainer.challenge(run)
        self.w.retrainer.run(run, progress)
        if sibling is not None:
            self.w.retrainer.run(sibling, progress)
        return self.run(run)

    def enqueue_retrain(self, by: str = "person", **options: Any) -> dict[str, Any]:
        """A job of it and its run, and where the cycle owes a fresh challenger, a second job of that: `sibling`."""
        run = self.request_run(**options)
        sibling = self.w.retrainer.challenge(run)
        told = self._enqueue_run(run, by) | {"sibling": sibling}
        if sibling is not None:
            self._enqueue_run(sibling, by)
        return told

    def _enqueue_run(self, run: str, by: str) -> dict[str, Any]:
        return self.job(self.w.ledger.enqueue("retrain", {"run": run}, keys=["retrain"], by=by)) | {"run": run}

    def request_run(
        self,
        kind: str = RETRIEVER,
        policy: str | None = None,
        rho: float | None = None,
        seed: int = 0,
        workspace: str | None = None,
        control: str | None = None,
    ) -> str:
        return self.w.retrainer.request(kind, self._options(policy, rho, seed, control=control), workspace)

    def run(self, run: str) -> dict[str, Any]:
        return self.w.runs.result(run)

    def runs(self) -> list[dict[str, Any]]:
        return self.w.runs.listing()

    def mix(self, run: str) -> dict[str, Any]:
        return self.w.runs.manifest(run)

    def gate(self, run: str) -> dict[str, Any]:
        return self.w.runs.verdict(run)

    def adapters(self) -> list[dict[str, Any]]:
        return self.w.registry.listing()

    def promote(self, adapter: str, override: str | None = None) -> dict[str, Any]:
        return self.w.registry.promote(adapter, override=override)

    def rollback(self, kind: str = RETRIEVER) -> dict[str, Any]:
        return self.w.registry.rollback(_kind(kind))

    def schedules(self) -> list[dict[str, Any]]:
        return self.w.schedules.listing()

    def add_schedule(self, cron: str, kind: str = RETRIEVER, workspace: str | None = None) -> list[dict[str, Any]]:
        return self.w.schedules.add(cron, _kind(kind), workspace)

    def remove_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self.w.schedules.remove(schedule)

    def pause_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self.w.schedules.pause(schedule)

    def _retrain_job(self, running: Running) -> dict[str, Any]:
        return self.w.retrainer.run(running.args["run"], running.progress)

    def _fire(self, schedule: Any) -> str:
        """Start what a schedule asks for; its job, or nothing where there is nothing to train on: others wait too."""
        try:
            asked = self.enqueue_retrain("beat", kind=schedule.kind, workspace=schedule.workspace, **schedule.options)
        except UserError as error:
            log.warning("schedule %s starts nothing: %s", schedule.id, error.message)
            return ""
        return str(asked["job"])

    def _options(self, policy: str | None, rho: float | None, seed: int, **more: Any) -> Options:
        return Options(policy=policy or "mixed", rho=self._rho(rho), seed=seed, **more)

    def _rho(self, rho: float | None) -> float:
        rho = self.settings.rho if rho is None else rho
        if not 0 <= rho <= 0.9:
            raise UserError(f"rho is {rho}", hint="the replay ratio is a share from 0 to 0.9; .2 is usual")
        return rho


def _kind(kind: str) -> str:
    if kind not in KINDS:
        raise UserError(f"no kind {kind!r}", hint=f"give {' or '.join(KINDS)}")
    return kind
