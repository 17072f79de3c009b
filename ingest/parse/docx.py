"""Word: paragraphs, lists and tables of the body in document order, headings by style or outline level.

The XML is walked rather than python-docx's paragraphs, because those skip what stands in content controls,
tracked insertions and text boxes. Deleted and hidden text, tables of contents, headers, footers and notes are
left out.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ingest.parse.compose import Composer
from ingest.parse.detect import plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Parsed

if TYPE_CHECKING:
    from docx.document import Document

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MAX_UNPACKED_BYTES = 500 * 2**20
MAX_RATIO = 200
_RATIO_COUNTS_FROM_BYTES = 16 * 2**20  # small parts of a Word file may well compress that far

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_P, _TBL, _SDT, _TXBX = f"{_W}p", f"{_W}tbl", f"{_W}sdt", f"{_W}txbxContent"
_GONE = frozenset({f"{_W}del", f"{_W}moveFrom", f"{_MC}Fallback", f"{_W}pPr", f"{_W}rPr", f"{_W}sdtPr"})
_SIGNS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_HEADING_STYLE = re.compile(r"heading ([1-9])$", re.IGNORECASE)


def read(content: bytes, name: str) -> Parsed:
    """The body's text; its title is the first heading of level 1, else the core title, else the stem.

    Raises:
        FileRefused: `broken_docx`, `too_large` for a file that unpacks to too much, or `no_text`.
    """
    _refuse_bomb(content, name)
    import docx

    try:
        document = docx.Document(BytesIO(content))
        reader = _Reader(document)
        reader.walk(document.element.body)
        core_title = plausible_title(document.core_properties.title)
    except Exception as exc:
        raise FileRefused(
            f"{name!r} is a damaged Word document: {type(exc).__name__}: {str(exc)[:200]}",
            hint="Open it in Word or LibreOffice, save it again as .docx and retry.",
            code="broken_docx",
        ) from exc
    composer = reader.composer
    parsed = composer.finish(title=composer.first_title or core_title or stem(name), media_type=MEDIA_TYPE)
    if not parsed.text:
        raise FileRefused(
            f"{name!r} has no text in its body",
            hint="If its pages are images, run OCR first.",
            code="no_text",
        )
    return parsed


def _refuse_bomb(content: bytes, name: str) -> None:
    """Judge by the archive's directory: zipfile never unpacks more of a member than is declared there."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    tight = next(
        (
            member
            for member in members
            if member.file_size > _RATIO_COUNTS_FROM_BYTES
            and member.file_size > MAX_RATIO * max(member.compress_size, 1)
        ),
        None,
    )
    if unpacked > MAX_UNPACKED_BYTES or tight:
        raise FileRefused(
            f"{name!r} unpacks to {unpacked:,} bytes from {len(content):,}",
            hint=f"At most {MAX_UNPACKED_BYTES:,} bytes are unpacked, large parts at most {MAX_RATIO} to 1. "
            "If the document is genuine, save it without embedded media.",
            code="too_large",
        )


class _Reader:
    def __init__(self, document: Document) -> None:
        self.composer = Composer()
        self._styles = _Styles(document)

    def walk(self, container: Any) -> None:
        """Write the blocks of a body, content control or text box, in order."""
        for child in container:
            if child.tag == _P:
                self._paragraph(child)
            elif child.tag == _TBL:
                self._table(child)
            elif child.tag in _GONE or not isinstance(child.tag, str):
                continue
            elif not (child.tag == _SDT and _is_contents(child)):
                self.walk(child)

    def _paragraph(self, paragraph: Any) -> None:
        text = _text(paragraph)
        style, level = self._styles.of(paragraph)
        if level and text.strip():
            self.composer.heading(level, text)
        elif re.match(r"toc \d", style, re.IGNORECASE):
            return
        elif (depth := self._styles.list_depth(paragraph, style)) is not None:
            self.composer.item(text, depth)
        else:
            self.composer.paragraph(text)
        for box in _boxes(paragraph):
            self.walk(box)

    def _table(self, table: Any) -> None:
        rows = [_cells(row) for row in _rows(table)]
        if max(map(len, rows), default=0) > 1:
            self.composer.table([[_cell_text(cell) for cell in row] for row in rows])
            return
        for row in rows:  # one column: a frame around text
            for cell in row:
                if cell is not None:
                    self.walk(cell)


