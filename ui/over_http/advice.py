"""Advice, over HTTP."""

from __future__ import annotations

from typing import Any

from ui.over_http.connection import Connection, given


class Advice(Connection):
    def advise(
        self, document: str | None = None, slice_name: str | None = None, workspace: str | None = None
    ) -> list[dict[str, Any]]:
        query = given(document=document, slice=slice_name, workspace=workspace)
        return self._call("GET", "/v1/advice", params=query)
