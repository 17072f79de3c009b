"""Fetching: no address that is not public is asked, and nothing that comes is larger or slower than allowed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import httpx
import pytest

from ingest import fetch
from kernel.errors import FileRefused
from tests.internet import ADDRESS, Internet, packed

PUBLIC = {"public.example": [ADDRESS], "inside.example": ["10.0.0.7"], "site.example": ["2606:2800:220:1::1", ADDRESS]}
URL = "http://public.example/a.md"


def refusal(url: str, most: int = 2**20, **given: str) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        fetch.fetch(url, most, **given)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:0:127.0.0.1",  # an IPv4-translated address
        "64:ff9b:1::7f00:1",  # NAT64 for local use
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
        "2606:4700::5efe:10.0.0.1",  # ISATAP
        "2606:4700::200:5efe:192.168.0.1",
        "168.63.129.16",  # a cloud's metadata at an address of the open internet
        "::ffff:168.63.129.16",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "192.88.99.1",
        "2001:db8::1",
        "3fff::1",
        "fd00:ec2::254",
        "198.18.0.1",
        "203.0.113.9",
        "5f00::1",
        "::ffff:0.0.0.0",
    ],
)
def test_no_special_address_is_asked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    internet = Internet(monkeypatch, {"x.example": [ADDRESS, address]}, {})
    assert refusal("http://x.example/").code == "private_address"
    assert not internet.asked


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:hunter2@public.example/", "a name or a password"),
        ("http://hunter2@public.example/", "a name or a password"),
        ("http://public.example:22/", "port 22 is not one of the web"),
        ("http://public.example:0/", "port 0 is not one of the web"),
        ("https://public.example:25/", "port 25"),
        ("gopher://public.example/", "not an http"),
        ("http://nobody.example/", "is not known"),
        ("http://a..b\u00fc.example/", "cannot be the name of a host"),
    ],
)
def test_an_odd_address_is_refused_and_tells_no_password(monkeypatch: pytest.MonkeyPatch, url: str, said: str) -> None:
    internet = Internet(monkeypatch, PUBLIC, {})
    error = refusal(url)
    assert error.code == "url_refused"
    assert said in error.message
    assert "hunter2" not in error.message
    assert not internet.asked


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://inside.example/admin", "private_address"),
        ("http://[::ffff:10.0.0.1]/", "private_address"),
        ("http://169.254.169.254/latest/meta-data/", "private_address"),
        ("http://public.example:22/", "url_refused"),
        ("http://root:toor@public.example/", "url_refused"),
        ("file:///etc/passwd", "url_refused"),
        ("ftp://public.example/", "url_refused"),
    ],
)
def test_a_redirect_is_checked_as_the_first_address_is(
    monkeypatch: pytest.MonkeyPatch, location: str, code: str
) -> None:
    names = {**PUBLIC, "::ffff:10.0.0.1": ["::ffff:10.0.0.1"], "169.254.169.254": ["169.254.169.254"]}
    moved = {"public.example/a.md": httpx.Response(302, headers={"location": location})}
    internet = Internet(monkeypatch, names, moved)
    assert refusal(URL).code == code
    assert len(internet.asked) == 1


def test_five_redirects_are_followed_and_a_sixth_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    hops = {f"public.example/{i}": httpx.Response(302, headers={"location": f"/{i + 1}"}) for i in range(6)}
    internet = Internet(monkeypatch, PUBLIC, hops | {"public.example/5": httpx.Response(200, content=b"there")})
    assert fetch.fetch("http://public.example/0", 100).content == b"there"
    internet.pages = hops
    assert "more than 5 times" in refusal("http://public.example/0").message


def test_a_name_in_another_script_is_asked_by_its_ascii_name(monkeypatch: pytest.MonkeyPatch) -> None:
    internet = Internet(
        monkeypatch,
        {"xn--mnchen-3ya.example": [ADDRESS]},
        {"xn--mnchen-3ya.example/": httpx.Response(200, content=b"Gr\xc3\xbc\xc3\x9f Gott")},
    )
    assert fetch.fetch("https://m\u00fcnchen.example/", 100).content
    (asked,) = internet.asked
    assert asked.headers["host"] == "xn--mnchen-3ya.example"
    assert asked.extensions["sni_hostname"] == "xn--mnchen-3ya.example"


def test_the_next_address_of_a_host_is_asked_when_one_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    internet = Internet(monkeypatch, PUBLIC, {"site.example/": httpx.Response(200, content=b"here")})
    internet.dead.add("2606:2800:220:1::1")
    assert fetch.fetch("http://site.example/", 100).content == b"here"
    assert [request.url.host for request in internet.asked] == ["2606:2800:220:1::1", ADDRESS]


# --- what comes ----------------------------------------------------------------------------------


def test_a_packed_page_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    two = gzip.compress(b"# One\n") + gzip.compress(b"two\n")  # gzip allows several, one behind the other
    pages = {"public.example/a.md": packed(two), "public.example/b.md": packed(zlib.compress(b"# B"), "deflate")}
    internet = Internet(monkeypatch, PUBLIC, pages)
    assert fetch.fetch(URL, 1000).content == b"# One\ntwo\n"
    assert fetch.fetch("http://public.example/b.md", 1000).content == b"# B"
    assert internet.asked[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("page", "most", "code", "said"),
    [
        (lambda: packed(gzip.compress(bytes(3 * 2**20))), 2**20, "too_large", "larger than 1 MiB"),
        (lambda: packed(gzip.compress(bytes(60 * 2**20))), 50 * 2**20, "too_large", "200 times its size"),
        (lambda: packed(gzip.compress(b"x" * 100)[:-9]), 2**20, "url_refused", "damaged"),
        (lambda: packed(b"no gzip at all"), 2**20, "url_refused", "damaged"),
        (lambda: packed(b"x", "br"), 2**20, "url_refused", "'br'"),
        (lambda: packed(b"x", "gzip, gzip"), 2**20, "url_refused", "'gzip, gzip'"),
        (lambda: httpx.Response(200, headers={"content-length": "9" * 12}), 2**20, "too_large", "larger than"),
    ],
)
def test_what_is_packed_too_well_or_badly_is_refused(
    monkeypatch: pytest.MonkeyPatch, page: Callable[[], httpx.Response], most: int, code: str, said: str
) -> None:
    Internet(monkeypatch, PUBLIC, {"public.example/a.md": page()})
    error = refusal(URL, most)
    assert error.code == code
    assert said in error.message


def test_unpacking_never_makes_more_than_was_allowed() -> None:
    pieces = fetch.unpacked([gzip.compress(bytes(100 * 2**20), 1)], 10_000)
    made: list[bytes] = []
    with pytest.raises(OverflowError):
        made.extend(pieces)
    assert sum(map(len, made)) <= 10_000


# --- asking again --------------------------------------------------------------------------------


def test_a_page_is_asked_again_with_what_its_server_said(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"etag": '"v1"', "last-modified": "Sun, 01 Nov 2026 08:00:00 GMT", "content-type": "text/markdown"}
    internet = Internet(monkeypatch, PUBLIC, {"public.example/a.md": httpx.Response(200, content=b"x", headers=told)})
    first = fetch.fetch(URL, 1000)
    assert (first.status, first.etag, first.modified) == ("fetched", '"v1"', "Sun, 01 Nov 2026 08:00:00 GMT")
    internet.pages["public.example/a.md"] = httpx.Response(304)
    again = fetch.fetch(URL, 1000, etag=first.etag, modified=first.modified)
    assert (again.status, again.content, again.etag) == ("unchanged", b"", '"v1"')
    assert internet.asked[0].headers.get("if-none-match") is None
    assert internet.asked[1].headers["if-none-match"] == '"v1"'
    assert internet.asked[1].headers["if-modified-since"] == "Sun, 01 Nov 2026 08:00:00 GMT"


@pytest.mark.parametrize("status", [404, 410])
def test_a_page_is_gone_only_for_somebody_who_knew_it(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    Internet(monkeypatch, PUBLIC, {"public.example/a.md": httpx.Response(status)})
    assert fetch.fetch(URL, 1000, etag="", modified="").status == "gone"
    error = refusal(URL)
    assert error.code == "url_refused"
    assert str(status) in error.message


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_server_in_trouble_says_nothing_about_a_page(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    Internet(monkeypatch, PUBLIC, {"public.example/a.md": httpx.Response(status)})
    assert refusal(URL, etag='"v1"').code == "url_refused"


def test_a_header_that_could_smuggle_another_is_not_sent_back(monkeypatch: pytest.MonkeyPatch) -> None:
    internet = Internet(monkeypatch, PUBLIC, {"public.example/a.md": httpx.Response(304)})
    fetch.fetch(URL, 1000, etag='"a"\r\nX-Evil: 1', modified="\u00fc")
    (asked,) = internet.asked
    assert not {"if-none-match", "if-modified-since", "x-evil"} & set(asked.headers)
