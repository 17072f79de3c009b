"""Schedules, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ui.over_http.learning import Learning


class Schedules(Learning):
    def schedules(self) -> list[dict[str, Any]]:
        return self._get("/v1/schedules")

    def schedule_history(self, schedule: str, limit: int = 50) -> list[dict[str, Any]]:
        return self._get(f"/v1/schedules/{quote(schedule)}/history", limit=limit)

    def add_schedule(
        self, cron: str | None = None, kind: str = "retriever", workspace: str | None = None, **rest: Any
    ) -> list[dict[str, Any]]:
        sent = {"cron": cron, "kind": kind, "workspace": workspace} | rest
        return self._call("POST", "/v1/schedules", json=sent)

    def edit_schedule(self, schedule: str, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._call("PATCH", f"/v1/schedules/{quote(schedule)}", json=dict(changes))

    def remove_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self._call("DELETE", f"/v1/schedules/{quote(schedule)}")

    def pause_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self._call("POST", f"/v1/schedules/{quote(schedule)}/pause")
