"""Operations of judging: the gate's policy, approvals, pinned suites, and what a line of adapters has forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.types import Progress, silent
from retrieval.live import RETRIEVER
from retrieval.preferences import user_name
from retrieval.turns import LOCAL
from ui import evalsuite
from ui.operations.learning import kind_of, seed_of
from ui.operations.seat import Seat


class Judging(Seat):
    def gate_policy(self, kind: str = RETRIEVER, workspace: str | None = None) -> dict[str, Any]:
        return self.w.gate_policies.show(kind_of(kind), workspace)

    def set_gate_policy(
        self,
        changes: Mapping[str, Any],
        kind: str = RETRIEVER,
        workspace: str | None = None,
        reset: bool = False,
        user: str | None = None,
    ) -> dict[str, Any]:
        """Change thresholds; with `reset` all others of this kind and workspace take their defaults again."""
        by = user_name(user or LOCAL)
        return self.w.gate_policies.set(kind_of(kind), changes, workspace, reset=reset, by=by)

    def approvals(self) -> list[dict[str, Any]]:
        return self.w.approvals.listing()

    def approve(self, adapter: str, reason: str | None = None, user: str | None = None) -> dict[str, Any]:
        """Let an adapter serve whose policy asks for a person's approval."""
        return self.w.approvals.approve(adapter, reason, user_name(user or LOCAL))

    def suites(self) -> list[dict[str, Any]]:
        return self.w.suites.listing()

    def pin_suite(self, name: str, suite: str, workspace: str | None = None, user: str | None = None) -> dict[str, Any]:
        """Keep a suite of `reprise eval`, so that every gate asks it."""
        workspace = workspace or self.settings.workspace
        rows = evalsuite.parse(suite, lambda item: evalsuite.resolve(self.w.library, item, workspace))
        return self.w.suites.pin(name, rows, workspace, user_name(user or LOCAL))

    def unpin_suite(self, name: str, user: str | None = None) -> list[dict[str, Any]]:
        return self.w.suites.unpin(name, user_name(user or LOCAL))

    def forgetting(
        self,
        kind: str = RETRIEVER,
        workspace: str | None = None,
        served: bool = False,
        last: int = 12,
        before: str | None = None,
        after: str | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """The matrix of the champion's line, measured now; cells of this epoch are not measured again."""
        return self.w.forgetting.show(
            kind_of(kind),
            workspace,
            served=served,
            last=last,
            before=before,
            after=after,
            seed=seed_of(seed),
            progress=progress,
        )
