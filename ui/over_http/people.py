"""A person's own things, over HTTP. Who it is goes along in a header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ui.over_http.connection import Connection, as_user


class People(Connection):
    def conversations(self, user: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        return self._call("GET", "/v1/conversations", params={"limit": limit}, headers=as_user(user))

    def conversation(self, conversation: str, user: str | None = None) -> dict[str, Any]:
        return self._call("GET", _at(conversation), headers=as_user(user))

    def rename_conversation(self, conversation: str, title: str, user: str | None = None) -> dict[str, Any]:
        return self._call("PATCH", _at(conversation), json={"title": title}, headers=as_user(user))

    def delete_conversation(self, conversation: str, user: str | None = None) -> dict[str, Any]:
        return self._call("DELETE", _at(conversation), headers=as_user(user))

    def me(self, user: str | None = None) -> dict[str, Any]:
        return self._call("GET", "/v1/me", headers=as_user(user))

    def set_me(self, changes: Mapping[str, Any], user: str | None = None) -> dict[str, Any]:
        return self._call("PATCH", "/v1/me", json=dict(changes), headers=as_user(user))

    def export_me(self, user: str | None = None) -> dict[str, Any]:
        return self._call("GET", "/v1/me/export", headers=as_user(user))

    def erase_me(self, user: str | None = None) -> dict[str, Any]:
        return self._call("DELETE", "/v1/me", headers=as_user(user))


def _at(conversation: str) -> str:
    return f"/v1/conversations/{quote(conversation, safe='')}"
