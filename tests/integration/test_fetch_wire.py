"""Fetching over a real connection: bounds hold on the wire, and a server that dawdles is cut off."""

from __future__ import annotations

import gzip
import time
from http.server import BaseHTTPRequestHandler

import pytest

from ingest import fetch
from kernel.errors import FileRefused
from tests.internet import public, serving, site

pytestmark = pytest.mark.integration


def test_a_page_comes_over_a_connection_and_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with site(monkeypatch) as server:
        server.put("/a.md", "# A", etag='"1"')
        first = fetch.fetch("http://site.example/a.md", 1000)
        assert (first.content, first.etag) == (b"# A", '"1"')
        assert fetch.fetch("http://site.example/a.md", 1000, etag=first.etag).status == "unchanged"
        assert fetch.fetch("http://site.example/b.md", 1000, etag="").status == "gone"
        assert [status for _, status in server.answers()] == [200, 304, 404]


def test_a_bomb_is_given_up_long_before_it_has_gone_off(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(bytes(200 * 2**20), 9)

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(bomb)))
        handler.end_headers()
        try:
            handler.wfile.write(bomb)
        except OSError:
            handler.close_connection = True

    with serving(respond) as port:
        public(monkeypatch, {"bomb.example": port})
        with pytest.raises(FileRefused) as caught:
            fetch.fetch("http://bomb.example/", 2**20)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("where", "seconds"), [("headers", 0.5), ("body", 0.5), pytest.param("headers", 0.0, id="over before it begins")]
)
def test_a_server_that_sends_a_byte_at_a_time_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, where: str, seconds: float
) -> None:
    monkeypatch.setattr(fetch, "MAX_SECONDS", seconds)
    sent = 0

    def respond(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        start = b"HTTP/1.1 200 OK\r\nX-Slow: " + (b"" if where == "headers" else b"x\r\nContent-Length: 99999\r\n\r\n")
        handler.close_connection = True
        try:
            handler.wfile.write(start)
            for _ in range(400):  # 20 s, if nobody hangs up
                handler.wfile.write(b"x")
                sent += 1
                time.sleep(0.05)
        except OSError:
            return

    with serving(respond) as port:
        public(monkeypatch, {"slow.example": port})
        with pytest.raises(FileRefused) as caught:
            fetch.fetch("http://slow.example/", 2**20)
    assert "took longer" in caught.value.message
    assert sent < 200
