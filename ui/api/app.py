"""The HTTP application: access and health; errors and the routes are in the modules beside this one."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from kernel.errors import Unauthorized
from kernel.settings import Settings
from ui.api import (
    adapters,
    advice,
    chat,
    completions,
    documents,
    examples,
    index,
    judging,
    lineage,
    merging,
    operations,
    people,
    rehearsal,
    rejudging,
    rollout,
    schedules,
    tuning,
    uploads,
    versions,
    watches,
)
from ui.api.access import whole
from ui.api.errors import add_errors
from ui.platform import Platform

VERSION = "0.1.0"
LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]


def make_app(platform: Platform) -> FastAPI:
    """The application over a platform. Answers health checks at once, also while the models still load."""
    settings = platform.settings
    # A page on the web must not reach this node through a name that was re-pointed to loopback (DNS rebinding).
    hosts = [*LOOPBACK, *(h.strip() for h in settings.allowed_hosts.split(",") if h.strip())]
    if settings.api_host not in ("127.0.0.1", "localhost", "::1") and not settings.allowed_hosts:
        hosts = ["*"]
    app = FastAPI(
        title="Reprise",
        version=VERSION,
        description="Versioned documents, cited answers, rehearsal from the same index, gated adapters.",
        dependencies=[Depends(_guard(settings, hosts)), Depends(whole)],
    )
    app.state.platform = platform
    app.state.ready = lambda: True
    app.state.closing = lambda: False
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    for module in (
        documents,
        uploads,
        versions,
        watches,
        index,
        tuning,
        chat,
        completions,
        people,
        examples,
        adapters,
        merging,
        judging,
        schedules,
        lineage,
        advice,
        rollout,
        rehearsal,
        rejudging,
        operations,
    ):
        app.include_router(module.router)
    _add_health(app, platform)
    add_errors(app)
    return app


def _guard(settings: Settings, hosts: list[str]) -> Any:
    """Who may ask: no page of another site through a person's browser, and nobody without the key if there is one."""
    open_paths = {"/healthz", "/readyz", "/docs", "/openapi.json"}

    def check(request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and not _ours(origin, hosts):
            raise Unauthorized(
                f"a page of {origin!r} asked in your browser's name",
                hint="add its host to REPRISE_ALLOWED_HOSTS if it is yours",
                code="foreign_origin",
            )
        if settings.api_key is None or request.url.path in open_paths:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), settings.api_key.encode()):
            raise Unauthorized(
                "this node asks for a key",
                hint="send it as `Authorization: Bearer …`, or set REPRISE_API_KEY",
            )

    return check


def _ours(origin: str, hosts: list[str]) -> bool:
    """True for a page that came from one of our hosts; they are written as for `TrustedHostMiddleware`."""
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    known = [name.strip("[]").lower() for name in hosts]
    return "*" in known or host in known or any(n.startswith("*.") and host.endswith(n[1:]) for n in known)


def _add_health(app: FastAPI, platform: Platform) -> None:
    @app.get("/healthz", tags=["health"])
    def healthz() -> dict[str, bool]:
        """The process answers."""
        return {"ok": True}

    @app.get("/readyz", tags=["health"])
    def readyz() -> JSONResponse:
        """The models are loaded and questions are answered without waiting."""
        ready = bool(app.state.ready())
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    def metrics() -> str:
        """Counts in the Prometheus text format."""
        status = platform.status()
        lines = [f"reprise_{name} {status[name]}" for name in ("epoch", "documents", "versions", "chunks", "points")]
        lines += [f'reprise_examples{{status="{s}"}} {n}' for s, n in status["examples"].items()]
        return "\n".join(lines) + "\n"
