"""Writing a readable text out of blocks, with the structure noted as it is written.

For formats whose source is markup that nobody quotes (HTML, Word): the text that citations refer to is made
here. Blocks are parted by one empty line, items of a list by a line end. It knows nothing of the formats
themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingest.parse.detect import clean
from kernel.types import Heading, Parsed

MAX_HEADING_CHARS = 200
"""A "heading" longer than this is text that someone styled, and is kept as text."""

_DEEPEST = 8


class Composer:
    """Collects blocks in reading order. Every method ignores a block without visible characters."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._in_list = False
        self._headings: list[Heading] = []
        self._blocks: list[tuple[int, int]] = []

    def heading(self, level: int, title: str) -> None:
        """A heading on a line of its own; `level` counts from 1."""
        title = one_line(title)
        if len(title) > MAX_HEADING_CHARS:
            self.paragraph(title)
        elif title:
            start, _ = self._write(title)
            self._headings.append(Heading(start=start, level=level, title=title))

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

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """A Markdown table. The first row is its head; short rows are filled up."""
        cells = [[one_line(cell).replace("|", "\\|") for cell in row] for row in rows]
        cells = [row for row in cells if any(row)]
        if not cells:
            return
        width = max(map(len, cells))
        lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in cells]
        lines.insert(1, "|" + " --- |" * width)
        self._blocks.append(self._write("\n".join(lines)))

    def finish(self, *, title: str, media_type: str) -> Parsed:
        """What was written so far."""
        return Parsed(
            text="".join(self._parts),
            title=title,
            media_type=media_type,
            headings=tuple(self._headings),
            blocks=tuple(self._blocks),
        )

    @property
    def first_title(self) -> str | None:
        """The first heading of level 1, if there is one."""
        return next((h.title for h in self._headings if h.level == 1), None)

    def _write(self, text: str, *, in_list: bool = False) -> tuple[int, int]:
        if self._parts:
            gap = "\n" if in_list and self._in_list else "\n\n"
            self._parts.append(gap)
            self._length += len(gap)
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        self._in_list = in_list
        return start, self._length


def one_line(text: str) -> str:
    """`text` with every run of whitespace as one space."""
    return " ".join(clean(text).split())
