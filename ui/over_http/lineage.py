"""Lineage, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ui.over_http.connection import Connection


class Lineage(Connection):
    def card(self, adapter: str) -> dict[str, Any]:
        return self._get(f"/v1/adapters/{quote(adapter)}/card")

    def lineage(self, doc: str) -> dict[str, Any]:
        return self._get(f"/v1/documents/{quote(doc)}/lineage")

    def export_run(self, run: str, folder: str, with_base: bool = False) -> dict[str, Any]:
        return self._call("POST", f"/v1/retrains/{quote(run)}/export", json={"folder": folder, "with_base": with_base})
