"""Merging adapters, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel.types import Progress, silent
from ui.over_http.connection import as_error
from ui.over_http.learning import Learning


class Merging(Learning):
    def enqueue_merge(self, adapters: Sequence[str], by: str = "person", **how: Any) -> dict[str, Any]:
        return self._call("POST", "/v1/adapters/merge", json={"adapters": list(adapters), **how})

    def merge(self, adapters: Sequence[str], progress: Progress = silent, **how: Any) -> dict[str, Any]:
        """Start a merge and wait for its verdict."""
        job = self.enqueue_merge(adapters, **how)
        ended = self.wait_job(job["job"], progress)
        if ended["state"] != "done":
            raise as_error(500, ended["error"] or {"message": f"the merge was {ended['state']}", "hint": "try again"})
        return self.run(job["run"])
