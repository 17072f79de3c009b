"""Writing a readable text out of blocks, with the structure noted as it is written.

For formats whose source is markup that nobody quotes (HTML, Word, sheets, mail): the text that citations refer to is
made here. Blocks are parted by one empty line, items of a list by a line end. It knows nothing of the formats
themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingest.parse.encoding import clean
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.titles import MAX_HEADING_CHARS, one_line
from kernel.types import Heading, Page, Parsed

__all__ = ["MAX_HEADING_CHARS", "Composer", "one_line"]

_DEEPEST = 8
_LEVELS = 9


class Composer:
    """Collects blocks in reading order. Every method ignores a block without visible characters.

    Args:
        name: the file, for messages.
        limits: what the text may come to; writing more than that refuses the file at once.
    """

    def __init__(self, name: str = "", limits: Limits = DEFAULT) -> None:
        self._name, self._limits = name, limits
        self._most = limits.max_text_mb * 1_000_000
        self._parts: list[str] = []
        self._length = 0
        self._in_list = False
        self._headings: list[Heading] = []
        self._blocks: list[tuple[int, int]] = []
        self._pages: list[Page] = []
        self._page_start: int | None = None
        self._in_page = False
        self._notes: dict[str, None] = {}

    @property
    def first_title(self) -> str | None:
        """The first heading of level 1, if there is one."""
        return next((h.title for h in self._headings if h.level == 1), None)

    @property
    def is_empty(self) -> bool:
        return not self._parts

    def page(self, what: str = "pages") -> None:
        """Begin the next page, counted from 1: what is written until the one after belongs to it.

        Raises:
            FileRefused: `limit_max_pages`.
        """
        self._end_page()
        self._in_page = True
        self._limits.check(self._name, "max_pages", len(self._pages) + 1, what)

    def heading(self, level: int, title: str) -> None:
        """A heading on a line of its own; `level` counts from 1."""
        title = one_line(title)
        if len(title) > MAX_HEADING_CHARS:
            self.paragraph(title)
        elif title:
            start, _ = self._write(title)
            self._headings.append(Heading(start=start, level=min(max(level, 1), _LEVELS), title=title))

    def paragraph(self, text: str) -> None:
        """Running text; line ends within it are kept."""
        if text := clean(text).strip():
            self._write(text)

    def item(self, text: str, depth: int = 0, *, marked: bool = True) -> None:
        """An item of a list, `depth` levels down; not `marked`: a further paragraph of the item before."""
        if text := clean(text).strip():
            indent = "  " * min(depth, _DEEPEST)
            body = text.replace("\n", f"\n{indent}  ")
            self._write(f"{indent}{'- ' if marked else '  '}{body}", in_list=True)

    def code(self, text: str) -> None:
        """Text whose line ends and spaces matter; a chunker should rather not cut it."""
        text = clean(text).strip("\n").rstrip()
        if text.strip():
            self._blocks.append(self._write(text))

    def table(self, rows: Sequence[Sequence[str]], *, has_head: bool = True) -> None:
        """A Markdown table, a line for each row. Short rows are filled up, rows without a word go.

        Args:
            has_head: the first row names the columns; otherwise the head is left blank.
        """
        cells = [[one_line(cell).replace("|", "\\|") for cell in row] for row in rows]
        cells = [row for row in cells if any(row)]
        if not cells:
            return
        width = max(map(len, cells))
        if not has_head:
            cells.insert(0, [])
        lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in cells]
        lines.insert(1, "|" + " --- |" * width)
        self._blocks.append(self._write("\n".join(lines)))

    def part(self, parsed: Parsed, *, below: int = 0) -> None:
        """A text that was parsed on its own, with its structure; its headings lie `below` levels deeper.

        Its pages are not pages of the whole and are left out. Its notes are taken over.
        """
        if text := parsed.text.rstrip():
            start, _ = self._write(text)
            for heading in parsed.headings:
                level = min(heading.level + below, _LEVELS)
                self._headings.append(Heading(start=start + heading.start, level=level, title=heading.title))
            self._blocks += [(start + first, start + min(last, len(text))) for first, last in parsed.blocks]
        for note in parsed.notes:
            self.note(note)

    def note(self, sentence: str) -> None:
        """Something that a person should know about the reading; said once."""
        self._notes[one_line(sentence)] = None

    def finish(self, *, title: str, media_type: str) -> Parsed:
        """What was written so far."""
        self._end_page()
        return Parsed(
            text="".join(self._parts),
            title=title,
            media_type=media_type,
            pages=tuple(self._pages),
            headings=tuple(self._headings),
            blocks=tuple(self._blocks),
            notes=tuple(self._notes),
        )

    def _end_page(self) -> None:
        if self._in_page:
            start = self._length if self._page_start is None else self._page_start
            self._pages.append(Page(page=len(self._pages) + 1, start=start, end=self._length))
        self._page_start = None

    def _write(self, text: str, *, in_list: bool = False) -> tuple[int, int]:
        if self._parts:
            opens_page = self._in_page and self._page_start is None
            gap = "\n" if in_list and self._in_list and not opens_page else "\n\n"
            self._parts.append(gap)
            self._length += len(gap)
        start = self._length
        if self._in_page and self._page_start is None:
            self._page_start = start
        self._parts.append(text)
        self._length += len(text)
        if self._length > self._most:
            raise self._limits.exceeded(
                self._name, "max_text_mb", f"more than {self._limits.max_text_mb:,} million characters of text"
            )
        self._in_list = in_list
        return start, self._length
