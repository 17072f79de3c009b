"""The HTTP application: errors, access, health; the routes are in the modules beside this one."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from kernel.errors import RepriseError, Unauthorized
from kernel.settings import Settings
from ui.api import adapters, chat, documents, index, operations, tuning, uploads, versions, watches
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
        dependencies=[Depends(_guard(settings, hosts))],
    )
    app.state.platform = platform
    app.state.ready = lambda: True
    app.state.closing = lambda: False
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    for module in (documents, uploads, versions, watches, index, tuning, chat, adapters, operations):
        app.include_router(module.router)
    _add_health(app, platform)
    _add_errors(app)
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


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RepriseError)
    def ours(_request: Request, error: RepriseError) -> JSONResponse:
        return JSONResponse({"error": error.as_json()}, status_code=error.status)

    @app.exception_handler(Exception)
    def fault(_request: Request, error: Exception) -> JSONResponse:
        hint = "this is a fault of Reprise; the node's log says where, and nothing acknowledged is lost"
        body = {"code": "internal", "message": f"{type(error).__name__}: {error}", "hint": hint}
        return JSONResponse({"error": body}, status_code=500)

    @app.exception_handler(RequestValidationError)
    def shape(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        body = {
            "code": "bad_request",
            "message": f"the request does not fit: {problems}",
            "hint": "see /docs",
        }
        return JSONResponse({"error": body}, status_code=422)

    @app.exception_handler(HTTPException)
    def other(_request: Request, error: HTTPException) -> JSONResponse:
        code = "not_found" if error.status_code == 404 else "http_error"
        return JSONResponse(
            {"error": {"code": code, "message": str(error.detail), "hint": "see /docs"}},
            status_code=error.status_code,
            headers=error.headers,
        )