class _Styles:
    """What a paragraph's style says, through the styles it is based on."""

    def __init__(self, document: Document) -> None:
        self._by_id = {style.get(f"{_W}styleId"): style for style in document.styles.element.iter(f"{_W}style")}

    def of(self, paragraph: Any) -> tuple[str, int]:
        """The style's name and the heading level: 1 is the highest, 0 is no heading."""
        outline = paragraph.find(f"{_W}pPr/{_W}outlineLvl")
        name = ""
        for style in self._chain(paragraph):
            style_name = _value(style.find(f"{_W}name")) or ""
            name = name or style_name
            if match := _HEADING_STYLE.match(style_name):
                return name, int(match[1])
            if style_name.lower() == "title":
                return name, 1
            if outline is None:
                outline = style.find(f"{_W}pPr/{_W}outlineLvl")
        level = _value(outline)
        return name, int(level) + 1 if level and level.isdecimal() and int(level) < 9 else 0

    def list_depth(self, paragraph: Any, style: str) -> int | None:
        """How deep in a list, from 0; None outside lists."""
        places = [paragraph, *self._chain(paragraph)]
        for place in places:
            numbering = place.find(f"{_W}pPr/{_W}numPr")
            if numbering is not None:
                if _value(numbering.find(f"{_W}numId")) == "0":
                    return None  # numbering taken away from a style that has it
                depth = _value(numbering.find(f"{_W}ilvl")) or "0"
                return min(int(depth), 8) if depth.isdecimal() else 0
        return 0 if style.lower().startswith(("list bullet", "list number")) else None

    def _chain(self, paragraph: Any) -> Iterator[Any]:
        style_id, seen = _value(paragraph.find(f"{_W}pPr/{_W}pStyle")), set[str]()
        while style_id and style_id not in seen and (style := self._by_id.get(style_id)) is not None:
            seen.add(style_id)
            yield style
            style_id = _value(style.find(f"{_W}basedOn"))


def _value(element: Any) -> str | None:
    return None if element is None else element.get(f"{_W}val")


def _seen(element: Any) -> Iterator[Any]:
    """The elements below, in order, without those that a reader does not see and without text boxes."""
    for child in element:
        if child.tag in _GONE or child.tag == _TXBX or not isinstance(child.tag, str):
            continue
        if child.tag == f"{_W}r" and _is_hidden(child):
            continue
        yield child
        yield from _seen(child)


def _is_hidden(run: Any) -> bool:
    vanish = run.find(f"{_W}rPr/{_W}vanish")
    return vanish is not None and _value(vanish) not in ("0", "false", "off")


def _text(paragraph: Any) -> str:
    pieces = []
    for element in _seen(paragraph):
        if element.tag in (f"{_W}t", f"{_M}t"):
            pieces.append(element.text or "")
        elif sign := _SIGNS.get(element.tag):
            pieces.append(sign)
    return "".join(pieces)


def _boxes(paragraph: Any) -> Iterator[Any]:
    for box in paragraph.iter(_TXBX):
        # A drawing is stored twice, the second time for old programs; a box in a box is walked with the outer
        # one.
        ancestors = {ancestor.tag for ancestor in _up_to(box, paragraph)}
        if not ancestors & {f"{_MC}Fallback", _TXBX, f"{_W}del"}:
            yield box


def _up_to(element: Any, top: Any) -> Iterator[Any]:
    while (element := element.getparent()) is not None and element is not top:
        yield element


def _rows(table: Any) -> Iterator[Any]:
    for child in table:
        if child.tag == f"{_W}tr":
            if child.find(f"{_W}trPr/{_W}del") is None:
                yield child
        elif child.tag not in _GONE and isinstance(child.tag, str) and child.tag != _TBL:
            yield from _rows(child)


def _cells(row: Any) -> list[Any]:
    """The cells of a row; None where one is covered by its neighbour to the left or above."""
    cells: list[Any] = []
    for child in row:
        if child.tag == f"{_W}tc":
            merged = child.find(f"{_W}tcPr/{_W}vMerge")
            covered = merged is not None and _value(merged) != "restart"
            span = _value(child.find(f"{_W}tcPr/{_W}gridSpan")) or "1"
            cells.append(None if covered else child)
            cells += [None] * (min(int(span), 100) - 1 if span.isdecimal() else 0)
        elif child.tag in (_SDT, f"{_W}sdtContent", f"{_W}customXml"):
            cells += _cells(child)
    return cells


def _cell_text(cell: Any) -> str:
    if cell is None:
        return ""
    return " ".join(text for paragraph in cell.iter(_P) if (text := _text(paragraph).strip()))


def _is_contents(control: Any) -> bool:
    gallery = control.find(f"{_W}sdtPr/{_W}docPartObj/{_W}docPartGallery")
    return _value(gallery) == "Table of Contents"
