"""Asking, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ui.over_http.connection import Connection


class Questions(Connection):
    def search(self, query: str, k: int = 10, **where: Any) -> dict[str, Any]:
        return self._call("POST", "/v1/search", json={"query": query, "k": k, **where})

    def ask(self, question: str, k: int | None = None, **where: Any) -> dict[str, Any]:
        return self._call("POST", "/v1/ask", json={"question": question, "k": k, **where})

    def ask_stream(self, question: str, k: int | None = None, **where: Any) -> Iterator[dict[str, Any]]:
        return self._events("/v1/ask", "done", {"question": question, "k": k, "stream": True, **where})

    def turns(self, limit: int = 50) -> list[dict[str, Any]]:
        return self._get("/v1/turns", limit=limit)

    def feedback(self, turn: str, vote: str, correction: str | None = None) -> dict[str, Any]:
        return self._call("POST", "/v1/feedback", json={"turn": turn, "vote": vote, "correction": correction})
