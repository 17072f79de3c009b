"""The connection to a node: requests, its errors as ours, and waiting for a job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

from kernel.errors import (
    Conflict,
    DiskFull,
    Failed,
    NotFound,
    Refused,
    RepriseError,
    TryAgain,
    Unauthorized,
    Upstream,
    UserError,
)
from kernel.types import Progress, silent

_BY_STATUS: dict[int, type[RepriseError]] = {
    401: Unauthorized,
    404: NotFound,
    409: Conflict,
    422: Refused,
    502: Upstream,
    503: TryAgain,
    507: DiskFull,
}
_BY_CODE: dict[str, type[RepriseError]] = {kind.code: kind for kind in (UserError, NotFound, Conflict)}


class Connection:
    """Talks to one node. Raises the same errors the node raised."""

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 600) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy set for the internet has no business between us and our node.
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False)
        self.url = url

    def ready(self) -> bool:
        """True once the node answers questions without waiting; False also when it does not answer."""
        try:
            return self._http.get("/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def status(self) -> dict[str, Any]:
        return self._get("/v1/status")

    def job(self, job: str) -> dict[str, Any]:
        return self._get(f"/v1/jobs/{quote(job)}")

    def wait_job(self, job: str, progress: Progress = silent) -> dict[str, Any]:
        """Poll a job to its end."""
        pause = 0.02
        while True:
            row = self.job(job)
            progress(row["progress"]["stage"], row["progress"]["done"], row["progress"]["total"])
            if row["state"] in ("done", "failed", "cancelled"):
                return row
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)

    def _get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params=given(**query))

    def _call(self, method: str, path: str, **sent: Any) -> Any:
        return self._send(method, path, **sent).json()

    def _send(self, method: str, path: str, **sent: Any) -> httpx.Response:
        with self._reaching():
            response = self._http.request(method, path, **sent)
        if response.is_error:
            raise as_error(response.status_code, body_of(response))
        return response

    def _lines(self, method: str, path: str, **sent: Any) -> Iterator[str]:
        """The lines of an answer as they come."""
        with self._reaching(), self._http.stream(method, path, **sent) as response:
            if response.is_error:
                response.read()
                raise as_error(response.status_code, body_of(response))
            yield from response.iter_lines()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise Failed(
                f"the node at {self.url} does not answer: {error}",
                hint="start it with `reprise up`, or unset REPRISE_API to work without one",
                code="node_unreachable",
            ) from error


def as_user(user: str | None) -> dict[str, str]:
    """The header that says whose call this is; none where nobody was named."""
    return {} if user is None else {"X-Reprise-User": quote(user, safe="")}


def given(**query: Any) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def body_of(response: httpx.Response) -> dict[str, Any]:
    """What a node said was wrong; the beginning of its answer where that is not ours."""
    try:
        body = response.json().get("error")
    except (ValueError, AttributeError):
        body = None
    return body or {"message": response.text[:300]}


def as_error(status: int, body: dict[str, Any]) -> RepriseError:
    kind = _BY_STATUS.get(status, UserError if 400 <= status < 500 else Failed)
    if body.get("code") in _BY_CODE:  # which tells of a job's error as well, that has no status
        kind = _BY_CODE[body["code"]]
    return kind(body.get("message", "unknown error"), hint=body.get("hint", ""), code=body.get("code"))
