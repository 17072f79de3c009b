"""Judging, over HTTP: the gate's policy, approvals, pinned suites, and what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from kernel.types import Progress, silent
from ui.over_http.connection import Connection, as_user


class Judging(Connection):
    def gate_policy(self, kind: str = "retriever", workspace: str | None = None) -> dict[str, Any]:
        return self._get("/v1/gate-policy", kind=kind, workspace=workspace)

    def set_gate_policy(
        self,
        changes: Mapping[str, Any],
        kind: str = "retriever",
        workspace: str | None = None,
        reset: bool = False,
        user: str | None = None,
    ) -> dict[str, Any]:
        body = {"changes": dict(changes), "kind": kind, "workspace": workspace, "reset": reset}
        return self._call("PUT", "/v1/gate-policy", json=body, headers=as_user(user))

    def approvals(self) -> list[dict[str, Any]]:
        return self._get("/v1/approvals")

    def approve(self, adapter: str, reason: str | None = None, user: str | None = None) -> dict[str, Any]:
        return self._call(
            "POST", f"/v1/adapters/{quote(adapter, safe='')}/approve", json={"reason": reason}, headers=as_user(user)
        )

    def suites(self) -> list[dict[str, Any]]:
        return self._get("/v1/suites")

    def pin_suite(self, name: str, suite: str, workspace: str | None = None, user: str | None = None) -> dict[str, Any]:
        body = {"name": name, "suite": suite, "workspace": workspace}
        return self._call("POST", "/v1/suites", json=body, headers=as_user(user))

    def unpin_suite(self, name: str, user: str | None = None) -> list[dict[str, Any]]:
        return self._call("DELETE", f"/v1/suites/{quote(name, safe='')}", headers=as_user(user))

    def forgetting(
        self,
        kind: str = "retriever",
        workspace: str | None = None,
        served: bool = False,
        last: int = 12,
        before: str | None = None,
        after: str | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        asked = {"kind": kind, "workspace": workspace, "served": served, "last": last}
        return self._get("/v1/forgetting", **asked, before=before, after=after, seed=seed)
