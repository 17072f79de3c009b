"""What the index is made of, over HTTP: its embedder, its chunks, its upkeep."""

from __future__ import annotations

from typing import Any

from kernel.types import Progress, silent
from ui.over_http.connection import Connection, as_error


class Index(Connection):
    def embedder(self) -> dict[str, Any]:
        return self._get("/v1/embedder")

    def enqueue_switch(self, model: str) -> dict[str, Any]:
        return self._call("POST", "/v1/embedder/switch", json={"model": model})

    def switch_embedder(self, model: str, progress: Progress = silent) -> dict[str, Any]:
        """Start a switch and wait for its end."""
        return self._ended(self.enqueue_switch(model), progress)

    def cancel_switch(self) -> dict[str, Any]:
        return self._call("POST", "/v1/embedder/cancel")

    def enqueue_maintain(self, by: str = "person") -> dict[str, Any]:
        return self._call("POST", "/v1/index/maintain")

    def maintain(self, progress: Progress = silent) -> dict[str, Any]:
        """Start maintenance and wait for its end."""
        return self._ended(self.enqueue_maintain(), progress)

    def enqueue_rechunk(self, by: str = "person") -> dict[str, Any]:
        return self._call("POST", "/v1/index/rechunk")

    def rechunk(self, progress: Progress = silent) -> dict[str, Any]:
        """Start chunking again and wait for its end."""
        return self._ended(self.enqueue_rechunk(), progress)

    def _ended(self, job: dict[str, Any], progress: Progress) -> dict[str, Any]:
        ended = self.wait_job(job["job"], progress)
        if ended["state"] != "done":
            raise as_error(500, ended["error"] or {"message": f"the job was {ended['state']}", "hint": "try again"})
        return dict(ended["result"])
