"""Sitemaps: what a site says its pages are, and nothing that such a file must not do."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

import httpx
import pytest

from ingest import sitemap, sources
from ingest.fetch import Fetched
from kernel.errors import FileRefused, RepriseError, UserError
from tests.internet import ADDRESS, Internet

SITE = "https://site.example"
NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><urlset><url><loc>https://site.example/&c;</loc></url></urlset>'
)


def urlset(urls: Iterable[str], lastmod: str = "") -> bytes:
    changed = f"<lastmod>{lastmod}</lastmod>" if lastmod else ""
    entries = "".join(f"<url><loc> {url} </loc>{changed}</url>" for url in urls)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- ours -->\n<urlset {NAMESPACE}>{entries}</urlset>'.encode()


def index(urls: Iterable[str]) -> bytes:
    entries = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in urls)
    return f"<sitemapindex {NAMESPACE}>{entries}</sitemapindex>".encode()


def fetched(content: bytes, url: str = f"{SITE}/sitemap.xml") -> Fetched:
    return Fetched(name="site.example/sitemap.xml", url=url, content=content)


def listed(content: bytes, **given: bool) -> list[str]:
    pages, _ = sitemap.pages(fetched(content), 2**20, **given)
    return [page.url for page in pages]


def refusal(content: bytes) -> RepriseError:
    with pytest.raises(FileRefused) as caught:
        sitemap.pages(fetched(content), 2**20)
    assert caught.value.hint
    return caught.value


def answers(monkeypatch: pytest.MonkeyPatch, pages: dict[str, bytes]) -> Internet:
    names = {"site.example": [ADDRESS], "inside.example": ["10.0.0.1"]}
    found = {f"site.example{path}": httpx.Response(200, content=content) for path, content in pages.items()}
    return Internet(monkeypatch, names, found)


def test_a_sitemap_is_known_by_what_it_says() -> None:
    assert sitemap.is_sitemap(urlset([]))
    assert sitemap.is_sitemap(gzip.compress(index([])))
    assert sitemap.is_sitemap("\ufeff<urlset/>".encode())
    for other in (b"", b"<html><body>urlset", b"# urlset", b"<urlsets/>", b"\x1f\x8bnot gzip", b"<", LAUGHS[:60]):
        assert not sitemap.is_sitemap(other)


def test_its_pages_come_in_order_and_each_once() -> None:
    pages, elsewhere = sitemap.pages(
        fetched(urlset([f"{SITE}/b", f"{SITE}/a", f"{SITE}/b", "/c", "mailto:x@site.example"], "2026-11-01")), 2**20
    )
    assert [page.url for page in pages] == [f"{SITE}/b", f"{SITE}/a", f"{SITE}/c"]
    assert {page.changed for page in pages} == {1793491200000}
    assert elsewhere == 0
    assert sitemap.pages(fetched(urlset([f"{SITE}/a"], "yesterday")), 2**20)[0][0].changed is None


def test_a_packed_sitemap_is_unpacked_within_bounds() -> None:
    assert listed(gzip.compress(urlset([f"{SITE}/a"]))) == [f"{SITE}/a"]
    assert refusal(gzip.compress(urlset([f"{SITE}/a"]) + b" " * 2**21)).code == "sitemap_too_large"


def test_pages_of_other_hosts_are_left_out_unless_they_are_wanted() -> None:
    both = urlset([f"{SITE}/a", "https://other.example/b", "https://SITE.example/c"])
    pages, elsewhere = sitemap.pages(fetched(both), 2**20)
    assert [page.url for page in pages] == [f"{SITE}/a", "https://SITE.example/c"]
    assert elsewhere == 1
    assert len(listed(both, same_host=False)) == 3
    assert "on other hosts" in refusal(urlset(["https://other.example/b"])).message


def test_a_list_of_sitemaps_is_followed_two_deep_and_no_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = {"/1.xml": index([f"{SITE}/2.xml"]), "/2.xml": urlset([f"{SITE}/a"])}
    answers(monkeypatch, inner | {"/0.xml": index([f"{SITE}/1.xml"])})
    assert listed(index([f"{SITE}/1.xml"])) == [f"{SITE}/a"]
    assert refusal(index([f"{SITE}/0.xml"])).code == "sitemap_too_deep"


def test_sitemaps_that_name_each_other_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = index([f"{SITE}/sitemap.xml", f"{SITE}/ring.xml"])
    internet = answers(monkeypatch, {"/ring.xml": ring})
    assert listed(ring) == []
    assert len(internet.asked) == 1


def test_an_inner_sitemap_is_fetched_as_carefully_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    internet = answers(monkeypatch, {})
    with pytest.raises(FileRefused) as caught:
        sitemap.pages(fetched(index(["http://inside.example/x.xml"])), 2**20, same_host=False)
    assert caught.value.code == "private_address"
    assert not internet.asked


def test_a_sitemap_of_too_many_pages_is_refused() -> None:
    assert refusal(urlset(f"{SITE}/{i}" for i in range(sitemap.MAX_PAGES + 1))).code == "sitemap_too_large"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (LAUGHS, "sitemap_unsafe"),
        (b'<!DOCTYPE urlset SYSTEM "file:///etc/passwd"><urlset></urlset>', "sitemap_unsafe"),
        (b'<!DOCTYPE u [<!ENTITY x SYSTEM "file:///etc/passwd">]><urlset><url><loc>&x;</loc></url></urlset>',
         "sitemap_unsafe"),
        (urlset([f"{SITE}/a"])[:-9], "sitemap_refused"),
        (b"<html/>", "sitemap_refused"),
        (b"", "sitemap_refused"),
        (b'<?xml version="1.0" encoding="klingon"?><urlset/>', "sitemap_refused"),
    ],
)  # fmt: skip
def test_what_a_sitemap_must_not_be_is_refused(content: bytes, code: str) -> None:
    assert refusal(content).code == code


def test_ingest_reads_the_pages_of_a_sitemap_and_goes_on_past_a_bad_one(monkeypatch: pytest.MonkeyPatch) -> None:
    internet = answers(monkeypatch, {"/a.md": b"# A\n", "/c.md": b"# C\n", "/list": urlset(
        [f"{SITE}/a.md", f"{SITE}/b.md", f"{SITE}/c.md", "https://other.example/x"])})  # fmt: skip
    internet.pages["site.example/b.md"] = httpx.Response(500)
    refused: list[tuple[str, RepriseError]] = []
    files = list(sources.read([f"{SITE}/list"], workspace="w", refused=refused))
    assert [(file.name, file.source, file.content) for file in files] == [
        ("site.example/a.md", f"{SITE}/a.md", b"# A\n"),
        ("site.example/c.md", f"{SITE}/c.md", b"# C\n"),
    ]
    assert [(where, error.code) for where, error in refused] == [
        (f"{SITE}/b.md", "url_refused"),
        (f"{SITE}/list", "other_host"),
    ]


def test_a_sitemap_is_no_single_document(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"/list": urlset([f"{SITE}/a.md"])})
    refused: list[tuple[str, RepriseError]] = []
    assert not list(sources.read([f"{SITE}/list"], workspace="w", as_name="x.md", refused=refused))
    assert isinstance(refused[0][1], UserError)
