"""Running the platform, over HTTP: jobs, health, measurement, backup."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ui.over_http.connection import Connection


class Upkeep(Connection):
    def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        return self._get("/v1/jobs", limit=limit)

    def cancel_job(self, job: str) -> dict[str, Any]:
        return self._call("POST", f"/v1/jobs/{quote(job)}/cancel")

    def retry_job(self, job: str) -> dict[str, Any]:
        return self._call("POST", f"/v1/jobs/{quote(job)}/retry")

    def remove_job(self, job: str) -> dict[str, Any]:
        return self._call("DELETE", f"/v1/jobs/{quote(job)}")

    def evaluate(self, suite: str, k: int = 10, workspace: str | None = None) -> dict[str, Any]:
        return self._call("POST", "/v1/eval", json={"suite": suite, "k": k, "workspace": workspace})

    def audit(self) -> dict[str, Any]:
        return self._get("/v1/audit")

    def doctor(self) -> dict[str, Any]:
        return self._get("/v1/doctor")

    def backup(self, file: str) -> dict[str, Any]:
        return self._call("POST", "/v1/backup", json={"file": file})
