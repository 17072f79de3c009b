"""A look at pages on the web: one page, or those that a sitemap names.

A page is asked for conditionally: with what its server said when it was last fetched. A page must be gone at two looks
before its document goes, since a site in the middle of a change answers 404 for pages that come back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from ingest import sitemap
from ingest.fetch import Fetched, fetch
from ingest.incoming import Incoming
from ingest.look import Coming, Look
from ingest.names import safe_name
from ingest.sources import told_kind
from ingest.tables import WatchItem
from kernel.errors import Refused, RepriseError, Upstream
from kernel.ids import digest, now_ms

_DAY_MS = 86_400_000
_TRUST_MS = 7 * _DAY_MS
"""How long a sitemap's word is taken that a page has not changed. The word is as exact as a day."""
_PATIENCE_SECONDS = 300
"""How long a site may answer nothing but errors before the look leaves the rest of it for the next one."""
_GONE = "page_gone"


def visit(look: Look) -> None:
    """Take in the page, or the pages of the sitemap.

    Raises:
        FileRefused: the sitemap cannot be had or read.
        Refused: the sitemap is empty all at once.
        Upstream: the site answers nothing but errors.
        Cancelled: somebody asked for that.
    """
    url, most = look.watch.location, look.limits.max_upload_mb * 2**20
    if look.watch.kind == "url":
        look.total = 1
        first = _asked(look, url, most)
        if first is None or first.status != "fetched" or not sitemap.is_sitemap(first.content):
            coming = _answered(look, url, first) if first else None
            look.take([coming] if coming else [])
            return
    else:
        first = fetch(url, most)
    listed, _elsewhere = sitemap.pages(first, most)
    if not listed:
        look.refuse_to_empty(f"the sitemap {url!r} names no page")
    look.present |= {page.url for page in listed}
    look.total = len(listed)
    look.take(_pages(look, listed, most))


def _pages(look: Look, listed: list[sitemap.Listed], most: int) -> Iterator[Coming]:
    silent_since: float | None = None
    for page in listed:
        look.done += 1
        look.tell("fetching")
        known = look.items.get(page.url)
        if known is not None and _surely_same(look, known, page):
            look.stands(known)
            continue
        found = _asked(look, page.url, most)
        if found is not None:
            silent_since = None
            coming = _answered(look, page.url, found)
            if coming is not None:
                yield coming
        elif silent_since is None:
            silent_since = time.monotonic()
        elif time.monotonic() - silent_since > _PATIENCE_SECONDS:
            raise Upstream(
                f"{look.watch.location!r} answers nothing but errors",
                hint="the rest of its pages is left for the next look",
                code="site_silent",
            )


def _asked(look: Look, url: str, most: int) -> Fetched | None:
    """What the server says about a page; None if that is an error, which is kept."""
    known = look.items.get(url)
    try:
        if known is None:
            return fetch(url, most)
        return fetch(url, most, etag=known.etag or "", modified=known.modified or "")
    except RepriseError as error:
        look.fail(url, error)
        return None


def _surely_same(look: Look, known: WatchItem, page: sitemap.Listed) -> bool:
    """The sitemap says that the page has not changed since we asked, and we asked not too long ago."""
    if look.asked or page.changed is None or known.error is not None or known.sha256 is None:
        return False
    return page.changed + _DAY_MS <= known.seen and now_ms() - known.seen < _TRUST_MS


def _answered(look: Look, url: str, found: Fetched) -> Coming | None:
    """The page, if it has to be looked at."""
    known = look.items.get(url)
    if known is not None and found.status == "gone":
        if known.error is not None and known.error["code"] == _GONE:
            look.present.discard(url)
        else:
            hint = "if it is not there at the next look either, its document is deleted"
            look.fail(url, Refused(f"{url!r} is not there any more", hint=hint, code=_GONE))
        return None
    if known is not None and found.status == "unchanged":
        look.same(known)
        return None
    look.present.add(url)
    document = look.live(known.document) if known else None
    try:
        name = document.name if document else safe_name(found.name)
    except RepriseError as error:
        look.fail(url, error)
        return None
    return Coming(
        item=url,
        file=Incoming(
            path=told_kind(url, found.name),
            name=name,
            source=url,
            workspace=look.watch.workspace,
            content=found.content,
        ),
        sha256=digest(found.content),
        size=len(found.content),
        modified=found.modified,
        etag=found.etag,
    )
