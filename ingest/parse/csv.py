"""CSV and its kin: rows become the rows of one Markdown table, so that each can be cited.

The separator is found by counting over the first rows, not by `csv.Sniffer`, whose patterns take minutes on some
files. A file in which no separator holds is kept as lines.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from io import StringIO

from ingest.parse.compose import Composer
from ingest.parse.encoding import decode_noting
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.titles import stem
from kernel.types import Parsed

MEDIA_TYPE = "text/csv"

_SEPARATORS = ",;\t|"
_SAMPLE_CHARS = 1 << 16
_SAMPLE_ROWS = 50
_SAID = re.compile(r"sep=(.)\n")  # Excel's own first line
_NUMBER = re.compile(r"[-+(]?[$€£¥]?\s?\d[\d.,\s]*%?\)?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T][\d:.]+Z?)?|[\d:.]+")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The rows as a Markdown table, under the columns that the first row names. The title is the file's stem.

    Raises:
        FileRefused: `undecodable_text`, `binary_content`, `broken_csv` or `limit_max_text_mb`.
    """
    text, notes = decode_noting(content, name)
    limits.check(name, "max_text_mb", len(text) / 1e6, "million characters")
    composer = Composer(name, limits)
    for note in notes:
        composer.note(note)
    said = _SAID.match(text)
    text = text[said.end() :] if said else text
    separator = said[1] if said else separator_of(text)
    if separator is None:
        composer.code(text)
    else:
        rows = rows_of(text, separator)
        composer.table(rows, has_head=has_head([row for row in rows if any(row)]))
    return composer.finish(title=stem(name), media_type=MEDIA_TYPE)


def separator_of(text: str) -> str | None:
    """The character that parts the first rows into the most columns most evenly, or None."""
    sample = text[:_SAMPLE_CHARS]
    if len(text) > len(sample):
        sample = sample[: sample.rfind("\n") + 1] or sample
    best, winner = 0.0, None
    for separator in _SEPARATORS:
        widths = [len(row) for row in rows_of(sample, separator)[:_SAMPLE_ROWS] if any(row)]
        if not widths:
            continue
        width, times = max(Counter(widths).items(), key=lambda item: (item[1] * (item[0] > 1), item[0]))
        evenness = times / len(widths)
        if width > 1 and (evenness >= 0.5 or len(widths) <= 3) and evenness + min(width, 50) / 1000 > best:
            best, winner = evenness + min(width, 50) / 1000, separator
    return winner


def rows_of(text: str, separator: str) -> list[list[str]]:
    """The rows of a text, line ends within quotes kept.

    Raises:
        csv.Error: never for what people write; `parse` makes it `broken_csv`.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))  # the limit is the file's own size, not 128 KiB
    rows = list(csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True))
    if text.count('"') % 2:
        # A quote that never closes swallows all rows behind it: then quotes are characters like others.
        rows = list(csv.reader(StringIO(text, newline=""), delimiter=separator, quoting=csv.QUOTE_NONE))
    return rows


def has_head(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names columns.

    It does where it holds no numbers (years may be names), or where a word stands above a column of numbers.
    """
    words = [cell.strip() for cell in rows[0] if cell.strip()] if rows else []
    if not any(_is_number(word) and not _YEAR.fullmatch(word) for word in words):
        return len(words) > 0
    for column, cell in enumerate(rows[0]):
        below = [row[column] for row in rows[1 : _SAMPLE_ROWS + 1] if column < len(row) and row[column].strip()]
        if cell.strip() and not _is_number(cell) and below and sum(map(_is_number, below)) * 5 >= len(below) * 4:
            return True
    return False


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None
