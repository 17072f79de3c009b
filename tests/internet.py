"""An internet for tests: names, addresses and pages, under the real fetch.

`Internet` answers in memory: only the resolver and the transport are ours. `Site` is a real HTTP server on this
machine, which fetch would refuse to ask: `public` gives it a name and a public address, and leads connections to it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from ingest import fetch

ADDRESS = "93.184.216.34"


class Internet:
    """Names, addresses and pages, without a network: the resolver and the transport under the real fetch."""

    def __init__(
        self, patch: pytest.MonkeyPatch, names: dict[str, list[str]], pages: dict[str, httpx.Response]
    ) -> None:
        self.names, self.pages = names, pages
        self.asked: list[httpx.Request] = []
        self.resolved: list[str] = []
        self.dead: set[str] = set()
        """Addresses that take no connection."""
        transport = httpx.MockTransport(self._answer)
        real = httpx.Client
        patch.setattr(fetch.socket, "getaddrinfo", self._resolve)
        patch.setattr(fetch.httpx, "Client", lambda **given: real(transport=transport, **given))

    def _resolve(self, host: str, port: int, **_: Any) -> list[Any]:
        self.resolved.append(host)
        if host not in self.names:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in self.names[host]]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """The page as it comes over a wire: in bytes that nobody has unpacked yet."""
        self.asked.append(request)
        if request.url.host in self.dead:
            raise httpx.ConnectError("no route to host")
        page = self.pages[f"{request.headers['host']}{request.url.raw_path.decode()}"]
        if hasattr(page, "_content") and "content-encoding" not in page.headers:
            return httpx.Response(page.status_code, headers=page.headers, stream=httpx.ByteStream(page.content))
        return page


def packed(content: bytes, encoding: str = "gzip", **headers: str) -> httpx.Response:
    """A response whose body is packed already."""
    given = {"content-encoding": encoding, **headers}
    return httpx.Response(200, headers=given, stream=httpx.ByteStream(content))


@dataclass(slots=True)
class Page:
    """A page of a `Site`; without `etag` and `modified` its server knows no conditions."""

    content: bytes
    kind: str = "text/markdown"
    etag: str | None = None
    modified: str | None = None
    status: int = 200


@dataclass(slots=True)
class Site:
    """A server's pages by path, and what it was asked: (path, status it answered)."""

    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    port: int = 0

    def put(self, path: str, text: str, **given: Any) -> None:
        self.pages[path] = Page(text.encode(), **given)

    def answers(self) -> list[tuple[str, int]]:
        """What it was asked since the last call of this."""
        seen, self.asked = self.asked, []
        return seen


@contextmanager
def serving(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """An HTTP server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def site(patch: pytest.MonkeyPatch, name: str = "site.example") -> Iterator[Site]:
    """A real server, known as `name` at a public address."""
    made = Site()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        page = made.pages.get(handler.path, Page(b"nothing here", status=404))
        known = page.etag is not None and handler.headers.get("If-None-Match") == page.etag
        known |= page.modified is not None and handler.headers.get("If-Modified-Since") == page.modified
        status = 304 if known and page.status == 200 else page.status
        made.asked.append((handler.path, status))
        handler.send_response(status)
        if page.etag:
            handler.send_header("ETag", page.etag)
        if page.modified:
            handler.send_header("Last-Modified", page.modified)
        body = b"" if status == 304 else page.content
        handler.send_header("Content-Type", page.kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with serving(respond) as port:
        made.port = port
        public(patch, {name: port})
        yield made


def public(patch: pytest.MonkeyPatch, ports: dict[str, int]) -> None:
    """Give servers on this machine names at a public address, and lead connections to it there."""
    look_up, real = socket.getaddrinfo, httpx.Client

    def resolve(host: str, port: Any, *rest: Any, **given: Any) -> list[Any]:
        if host in ports:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ADDRESS, port))]
        if host == "127.0.0.1":  # the transport's own
            return look_up(host, port, *rest, **given)
        raise socket.gaierror(-2, "Name or service not known")

    class Rerouted(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert request.url.host == ADDRESS
            there = ports[request.headers["host"].partition(":")[0]]
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=there)
            return super().handle_request(request)

    patch.setattr(fetch.socket, "getaddrinfo", resolve)
    patch.setattr(fetch.httpx, "Client", lambda **given: real(transport=Rerouted(), **given))
