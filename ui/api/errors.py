"""Errors as HTTP tells them: one body everywhere, with OpenAI's fields beside ours where its clients ask.

`{"error": {"code", "message", "hint"}}`; under `/v1/chat/` and `/v1/models` also `type` and `param`, which OpenAI's
clients show, and a request that does not fit is 400 there, as it is at OpenAI, and not 422.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kernel.errors import RepriseError
from ui.api.streaming import fault

_OPENAI = ("/v1/chat/", "/v1/models")


def add_errors(app: FastAPI) -> None:
    """Have every error of `app` told in this shape."""

    @app.exception_handler(RepriseError)
    def ours(request: Request, error: RepriseError) -> JSONResponse:
        return _told(request, error.status, dict(error.as_json()))

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> JSONResponse:
        return _told(request, 500, fault(error))

    @app.exception_handler(RequestValidationError)
    def shape(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = error.errors()
        message = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
        body = {"code": "bad_request", "message": f"the request does not fit: {message}", "hint": "see /docs"}
        return _told(request, 422, body, param=_place(problems))

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> JSONResponse:
        code = "not_found" if error.status_code == 404 else "http_error"
        body = {"code": code, "message": str(error.detail), "hint": "see /docs"}
        told = _told(request, error.status_code, body)
        told.headers.update(error.headers or {})
        return told


def as_openai(status: int, body: dict[str, Any], param: str | None = None) -> dict[str, Any]:
    """Our error with OpenAI's fields: its client reads `message`, `type`, `param` and `code`."""
    kind = "authentication_error" if status == 401 else "invalid_request_error" if status < 500 else "server_error"
    return body | {"type": kind, "param": "model" if body["code"] == "model_not_found" else param}


def _told(request: Request, status: int, body: dict[str, Any], param: str | None = None) -> JSONResponse:
    if request.url.path.startswith(_OPENAI):
        status = 400 if status == 422 else status
        body = as_openai(status, body, param)
    return JSONResponse({"error": body}, status_code=status)


def _place(problems: Sequence[Any]) -> str | None:
    """The first thing that does not fit, as OpenAI writes it: `messages.0.content`."""
    return ".".join(str(part) for part in problems[0]["loc"] if part != "body") or None if problems else None
