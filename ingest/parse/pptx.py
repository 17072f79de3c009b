"""PowerPoint: each slide is a page, with its title as a heading, then its shapes in their order, then its notes.

Groups are walked into, tables and the data of charts become Markdown tables, and diagrams (SmartArt) give their words.
Pictures are left out and said to be. Slides that are hidden are read, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ingest.parse.compose import Composer
from ingest.parse.container import refuse_bomb, xml_root
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged, wordless
from ingest.parse.titles import one_line, plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Parsed

if TYPE_CHECKING:
    from pptx.slide import Slide

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_CHART_ROWS = 1000
_LISTS = ("BODY", "OBJECT", "VERTICAL_BODY", "VERTICAL_OBJECT")
_FURNITURE = ("DATE", "FOOTER", "SLIDE_NUMBER", "HEADER")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The slides in their order. The title is the first slide's, else the core title, else the stem.

    Raises:
        FileRefused: `broken_pptx`, a limit, or `no_text` for a presentation of pictures.
    """
    composer = Composer(name, limits)
    try:
        refuse_bomb(content, name, limits)
        part = _main_part(content)
        slides = part.presentation.slides
        limits.check(name, "max_pages", len(slides), "slides")
        reader = _Reader(composer)
        for number, slide in enumerate(slides, 1):
            composer.page("slides")
            reader.slide(slide)
            if slide._element.get("show") in ("0", "false"):
                composer.note(f"Slide {number} is hidden; it was read, too.")
        core_title = plausible_title(part.core_properties.title)
    except FileRefused:
        raise
    except Exception as exc:
        raise damaged(name, "PowerPoint presentation", f"{type(exc).__name__}: {exc}", "broken_pptx") from exc
    if composer.is_empty:
        raise wordless(name, "If its slides are pictures, export it as PDF, run OCR on that and give the result.")
    if reader.pictures:
        composer.note(f"Pictures were left out ({reader.pictures}).")
    return composer.finish(title=composer.first_title or core_title or stem(name), media_type=MEDIA_TYPE)


def _main_part(content: bytes) -> Any:
    """The presentation part; python-pptx's own `Presentation()` takes neither slide shows nor templates."""
    from pptx.package import Package
    from pptx.parts.presentation import PresentationPart

    part = Package.open(BytesIO(content)).main_document_part
    if not isinstance(part, PresentationPart):
        raise ValueError(f"its main part is of type {part.content_type!r}")
    return part


class _Reader:
    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self.pictures = 0

    def slide(self, slide: Slide) -> None:
        title = slide.shapes.title
        if title is not None and title.has_text_frame:
            self._composer.heading(1, title.text_frame.text.replace("\v", " "))
        for shape in _flat(slide.shapes):
            if title is None or shape.shape_id != title.shape_id:
                self._shape(shape)
        if slide.has_notes_slide:
            frame = slide.notes_slide.notes_text_frame
            if frame is not None and frame.text.strip():
                self._composer.heading(2, "Notes")
                for paragraph in frame.paragraphs:
                    self._composer.paragraph(_words(paragraph._p))

    def _shape(self, shape: Any) -> None:
        if getattr(shape, "has_table", False):
            self._composer.table([[_cell(cell) for cell in row.cells] for row in shape.table.rows])
        elif getattr(shape, "has_chart", False):
            self._chart(shape.chart)
        elif shape.has_text_frame:
            placed = shape.placeholder_format.type if shape.is_placeholder else None
            kind = placed.name if placed is not None else ""
            if kind in _FURNITURE:
                return
            self._text(shape.text_frame, is_list=kind in _LISTS)
        elif shape._element.tag.endswith("}graphicFrame"):
            self._diagram(shape)
        elif shape._element.tag.endswith("}pic"):
            self.pictures += 1

    def _text(self, frame: Any, *, is_list: bool) -> None:
        paragraphs = [(paragraph, text) for paragraph in frame.paragraphs if (text := _words(paragraph._p).strip())]
        listed = is_list and len(paragraphs) > 1
        for paragraph, text in paragraphs:
            marks = {str(mark.tag).rpartition("}")[2] for mark in paragraph._p.iterfind(f"{_A}pPr/*")}
            if marks & {"buChar", "buAutoNum"} or paragraph.level or (listed and "buNone" not in marks):
                self._composer.item(text, paragraph.level)
            else:
                self._composer.paragraph(text)

    def _chart(self, chart: Any) -> None:
        """A chart's data as a table: categories down, series across."""
        if chart.has_title and chart.chart_title.has_text_frame:
            self._composer.paragraph(chart.chart_title.text_frame.text)
        for plot in chart.plots:
            categories = [str(category) for category in plot.categories][:_CHART_ROWS]
            series = [(one_line(str(entry.name or "")), list(entry.values)) for entry in plot.series]
            if not series:
                continue
            height = min(max([len(categories), *(len(values) for _, values in series)]), _CHART_ROWS)
            rows = [["", *(name for name, _ in series)]]
            for n in range(height):
                label = categories[n] if n < len(categories) else str(n + 1)
                rows.append([label, *(_number(values[n]) if n < len(values) else "" for _, values in series)])
            self._composer.table(rows)

    def _diagram(self, shape: Any) -> None:
        """The words of a diagram lie in a part of their own."""
        for relation in shape._element.iter():
            if not str(relation.tag).endswith("}relIds"):
                continue
            for attribute, target in relation.attrib.items():
                if attribute.endswith("}dm") and target in shape.part.rels:
                    root = xml_root(shape.part.related_part(target).blob)
                    for paragraph in root.iter(f"{_A}p"):
                        self._composer.item(_words(paragraph))


def _flat(shapes: Any) -> Iterator[Any]:
    """The shapes in their order, those in groups included, however deep."""
    stack = [iter(shapes)]
    while stack:
        shape = next(stack[-1], None)
        if shape is None:
            stack.pop()
        elif shape._element.tag.endswith("}grpSp"):
            stack.append(iter(shape.shapes))
        else:
            yield shape


def _words(paragraph: Any) -> str:
    """The text of a paragraph, fields and line breaks included."""
    pieces = []
    for element in paragraph.iter():
        if element.tag == f"{_A}t":
            pieces.append(element.text or "")
        elif element.tag == f"{_A}br":
            pieces.append("\n")
        elif element.tag == f"{_A}tab":
            pieces.append("\t" if element.getparent().tag != f"{_A}tabLst" else "")
    return "\n".join(line.rstrip() for line in "".join(pieces).replace("\v", "\n").split("\n"))


def _cell(cell: Any) -> str:
    if cell.is_spanned:
        return ""  # covered by its neighbour to the left or above
    return " ".join(_words(paragraph) for paragraph in cell._tc.iter(f"{_A}p"))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.15g}"
