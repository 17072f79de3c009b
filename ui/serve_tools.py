"""How the tools of `ui.tools` are reached: over standard input and output, or over HTTP on this machine."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from ui.door import Door
from ui.tools import make_server
from ui.visit import Visits

if TYPE_CHECKING:
    from socket import socket

    from starlette.types import ASGIApp, Receive, Scope, Send

HOST, PATH = "127.0.0.1", "/mcp"


def over_stdio(door: Door) -> None:
    """Serve until the input ends. Nothing but the protocol goes to standard output; the SDK sees to that."""
    with closing(_visits(door)) as visits:
        make_server(visits, version("reprise")).run("stdio")


def over_http(door: Door, port: int, announce: Callable[[str], None]) -> None:
    """Serve on loopback until interrupted. Calls `announce(url)` when it answers.

    Raises:
        UserError: the port is taken.
    """
    import uvicorn

    from ui.node import bind

    with closing(_visits(door)) as visits, closing(bind(HOST, port)) as bound, suppress(KeyboardInterrupt):
        app = http_app(visits, door.settings.api_key)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))
        startup = server.startup

        async def announced(sockets: list[socket] | None = None) -> None:
            await startup(sockets)
            if server.started:
                announce(f"http://{HOST}:{bound.getsockname()[1]}{PATH}")

        server.startup = announced  # type: ignore[method-assign]
        server.run(sockets=[bound])


def http_app(visits: Visits, key: str | None) -> ASGIApp:
    """The tools as an HTTP application; other hosts' names, and whoever lacks the key, are refused.

    Stateless: every call stands alone, so a client goes on after a restart as if nothing had been.
    """
    app = make_server(visits, version("reprise")).streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, host=HOST
    )
    return app if key is None else _Keyed(app, key)


class _Keyed:
    """Asks for the key that the API asks for."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._expected = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", [])).get(b"authorization", b"")
        if scope["type"] != "http" or hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
            return
        from starlette.responses import Response

        error = {"code": "unauthorized", "message": "these tools ask for a key", "hint": "send REPRISE_API_KEY's value"}
        headers = {"WWW-Authenticate": "Bearer"}
        await Response(json.dumps({"error": error}), 401, headers, "application/json")(scope, receive, send)


def _visits(door: Door) -> Visits:
    return Visits(lambda: Door(door.settings.home, as_json=False))
