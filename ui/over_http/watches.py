"""What is followed, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from kernel.types import Progress, silent
from ui.over_http.connection import Connection, as_error


class Watches(Connection):
    def watches(self) -> list[dict[str, Any]]:
        return self._get("/v1/watches")

    def add_watch(self, location: str, workspace: str | None = None, every_seconds: int = 600) -> dict[str, Any]:
        sent = {"location": location, "workspace": workspace, "every_seconds": every_seconds}
        return self._call("POST", "/v1/watches", json=sent)

    def remove_watch(self, watch: str) -> dict[str, Any]:
        return self._call("DELETE", f"/v1/watches/{quote(watch, safe='')}")

    def pause_watch(self, watch: str) -> dict[str, Any]:
        return self._call("POST", f"/v1/watches/{quote(watch, safe='')}/pause")

    def look(self, watch: str, progress: Progress = silent) -> dict[str, Any]:
        """Start a look and wait for its end; the outcome."""
        job = self.wait_job(self.enqueue_look(watch)["job"], progress)
        if job["state"] != "done":
            raise as_error(500, job["error"] or {"message": f"the job was {job['state']}", "hint": "try again"})
        return dict(job["result"])

    def enqueue_look(self, watch: str, by: str = "person") -> dict[str, Any]:
        return self._call("POST", f"/v1/watches/{quote(watch, safe='')}/look")
