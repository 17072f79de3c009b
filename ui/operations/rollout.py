"""Operations of the rollout: trials of adapters on live questions, and which one serves which workspace or slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune.sequential import TestPlan
from retrieval.live import RETRIEVER
from ui.operations.seat import Seat

SHOWN = 20
"""Trials that are listed."""


class Rollout(Seat):
    def rollouts(self) -> list[dict[str, Any]]:
        """Trials with their figures, newest first."""
        return self.w.rollouts.listing(SHOWN)

    def start_rollout(
        self,
        adapter: str,
        *,
        shadow: bool = False,
        share: float | None = None,
        steps: Sequence[float] | None = None,
        test: dict[str, Any] | None = None,
        override: str | None = None,
    ) -> dict[str, Any]:
        """Try an adapter on live questions; the trial. `test`: figures of the test that are not the usual ones."""
        return self.w.rollouts.start(
            adapter, shadow=shadow, share=share, steps=steps, plan=TestPlan.asked(test or {}), override=override
        )

    def advance_rollout(self, kind: str | None = None) -> dict[str, Any]:
        """The next step now, whatever the figures say; the trial."""
        return self.w.rollouts.advance(kind)

    def stop_rollout(self, kind: str | None = None) -> dict[str, Any]:
        """End the trial; its adapter is a candidate again."""
        return self.w.rollouts.stop(kind)

    def routes(self) -> list[dict[str, Any]]:
        return self.w.routes.listing()

    def set_route(
        self, adapter: str, workspace: str, slice_name: str | None = None, override: str | None = None
    ) -> list[dict[str, Any]]:
        """Let an adapter serve a workspace, or one slice of its questions; all routes."""
        return self.w.routes.set(adapter, workspace, slice_name, override=override)

    def remove_route(
        self, workspace: str, slice_name: str | None = None, kind: str = RETRIEVER
    ) -> list[dict[str, Any]]:
        """Let the champion serve there again; the routes that are left."""
        return self.w.routes.remove(workspace, slice_name, kind)

    # --- a node's part ---------------------------------------------------------------------------

    def _tend_rollout(self) -> dict[str, Any]:
        """What a tick of beat does: make the moves that the figures call for."""
        moves = self.w.rollouts.tick()
        return {"rollout": moves} if moves else {}
