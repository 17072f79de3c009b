"""Judging again, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from kernel.types import Progress, silent
from ui.over_http.connection import as_error
from ui.over_http.learning import Learning


class Rejudging(Learning):
    def enqueue_rejudge(self, run: str, by: str = "person") -> dict[str, Any]:
        return self._call("POST", f"/v1/retrains/{quote(run)}/rejudge")

    def rejudge(self, run: str, progress: Progress = silent) -> dict[str, Any]:
        """Have a run judged again and wait for its verdict."""
        job = self.enqueue_rejudge(run)
        ended = self.wait_job(job["job"], progress)
        if ended["state"] != "done":
            raise as_error(500, ended["error"] or {"message": f"the judging was {ended['state']}", "hint": "try again"})
        return self.run(run)
