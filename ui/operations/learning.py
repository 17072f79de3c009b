"""Operations of learning: retrains and adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetune.kinds import CHAMPION, Options
from kernel.errors import UserError
from kernel.jobs import Running
from kernel.types import Progress, silent
from retrieval.live import RETRIEVER
from ui.operations.seat import Seat

KINDS = ("retriever", "generator")


class Learning(Seat):
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
        start: str | None = None,
        without: Sequence[str] | None = None,
        hold: bool = False,
        method: str | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> str:
        """Enter a run. `without` names documents that the adapter must not have seen, not even through its parents;
        `recipe` are settings of the kind's recipe that differ from its defaults."""
        more = {"control": control, "hold": hold, "method": method, "recipe": recipe or {}}
        chosen = self._options(kind, workspace, policy, rho, seed, start, without, **more)
        return self.w.retrainer.request(kind, chosen, workspace)

    def run(self, run: str) -> dict[str, Any]:
        return self.w.runs.result(run)

    def runs(self, kind: str | None = None) -> list[dict[str, Any]]:
        return self.w.runs.listing(None if kind is None else kind_of(kind))

    def mix(self, run: str) -> dict[str, Any]:
        return self.w.runs.manifest(run)

    def gate(self, run: str) -> dict[str, Any]:
        return self.w.runs.verdict(run)

    def adapters(self) -> list[dict[str, Any]]:
        return self.w.registry.listing()

    def promote(self, adapter: str, override: str | None = None) -> dict[str, Any]:
        return self.w.registry.promote(adapter, override=override)

    def rollback(self, kind: str = RETRIEVER) -> dict[str, Any]:
        return self.w.registry.rollback(kind_of(kind))

    def _retrain_job(self, running: Running) -> dict[str, Any]:
        return self.w.retrainer.run(running.args["run"], running.progress)

    def _options(
        self,
        kind: str,
        workspace: str | None,
        policy: str | None,
        rho: float | None,
        seed: int,
        start: str | None,
        without: Sequence[str] | None,
        **more: Any,
    ) -> Options:
        """What is asked of a run. Where no replay ratio is given, the controller's, with its reasons."""
        if rho is None:
            replay = self.w.replays.control(kind, workspace).replay
            more |= {"slices": replay.slices, "because": replay.reasons}
            rho = replay.rho
        policy, start, seed = policy or "mixed", start or CHAMPION, seed_of(seed)
        asked = Options(policy=policy, rho=self._rho(rho), seed=seed, start=start, **more)
        return self.w.lineage.cleaned(kind, asked, self.w.lineage.ids(without)) if without else asked

    @staticmethod
    def _rho(rho: float) -> float:
        if not 0 <= rho <= 0.9:
            raise UserError(f"rho is {rho}", hint="the replay ratio is a share from 0 to 0.9; .3 is usual")
        return rho


def seed_of(seed: int) -> int:
    """The seed, if every generator of chance takes it.

    Raises:
        UserError: it is none.
    """
    if not 0 <= seed < 2**31:
        raise UserError(f"the seed is {seed}", hint=f"a seed is 0 or more, up to {2**31 - 1}")
    return seed


def kind_of(kind: str) -> str:
    """The kind, if adapters of it can serve.

    Raises:
        UserError: there is none of that name.
    """
    if kind not in KINDS:
        raise UserError(f"no kind {kind!r}", hint=f"give {' or '.join(KINDS)}")
    return kind
