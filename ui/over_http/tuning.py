"""How a workspace's searches are fused, over HTTP."""

from __future__ import annotations

from typing import Any

from kernel.types import Progress, silent
from ui.over_http.index import Index


class Tuning(Index):
    def tuning(self, workspace: str | None = None) -> dict[str, Any]:
        return self._get("/v1/tuning", workspace=workspace)

    def enqueue_tune(self, workspace: str | None = None, by: str = "person") -> dict[str, Any]:
        return self._call("POST", "/v1/tuning", json={"workspace": workspace})

    def tune(self, workspace: str | None = None, progress: Progress = silent) -> dict[str, Any]:
        """Start a tuning and wait for its end."""
        return self._ended(self.enqueue_tune(workspace), progress)
