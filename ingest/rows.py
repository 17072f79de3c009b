"""Markdown tables as a chunker sees them: which line names the columns, and where the rows begin.

A table that is cut goes on in chunks that a reader meets without its head; they carry the names of its columns
instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingest.parse.titles import one_line

_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_BAR = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The columns of a table, `Name | Age | City`, and the offset at which its first row begins."""

    columns: str
    rows: int


def head_of(text: str, start: int, end: int) -> Head | None:
    """The head of the table that is `text[start:end]`; None for anything else, and for a head without words."""
    first = text.find("\n", start, end)
    if first < 0 or "|" not in text[start:first]:
        return None
    second = text.find("\n", first + 1, end)
    if second < 0 or "|" not in text[first:second] or not _RULE.fullmatch(text, first + 1, second):
        return None
    line = text[start:first].strip().removeprefix("|")
    line = line[:-1] if line.endswith("|") and not line.endswith("\\|") else line
    cells = [one_line(cell.replace("\\|", "|")) for cell in _BAR.split(line)]
    columns = " | ".join(cells).strip(" |")  # the column of row names has no name itself
    return Head(columns=columns, rows=second + 1) if columns else None
