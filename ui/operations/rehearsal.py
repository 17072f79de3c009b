"""Operations of rehearsal: what a retrain would practise, mixes that wait for approval, and the replay ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel.types import Progress, silent
from retrieval.live import RETRIEVER
from ui.operations.learning import Learning


class Rehearsal(Learning):
    def preview(
        self,
        kind: str = RETRIEVER,
        policy: str | None = None,
        rho: float | None = None,
        seed: int = 0,
        workspace: str | None = None,
        measure: bool = False,
        method: str | None = None,
        start: str | None = None,
        without: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The mix of a run that would start now; with `measure`, after a virtual step as a run takes it."""
        options = self._options(kind, workspace, policy, rho, seed, start, without, method=method)
        return self.w.retrainer.preview(kind, options, workspace, measure=measure)

    def propose(self, progress: Progress = silent, **options: Any) -> dict[str, Any]:
        """Draw a mix as `retrain` would, and keep it for a person to decide on."""
        return self.proposal(self.retrain(progress, **options, hold=True)["run"])

    def proposals(self) -> list[dict[str, Any]]:
        return self.w.proposals.listing()

    def proposal(self, proposal: str) -> dict[str, Any]:
        """A proposal with its mix."""
        return self.w.proposals.get(proposal) | {"mix": self.mix(proposal)}

    def approve_mix(self, proposal: str, progress: Progress = silent) -> dict[str, Any]:
        """Train on a proposed mix here and now, to its verdict."""
        self.w.proposals.approve(proposal)
        return self.w.retrainer.run(proposal, progress)

    def enqueue_approved(self, proposal: str) -> dict[str, Any]:
        """Approve a mix and start its training; the proposal as it is now, with the job."""
        approved = self.w.proposals.approve(proposal)
        job = self.w.ledger.enqueue("retrain", {"run": proposal}, keys=["retrain"])
        return approved | {"run": proposal, "job": job}

    def reject_mix(self, proposal: str, reason: str = "") -> dict[str, Any]:
        return self.w.proposals.reject(proposal, reason)

    def replay(self, kind: str = RETRIEVER, workspace: str | None = None) -> dict[str, Any]:
        """The replay ratio of the next retrain, overall and per slice, and how it came to be."""
        self.w.retrainer.drawing.kind(kind)  # or there is none of that name
        return {"kind": kind, "workspace": workspace, **self.w.replays.control(kind, workspace).to_json()}
