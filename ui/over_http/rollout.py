"""The rollout, over HTTP: trials of adapters, and routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ui.over_http.connection import Connection, given


class Rollout(Connection):
    def rollouts(self) -> list[dict[str, Any]]:
        return self._get("/v1/rollouts")

    def start_rollout(
        self,
        adapter: str,
        *,
        shadow: bool = False,
        share: float | None = None,
        steps: Sequence[float] | None = None,
        test: dict[str, Any] | None = None,
        override: str | None = None,
    ) -> dict[str, Any]:
        sent = {"adapter": adapter, "shadow": shadow, "share": share, "steps": steps, "test": test}
        return self._call("POST", "/v1/rollouts", json=sent | {"override": override})

    def advance_rollout(self, kind: str | None = None) -> dict[str, Any]:
        return self._call("POST", "/v1/rollouts/advance", json={"kind": kind})

    def stop_rollout(self, kind: str | None = None) -> dict[str, Any]:
        return self._call("POST", "/v1/rollouts/stop", json={"kind": kind})

    def routes(self) -> list[dict[str, Any]]:
        return self._get("/v1/routes")

    def set_route(
        self, adapter: str, workspace: str, slice_name: str | None = None, override: str | None = None
    ) -> list[dict[str, Any]]:
        sent = {"adapter": adapter, "workspace": workspace, "slice": slice_name, "override": override}
        return self._call("POST", "/v1/routes", json=sent)

    def remove_route(
        self, workspace: str, slice_name: str | None = None, kind: str = "retriever"
    ) -> list[dict[str, Any]]:
        query = given(workspace=workspace, slice=slice_name, kind=kind)
        return self._call("DELETE", "/v1/routes", params=query)
