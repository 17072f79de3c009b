"""Sitemaps: a site's own list of its pages, and lists of such lists (https://www.sitemaps.org/protocol.html).

A sitemap is recognised by what it says, not by its name. It is read without entities or a DTD, packed or plain, within
limits. It knows nothing of documents; the pages it names are fetched by whoever asked.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from ingest.fetch import Fetched, fetch, unpacked
from kernel.errors import FileRefused, UserError
from kernel.ids import parse_time

MAX_PAGES, MAX_SITEMAPS, MAX_NESTING = 10_000, 500, 2
MAX_BYTES = 50 * 2**20
"""Of one sitemap, unpacked: the protocol's own limit."""
_ROOTS = ("urlset", "sitemapindex")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page that a sitemap names. `changed` (ms) is what the site says about it, which is a hint and no more."""

    url: str
    changed: int | None = None


@dataclass(slots=True)
class _Reading:
    host: str
    same_host: bool
    pages: dict[str, Listed] = field(default_factory=dict)
    elsewhere: int = 0
    seen: set[str] = field(default_factory=set)


def is_sitemap(content: bytes) -> bool:
    """True if the bytes begin as a sitemap or an index of sitemaps does, packed or not."""
    return _root(content) in _ROOTS


def named_like_one(url: str) -> bool:
    """True if the address looks like a sitemap's: for a first guess, before anything is fetched."""
    last = urlsplit(url).path.rpartition("/")[2].lower()
    return "sitemap" in last and last.endswith((".xml", ".xml.gz"))


def pages(first: Fetched, max_bytes: int, *, same_host: bool = True) -> tuple[list[Listed], int]:
    """(the pages that a fetched sitemap names, and those that the sitemaps it names do, in order and each once; how
    many were left out because they are on other hosts).

    Args:
        same_host: leave out pages and sitemaps of other hosts.

    Raises:
        FileRefused: it is none, or one of its sitemaps cannot be had or exceeds the limits.
    """
    reading = _Reading(host=_host(first.url), same_host=same_host)
    reading.seen.add(first.url)
    _read(reading, first, min(max_bytes, MAX_BYTES), 0)
    if not reading.pages and reading.elsewhere:
        raise _refusal(
            first.url,
            f"all of its {reading.elsewhere:,} addresses are on other hosts than {reading.host!r}",
            "give the sitemap of the site whose pages you want",
        )
    return list(reading.pages.values()), reading.elsewhere


def left_out(url: str, elsewhere: int) -> FileRefused:
    """What is said of a sitemap some of whose addresses are on other hosts."""
    return _refusal(
        url,
        f"{elsewhere:,} of its addresses are on other hosts than {_host(url)!r} and were left out",
        "give them, or the sitemaps of those hosts, themselves",
        code="other_host",
    )


def _read(reading: _Reading, found: Fetched, max_bytes: int, depth: int) -> None:
    kind, entries = _entries(found.url, _plain(found, max_bytes))
    nested: list[str] = []
    for entry in entries:
        if not entry.url.startswith(("http://", "https://")):
            continue
        if reading.same_host and _host(entry.url) != reading.host:
            reading.elsewhere += 1
        elif kind == "sitemapindex":
            nested.append(entry.url)
        else:
            reading.pages.setdefault(entry.url, entry)
            if len(reading.pages) > MAX_PAGES:
                raise _refusal(
                    found.url,
                    f"it names more than {MAX_PAGES:,} pages",
                    "give one of its smaller sitemaps",
                    code="sitemap_too_large",
                )
    if nested and depth == MAX_NESTING:
        raise _refusal(
            found.url,
            f"its lists of sitemaps are nested more than {MAX_NESTING} deep",
            "give one of the inner sitemaps",
            code="sitemap_too_deep",
        )
    for url in nested:
        if url in reading.seen:
            continue
        reading.seen.add(url)
        if len(reading.seen) > MAX_SITEMAPS:
            raise _refusal(
                found.url,
                f"it names more than {MAX_SITEMAPS} sitemaps",
                "give one of the inner sitemaps",
                code="sitemap_too_large",
            )
        _read(reading, fetch(url, max_bytes), max_bytes, depth + 1)


def _plain(found: Fetched, max_bytes: int) -> bytes:
    """Its XML, unpacked where it is packed."""
    if not found.content.startswith(b"\x1f\x8b"):
        return found.content
    try:
        return b"".join(unpacked([found.content], max_bytes))
    except OverflowError:
        raise _refusal(
            found.url,
            f"it unpacks to more than {max_bytes // 2**20} MiB",
            "give one of its smaller sitemaps",
            code="sitemap_too_large",
        ) from None
    except zlib.error as error:
        raise _refusal(found.url, f"it is damaged: {error}", "try again later") from error


def _entries(url: str, xml: bytes) -> tuple[str, Iterator[Listed]]:
    """(kind of sitemap, its entries); the XML is read piece by piece."""
    kind = _root(xml)
    if kind not in _ROOTS:
        raise _refusal(url, "it is not a sitemap", "its first element must be <urlset> or <sitemapindex>")
    return kind, _walk(url, xml)


def _walk(url: str, xml: bytes) -> Iterator[Listed]:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    try:
        for _, element in iterparse(io.BytesIO(xml), events=("end",), forbid_dtd=True):
            if _local(element) in ("url", "sitemap"):
                place = _child(element, "loc")
                if place:
                    yield Listed(url=urljoin(url, place), changed=_when(_child(element, "lastmod")))
                element.clear()
    except DefusedXmlException as error:
        raise _refusal(
            url,
            "it defines entities of its own, which a sitemap has no need of",
            "ask the owner of the site to correct it",
            code="sitemap_unsafe",
        ) from error
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an encoding there is none of
        raise _refusal(url, f"it is not well-formed XML: {error}", "check it in a browser") from error


def _root(content: bytes) -> str:
    """The name of an XML text's first element; empty if there is none near its beginning."""
    if content.startswith(b"\x1f\x8b"):
        try:
            content = next(unpacked([content[:65536]], 2**20, 47), b"")
        except (OverflowError, zlib.error):
            return ""
    head = content[:65536].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(b"<"):
        return ""
    from lxml import etree

    # Recovering, without entities: only the name of the first element is asked for, and the rest is cut off.
    parser = etree.XMLPullParser(events=("start",), resolve_entities=False, no_network=True, recover=True)
    try:
        parser.feed(head)
        for _, element in parser.read_events():
            return str(_local(element))
    except etree.LxmlError:
        return ""
    return ""


def _local(element: Any) -> str:
    """An element's name without its namespace; what is no element, such as a comment, has none."""
    return str(element.tag).rpartition("}")[2] if isinstance(element.tag, str) else ""


def _child(element: Any, name: str) -> str:
    return next(((child.text or "").strip() for child in element if _local(child) == name), "")


def _when(told: str) -> int | None:
    try:
        return parse_time(told) if told else None
    except (UserError, OverflowError):
        return None


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _refusal(url: str, why: str, hint: str, code: str = "sitemap_refused") -> FileRefused:
    return FileRefused(f"the sitemap {url!r} cannot be read: {why}", hint=hint, code=code)
