"""Asking, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kernel.errors import Failed
from ui.over_http.connection import Connection, as_error, as_user


class Questions(Connection):
    def search(self, query: str, k: int = 10, *, user: str | None = None, **where: Any) -> dict[str, Any]:
        sent = {"query": query, "k": k, **where}
        return self._call("POST", "/v1/search", json=sent, headers=as_user(user))

    def ask(self, question: str, k: int | None = None, *, user: str | None = None, **where: Any) -> dict[str, Any]:
        sent = {"question": question, "k": k, **where}
        return self._call("POST", "/v1/ask", json=sent, headers=as_user(user))

    def ask_stream(
        self, question: str, k: int | None = None, *, user: str | None = None, **where: Any
    ) -> Iterator[dict[str, Any]]:
        sent = {"question": question, "k": k, **where}
        for line in self._lines("POST", "/v1/ask/stream", json=sent, headers=as_user(user)):
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if event["type"] == "error":
                    raise as_error(event["status"], event["error"])
                yield event
                if event["type"] == "done":
                    return
        raise Failed(f"the node at {self.url} stopped in the middle of an answer", hint="ask again", code="broken_off")

    def turns(self, limit: int = 50) -> list[dict[str, Any]]:
        return self._get("/v1/turns", limit=limit)

    def feedback(self, turn: str, vote: str, correction: str | None = None) -> dict[str, Any]:
        return self._call("POST", "/v1/feedback", json={"turn": turn, "vote": vote, "correction": correction})
