"""Word: paragraphs, lists and tables of the body in document order, headings by style or outline level.

The XML is walked rather than python-docx's paragraphs, because those skip what stands in content controls,
tracked insertions and text boxes. Footnotes and endnotes follow their paragraph. Deleted and hidden text, tables of
contents, headers, footers and comments are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ingest.parse.compose import Composer
from ingest.parse.container import refuse_bomb, xml_root
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged, wordless
from ingest.parse.titles import plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Parsed

if TYPE_CHECKING:
    from docx.document import Document

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_ALSO_WORD = (
    "application/vnd.ms-word.document.macroEnabled.main+xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
    "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
)

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_P, _TBL, _SDT, _TXBX = f"{_W}p", f"{_W}tbl", f"{_W}sdt", f"{_W}txbxContent"
_GONE = frozenset({f"{_W}del", f"{_W}moveFrom", f"{_MC}Fallback", f"{_W}pPr", f"{_W}rPr", f"{_W}sdtPr"})
_SIGNS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_FORMULAS = {  # fractions, powers and indices would otherwise run into one word
    f"{_M}f": "{0}/{1}",
    f"{_M}sSup": "{0}^{1}",
    f"{_M}sSub": "{0}_{1}",
    f"{_M}sSubSup": "{0}_{1}^{2}",
    f"{_M}rad": "√{1}",
}
_HEADING_STYLE = re.compile(r"heading ([1-9])$", re.IGNORECASE)


_NOTE_REFERENCES = {f"{_W}footnoteReference": "footnotes", f"{_W}endnoteReference": "endnotes"}
_NOTES = {f"{_W}footnote", f"{_W}endnote"}


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The body's text; its title is the first heading of level 1, else the core title, else the stem.

    Raises:
        FileRefused: `broken_docx`, a limit of what it unpacks to, or `no_text`.
    """
    try:
        refuse_bomb(content, name, limits)
        document = _opened(content)
        reader = _Reader(document, Composer(name, limits))
        reader.walk(document.element.body)
        core_title = plausible_title(document.core_properties.title)
    except FileRefused:
        raise
    except Exception as exc:
        raise damaged(name, "Word document", f"{type(exc).__name__}: {exc}", "broken_docx") from exc
    composer = reader.composer
    if composer.is_empty:
        raise wordless(name, "If its pages are images, run OCR first.")
    if any(reltype.endswith("/image") for reltype in (rel.reltype for rel in document.part.rels.values())):
        composer.note("Pictures were left out.")
    return composer.finish(title=composer.first_title or core_title or stem(name), media_type=MEDIA_TYPE)


def _opened(content: bytes) -> Document:
    """The document; python-docx's own `Document()` takes no templates and none with macros."""
    from docx.opc.constants import CONTENT_TYPE as CT
    from docx.opc.part import PartFactory
    from docx.package import Package
    from docx.parts.document import DocumentPart

    for content_type in _ALSO_WORD:
        PartFactory.part_type_for.setdefault(content_type, DocumentPart)
    part = Package.open(BytesIO(content)).main_document_part
    if part.content_type not in (CT.WML_DOCUMENT_MAIN, *_ALSO_WORD):
        raise ValueError(f"its main part is of type {part.content_type!r}")
    return part.document


class _Reader:
    def __init__(self, document: Document, composer: Composer) -> None:
        self.composer = composer
        self._styles = _Styles(document)
        self._notes = dict(_notes(document))

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
        for element in _seen(paragraph):
            if kind := _NOTE_REFERENCES.get(element.tag):
                number = element.get(f"{_W}id") or ""
                if words := self._notes.pop((kind, number), ""):
                    self.composer.paragraph(f"Note {number}: {words}")

    def _table(self, table: Any) -> None:
        rows = [_cells(row) for row in _rows(table)]
        if max(map(len, rows), default=0) > 1:
            self.composer.table([[_cell_text(cell) for cell in row] for row in rows])
            return
        for row in rows:  # one column: a frame around text
            for cell in row:
                if cell is not None:
                    self.walk(cell)


def _notes(document: Document) -> Iterator[tuple[tuple[str, str], str]]:
    """The words of each footnote and endnote, by its kind and id."""
    for relation in document.part.rels.values():
        kind = relation.reltype.rpartition("/")[2]
        if kind in _NOTE_REFERENCES.values() and not relation.is_external:
            for note in xml_root(relation.target_part.blob):
                if note.tag in _NOTES:
                    yield (kind, note.get(f"{_W}id") or ""), " ".join(_text(p).strip() for p in note.iter(_P)).strip()


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
        if child.tag not in _FORMULAS:
            yield from _seen(child)


def _is_hidden(run: Any) -> bool:
    vanish = run.find(f"{_W}rPr/{_W}vanish")
    return vanish is not None and _value(vanish) not in ("0", "false", "off")


def _text(paragraph: Any) -> str:
    pieces = []
    for element in _seen(paragraph):
        if element.tag in (f"{_W}t", f"{_M}t"):
            pieces.append(element.text or "")
        elif form := _FORMULAS.get(element.tag):
            parts = [_text(part) for part in element if isinstance(part.tag, str) and not part.tag.endswith("Pr")]
            pieces.append(form.format(*(part if _is_simple(part) else f"({part})" for part in [*parts, "", "", ""])))
        elif sign := _SIGNS.get(element.tag):
            pieces.append(sign)
    return "".join(pieces)


def _is_simple(part: str) -> bool:
    return part.replace(".", "").isalnum() or not part


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
