"""Retention and duplicates, over HTTP."""

from __future__ import annotations

from typing import Any

from ui.over_http.connection import Connection


class Versions(Connection):
    def retention(self, workspace: str | None = None) -> list[dict[str, Any]]:
        return self._get("/v1/retention", workspace=workspace)

    def set_retention(self, workspace: str, *, versions: int | None = None, days: int | None = None) -> dict[str, Any]:
        rule = {"workspace": workspace, "versions": versions, "days": days}
        return self._call("PUT", "/v1/retention", json=rule)

    def apply_retention(self, workspace: str | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        return self._call("POST", "/v1/retention/apply", json={"workspace": workspace, "dry_run": dry_run})

    def duplicates(self, workspace: str | None = None, threshold: float = 0.8) -> list[dict[str, Any]]:
        return self._get("/v1/duplicates", workspace=workspace, threshold=threshold)
