"""OpenDocument text: headings, paragraphs, lists and tables of the body in their order, notes behind their paragraph.

The XML is walked rather than read through a library of the format, because those give the text without its tabs and
line ends, or with tracked deletions and comments in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingest.parse.compose import Composer
from ingest.parse.container import opened, xml_root
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged, wordless
from ingest.parse.titles import plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Parsed

MEDIA_TYPE = "application/vnd.oasis.opendocument.text"

_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_SIGNS = {f"{_TEXT}tab": "\t", f"{_TEXT}line-break": "\n"}
_GONE = frozenset(
    {
        f"{_OFFICE}annotation",
        f"{_OFFICE}forms",
        f"{_OFFICE}annotation-end",
        *(f"{_TEXT}{tag}" for tag in ("tracked-changes", "table-of-content", "sequence-decls", "variable-decls")),
        *(f"{_TEXT}{tag}" for tag in ("user-field-decls", "note-citation", "alphabetical-index", "illustration-index")),
    }
)
_MOST_COLUMNS = 1000
_SPACES = 200


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The body's text. The title is the first heading of level 1, else the metadata's, else the stem.

    Raises:
        FileRefused: `broken_odt`, a limit of what it unpacks to, or `no_text`.
    """
    composer = Composer(name, limits)
    try:
        with opened(content, name, limits) as archive:
            members = set(archive.namelist())
            body = xml_root(archive.read("content.xml")).find(f"{_OFFICE}body/{_OFFICE}text")
            meta = xml_root(archive.read("meta.xml")) if "meta.xml" in members else None
        if body is None:
            raise ValueError("it has no body of text")
        _Reader(composer).walk(body)
        said = plausible_title(next((title.text for title in meta.iter(_TITLE)), None)) if meta is not None else None
    except FileRefused:
        raise
    except Exception as exc:
        raise damaged(name, "OpenDocument text", f"{type(exc).__name__}: {exc}", "broken_odt") from exc
    if composer.is_empty:
        raise wordless(name, "If its pages are images, run OCR first.")
    if any(member.startswith("Pictures/") for member in members):
        composer.note("Pictures were left out.")
    return composer.finish(title=composer.first_title or said or stem(name), media_type=MEDIA_TYPE)


class _Reader:
    """lxml bounds the depth of a document, so that this may recurse."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer

    def walk(self, container: Any, depth: int = -1) -> None:
        """Write the blocks of a body, section, text box or list item; `depth` counts lists around it, from 0."""
        first = depth >= 0
        for child in container:
            if child.tag == f"{_TEXT}h":
                level = child.get(f"{_TEXT}outline-level") or "1"
                self._composer.heading(int(level) if level.isdecimal() else 1, "".join(_pieces(child)))
                self._aside(child)
            elif child.tag == f"{_TEXT}p":
                text = "".join(_pieces(child))
                if depth >= 0:
                    self._composer.item(text, depth, marked=first)
                    first = first and not text.strip()
                else:
                    self._composer.paragraph(text)
                self._aside(child)
            elif child.tag == f"{_TEXT}list":
                for item in child:
                    self.walk(item, depth + 1)
            elif child.tag == f"{_TABLE}table":
                self._table(child)
            elif isinstance(child.tag, str) and child.tag not in _GONE:
                self.walk(child, depth)

    def _aside(self, paragraph: Any) -> None:
        """Text boxes that hang in a paragraph, and its notes, follow it."""
        for element in _outermost(paragraph, {f"{_DRAW}text-box", f"{_TEXT}note-body"}):
            if element.tag == f"{_DRAW}text-box":
                self.walk(element)
            else:
                words = " ".join("".join(_pieces(p)).strip() for p in element.iter(f"{_TEXT}p", f"{_TEXT}h"))
                label = paragraph.find(f".//{_TEXT}note-citation")
                mark = (label.text or "").strip() if label is not None else ""
                self._composer.paragraph(f"Note {mark}: {words}".replace(" :", ":") if words.strip() else "")

    def _table(self, table: Any) -> None:
        rows = [list(_cells(row)) for row in _rows(table)]
        if max((sum(cell is not None for cell in row) for row in rows), default=0) > 1:
            self._composer.table([[_cell_text(cell) for cell in row] for row in rows])
            return
        for row in rows:  # one column: a frame around text
            for cell in row:
                if cell is not None:
                    self.walk(cell)


def _pieces(element: Any) -> Iterator[str]:
    """The words of a paragraph without its boxes, notes and comments."""
    yield element.text or ""
    for child in element:
        if child.tag == f"{_TEXT}s":
            count = child.get(f"{_TEXT}c") or "1"
            yield " " * (min(int(count), _SPACES) if count.isdecimal() else 1)
        elif sign := _SIGNS.get(child.tag):
            yield sign
        elif isinstance(child.tag, str) and child.tag not in _GONE | {f"{_TEXT}note", f"{_DRAW}frame"}:
            yield from _pieces(child)
        yield child.tail or ""


def _outermost(element: Any, tags: set[str]) -> Iterator[Any]:
    for child in element:
        if child.tag in tags:
            yield child
        elif child.tag not in _GONE:
            yield from _outermost(child, tags)


def _rows(table: Any) -> Iterator[Any]:
    for child in table:
        if child.tag == f"{_TABLE}table-row":
            yield child
        elif child.tag in (f"{_TABLE}table-header-rows", f"{_TABLE}table-rows", f"{_TABLE}table-row-group"):
            yield from _rows(child)


def _cells(row: Any) -> Iterator[Any]:
    """The cells of a row; None where one is covered by its neighbour to the left or above."""
    width = 0
    for child in row:
        if child.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            continue
        repeated = child.get(f"{_TABLE}number-columns-repeated") or "1"
        count = min(int(repeated) if repeated.isdecimal() else 1, _MOST_COLUMNS - width)
        for _ in range(count):
            width += 1
            yield child if child.tag == f"{_TABLE}table-cell" else None


def _cell_text(cell: Any) -> str:
    if cell is None:
        return ""
    return " ".join(text for p in cell.iter(f"{_TEXT}p", f"{_TEXT}h") if (text := "".join(_pieces(p)).strip()))
