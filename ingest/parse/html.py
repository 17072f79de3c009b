"""HTML: what a reader sees, in reading order; markup, scripts, navigation and hidden parts are left out.

Links and images keep their words only. Tables become Markdown tables unless they merely lay out the page.
Nothing is fetched, and no entity or reference of the document is followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ingest.parse.compose import Composer
from ingest.parse.encoding import declared_in_xml, decode_noting
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.titles import one_line, plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Parsed

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

MEDIA_TYPE = "text/html"

_DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_XML_OPENING = re.compile(r"\s*<\?xml.*?\?>", re.DOTALL)
_UNSEEN_STYLE = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_UNSEEN = re.compile(
    r"script|style|nav|noscript|template|iframe|object|embed|applet|svg|canvas|audio|video|map|button|select"
    r"|input|textarea|datalist|annotation|annotation-xml|head|title|meta|link|base"
)
_BLOCK = re.compile(
    r"html|body|div|p|section|article|aside|main|header|footer|address|blockquote|figure|figcaption|details"
    r"|summary|fieldset|form|legend|center|dl|dt|dd|hr|ul|ol|menu|li|pre|table|caption|thead|tbody|tfoot|tr|td|th"
    r"|dialog|hgroup|search|h[1-6]"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BREAK = "\0"  # stands for <br> until spaces are collapsed; a decoded text holds no NUL of its own
_CELL_CHARS = 1000


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The visible text. The title is the first `<h1>`, else `<title>`, else the file's stem.

    Raises:
        FileRefused: `undecodable_text`, `limit_max_text_mb`, or `no_text` for a page that shows no words by itself.
    """
    head = content[:4096]
    meta = _DECLARED.search(head)
    text, notes = decode_noting(content, name, meta[1].decode("ascii", "ignore") if meta else declared_in_xml(head))
    soup = _soup(text)
    page_title = plausible_title(soup.title.get_text()) if soup.title else None
    composer = Composer(name, limits)
    for note in notes:
        composer.note(note)
    _write(soup, composer)
    parsed = composer.finish(title=composer.first_title or page_title or stem(name), media_type=MEDIA_TYPE)
    if not parsed.text:
        raise FileRefused(
            f"{name!r} shows no text without running its scripts",
            hint="Save the page from a browser after it has loaded, or print it to PDF.",
            code="no_text",
        )
    return parsed


def fragment(source: str, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The visible text of a piece of HTML inside another file, empty if it shows none. `name` is that file's."""
    composer = Composer(name, limits)
    _write(_soup(source), composer)
    return composer.finish(title="", media_type=MEDIA_TYPE)


def _write(soup: BeautifulSoup, composer: Composer) -> None:
    _remove_unseen(soup)
    _Reader(composer).walk(soup)


def _soup(text: str) -> BeautifulSoup:
    from bs4 import BeautifulSoup

    # Without the XML declaration, and inside an element, Beautiful Soup does not warn that this may be XML or
    # a path.
    return BeautifulSoup(f"<html>{_XML_OPENING.sub('', text, count=1)}", "lxml")


def _remove_unseen(soup: BeautifulSoup) -> None:
    from bs4 import Tag

    pending: list[Tag] = [soup]
    while pending:
        for child in list(pending.pop().contents):
            if not isinstance(child, Tag):
                continue
            if _is_unseen(child):
                child.decompose()
                continue
            if child.name == "br":
                child.insert_before(_BREAK)
            pending.append(child)


def _is_unseen(tag: Tag) -> bool:
    return (
        _UNSEEN.fullmatch(tag.name) is not None
        or tag.has_attr("hidden")
        or tag.get("role") == "navigation"
        or _UNSEEN_STYLE.search(str(tag.get("style") or "")) is not None
    )


class _Reader:
    """Walks the tree without recursion, since pages nest deeper than Python's stack allows."""

    def __init__(self, composer: Composer) -> None:
        self.composer = composer
        self._inline: list[str] = []
        self._depth = -1  # of lists
        self._bullet = False

    def walk(self, root: Tag) -> None:
        from bs4 import NavigableString, Tag
        from bs4.element import PreformattedString

        stack: list[tuple[Iterator[Any], str]] = [(iter(root.contents), "")]
        while stack:
            children, name = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                self._leave(name)
            elif isinstance(child, NavigableString):
                # Comments, doctypes and processing instructions are strings of this kind, too.
                if not isinstance(child, PreformattedString):
                    self._inline.append(str(child))
            elif isinstance(child, Tag) and not self._whole(child):
                self._enter(child.name)
                stack.append((iter(child.contents), child.name))
        self._flush()

    def _whole(self, tag: Tag) -> bool:
        """Write what is written in one piece; False for a tag to be walked into."""
        if tag.name in _HEADINGS:
            self._flush()
            self.composer.heading(_HEADINGS[tag.name], _inline_text(tag))
            return True
        if tag.name == "pre":
            self._flush()
            self.composer.code(tag.get_text().replace(_BREAK, "\n"))
            return True
        if tag.name == "table" and (rows := _data_rows(tag)):
            self._flush()
            if tag.caption:
                self.composer.paragraph(_inline_text(tag.caption))
            self.composer.table(rows)
            return True
        return False

    def _enter(self, name: str) -> None:
        if _BLOCK.fullmatch(name):
            self._flush()
        if name in ("ul", "ol", "menu"):
            self._depth += 1
        elif name == "li":
            self._bullet = True

    def _leave(self, name: str) -> None:
        if _BLOCK.fullmatch(name):
            self._flush()
        if name in ("ul", "ol", "menu"):
            self._depth -= 1
        elif name == "li":
            self._bullet = False

    def _flush(self) -> None:
        text = _collapse("".join(self._inline))
        self._inline.clear()
        if not text:
            return
        if self._bullet or self._depth >= 0:
            self.composer.item(text, max(self._depth, 0), marked=self._bullet)
            self._bullet = False
        else:
            self.composer.paragraph(text)


def _collapse(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split(_BREAK))
    return "\n".join(lines).strip()


def _inline_text(tag: Tag) -> str:
    """The words of a heading or cell: block elements inside it part words, inline ones do not."""
    separated = any(_BLOCK.fullmatch(child.name) for child in tag.find_all(True))
    return one_line(tag.get_text(" " if separated else "").replace(_BREAK, " "))


def _data_rows(table: Tag) -> list[list[str]]:
    """The cells of a table that holds data; empty for one that lays out the page."""
    if table.find(["table", "pre", *_HEADINGS]):
        return []
    rows = []
    covered: dict[int, int] = {}  # by column: rows that a cell above still reaches down to
    for row in table.find_all("tr"):
        cells: list[str] = []
        for cell in row.find_all(["td", "th"], recursive=False):
            text = _inline_text(cell)
            if len(text) > _CELL_CHARS:
                return []
            _skip_covered(cells, covered)
            width, height = _span(cell, "colspan"), _span(cell, "rowspan")
            covered |= {len(cells) + n: height - 1 for n in range(width) if height > 1}
            cells += [text, *[""] * (width - 1)]
        _skip_covered(cells, covered)
        rows.append(cells)
    return rows if max(map(len, rows), default=0) > 1 else []


def _skip_covered(cells: list[str], covered: dict[int, int]) -> None:
    while covered.get(len(cells), 0) > 0:
        covered[len(cells)] -= 1
        cells.append("")


def _span(cell: Tag, attribute: str) -> int:
    value = str(cell.get(attribute) or "1")
    return min(max(int(value), 1), 100) if value.isdecimal() else 1
