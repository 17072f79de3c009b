"""Rehearsal, over HTTP: previews, mixes that wait for approval, the replay ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from kernel.types import Progress, silent
from ui.over_http.connection import as_error
from ui.over_http.learning import Learning


class Rehearsal(Learning):
    def preview(self, kind: str = "retriever", policy: str | None = None, rho: float | None = None, seed: int = 0,
                workspace: str | None = None, measure: bool = False, method: str | None = None,
                start: str | None = None, without: Sequence[str] | None = None) -> dict[str, Any]:  # fmt: skip
        asked: dict[str, Any] = {"kind": kind, "policy": policy, "rho": rho, "seed": seed, "workspace": workspace}
        asked |= {"measure": measure, "method": method, "start": start, "without": without}
        return self._get("/v1/rehearsal/preview", **asked)

    def propose(self, progress: Progress = silent, **options: Any) -> dict[str, Any]:
        """Have a mix drawn and kept, and wait for it."""
        return self.proposal(self.retrain(progress, **options, hold=True)["run"])

    def proposals(self) -> list[dict[str, Any]]:
        return self._get("/v1/rehearsal/proposals")

    def proposal(self, proposal: str) -> dict[str, Any]:
        return self._get(f"/v1/rehearsal/proposals/{quote(proposal)}")

    def approve_mix(self, proposal: str, progress: Progress = silent) -> dict[str, Any]:
        """Approve a mix and wait for the verdict on what it trains."""
        ended = self.wait_job(self.enqueue_approved(proposal)["job"], progress)
        if ended["state"] != "done":
            raise as_error(500, ended["error"] or {"message": f"the retrain was {ended['state']}", "hint": "try again"})
        return self.run(proposal)

    def enqueue_approved(self, proposal: str) -> dict[str, Any]:
        return self._call("POST", f"/v1/rehearsal/proposals/{quote(proposal)}/approve")

    def reject_mix(self, proposal: str, reason: str = "") -> dict[str, Any]:
        return self._call("POST", f"/v1/rehearsal/proposals/{quote(proposal)}/reject", json={"reason": reason})

    def replay(self, kind: str = "retriever", workspace: str | None = None) -> dict[str, Any]:
        return self._get("/v1/rehearsal/rho", kind=kind, workspace=workspace)
