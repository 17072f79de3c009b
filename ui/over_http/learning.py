"""Learning, over HTTP: retrains and adapters."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from kernel.types import Progress, silent
from ui.over_http.connection import Connection, as_error


class Learning(Connection):
    # --- adapters --------------------------------------------------------------------------------

    def enqueue_retrain(self, **options: Any) -> dict[str, Any]:
        return self._call("POST", "/v1/retrains", json=options)

    def retrain(self, progress: Progress = silent, **options: Any) -> dict[str, Any]:
        """Start a retrain and wait for its verdict."""
        job = self.enqueue_retrain(**options)
        ended = self.wait_job(job["job"], progress)
        if ended["state"] != "done":
            raise as_error(500, ended["error"] or {"message": f"the retrain was {ended['state']}", "hint": "try again"})
        return self.run(job["run"])

    def run(self, run: str) -> dict[str, Any]:
        return self._get(f"/v1/retrains/{quote(run)}")

    def runs(self, kind: str | None = None) -> list[dict[str, Any]]:
        return self._get("/v1/retrains", kind=kind)

    def mix(self, run: str) -> dict[str, Any]:
        return self._get(f"/v1/retrains/{quote(run)}/mix")

    def gate(self, run: str) -> dict[str, Any]:
        return self._get(f"/v1/retrains/{quote(run)}/verdict")

    def adapters(self) -> list[dict[str, Any]]:
        return self._get("/v1/adapters")

    def promote(self, adapter: str, override: str | None = None) -> dict[str, Any]:
        return self._call("POST", f"/v1/adapters/{quote(adapter)}/promote", json={"override": override})

    def rollback(self, kind: str = "retriever") -> dict[str, Any]:
        return self._call("POST", "/v1/adapters/rollback", json={"kind": kind})
