"""Workbooks (.xlsx, .xlsb, .xls, .ods): each sheet is a page under its name, each region of cells a table.

Values are read as the workbook stored them, not recalculated. A blank row ends a region only where what follows does
not go on with the same columns. Sheets that are hidden are read, too, and said to be hidden.
"""

from __future__ import annotations

import datetime
import re
import zipfile
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ingest.parse.compose import Composer
from ingest.parse.container import opened
from ingest.parse.csv import has_head
from ingest.parse.detect import detect
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged, locked, wordless
from ingest.parse.titles import stem
from ingest.parse.zipped import WORDS
from kernel.errors import FileRefused
from kernel.types import Parsed

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

MEDIA_TYPES = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xls": "application/vnd.ms-excel",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
}

_CELL = re.compile(rb"<(?:\w+:)?c\s[^>]*?\br=\"([A-Z]{1,3})(\d{1,7})\"")
_CELL_BYTES = 48
"""What the reader allocates for a cell, blank or not, and Python for the list that it lies in."""
_CHUNK = 1 << 20
_OVERLAP = 200

Row = list[str]


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The sheets in their order. The title is the file's stem.

    Raises:
        FileRefused: `broken_xlsx`, `broken_xls`, `broken_ods` or the same `encrypted_…`, a limit, or `no_text`.
    """
    from python_calamine import CalamineWorkbook, PasswordError

    kind = detect(content, name)
    composer = Composer(name, limits)
    try:
        if kind != "xls":
            _refuse_wide_sheets(content, name, limits, composer)
        with CalamineWorkbook.from_filelike(BytesIO(content)) as workbook:
            for metadata in workbook.sheets_metadata:
                composer.page("sheets")
                if not str(metadata.typ).endswith("WorkSheet"):
                    composer.note(f"The sheet {metadata.name!r} holds no cells (a chart or macros) and was left out.")
                    continue
                _write(workbook.get_sheet_by_name(metadata.name), composer)
                if not str(metadata.visible).endswith(".Visible"):
                    composer.note(f"The sheet {metadata.name!r} is hidden; it was read, too.")
    except FileRefused:
        raise
    except PasswordError as exc:
        raise locked(name, "a workbook", f"encrypted_{kind}") from exc
    except Exception as exc:
        if "assword" in str(exc):
            raise locked(name, "a workbook", f"encrypted_{kind}") from exc
        raise damaged(name, WORDS.get(kind, "Excel workbook"), str(exc), f"broken_{kind}") from exc
    if composer.is_empty:
        raise wordless(name, "If its sheets hold pictures, save those as images and give them.")
    return composer.finish(title=stem(name), media_type=MEDIA_TYPES[kind])


def _write(sheet: CalamineSheet, composer: Composer) -> None:
    rows = [[_word(value) for value in row] for row in sheet.to_python(skip_empty_area=True)]
    if not any(any(row) for row in rows):
        return
    composer.heading(1, sheet.name)
    for region in regions(rows):
        if sum(any(row[n] for row in region) for n in range(max(map(len, region)))) == 1:
            composer.paragraph("\n".join(cell for row in region for cell in row if cell))
        else:
            used = sorted(_columns(region))
            composer.table([[row[n] for n in used] for row in region], has_head=has_head(region))


def regions(rows: Sequence[Row]) -> list[list[Row]]:
    """The tables and remarks of a sheet, from top to bottom, without blank rows.

    A blank row parts two regions unless the second goes on under the columns of the first, as data do: same columns,
    and a first row that names nothing new. Lines of one cell above a wider table (a title, a date) are a region.
    """
    blocks: list[list[Row]] = [[]]
    for row in rows:
        if any(row):
            blocks[-1].append(row)
        elif blocks[-1]:
            blocks.append([])
    merged: list[list[Row]] = []
    for block in blocks:
        if not block:
            continue
        if merged and _columns(block) == _columns(merged[-1]) and len(_columns(block)) > 1 and not has_head(block):
            merged[-1] += block
        else:
            merged.append(list(block))
    found: list[list[Row]] = []
    for block in merged:
        first = 0
        while first < len(block) - 1 and sum(map(bool, block[first])) == 1 and len(_columns(block)) > 1:
            first += 1
        found += [part for part in (block[:first], block[first:]) if part]
    return found


def _columns(block: Sequence[Row]) -> set[int]:
    return {n for row in block for n, cell in enumerate(row) if cell}


def _word(value: Any) -> str:
    """A cell as a person reads it."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        # Excel shows 15 digits; what is beyond is noise of the binary number.
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "seconds") if value.time() != datetime.time() else value.date().isoformat()
    return str(value).strip()


def _refuse_wide_sheets(content: bytes, name: str, limits: Limits, composer: Composer) -> None:
    """Two cells in opposite corners make a sheet of 17 billion: the reader would allocate them all."""
    with opened(content, name, limits) as archive:
        if any("/media/" in member or member.startswith("Pictures/") for member in archive.namelist()):
            composer.note("Pictures in the workbook were left out.")
        for member in archive.namelist():
            if re.match(r"xl/worksheets/[^/]+\.xml$", member):
                rows, columns = _extent(archive, member)
                limits.check(name, "max_text_mb", rows * columns / 1e6, "million cells in a sheet, blank ones included")
                unpacked = rows * columns * _CELL_BYTES / 2**20
                limits.check(
                    name, "parse_memory_mb", unpacked, f"MiB in a sheet of {rows:,} rows and {columns:,} columns"
                )


def _extent(archive: zipfile.ZipFile, member: str) -> tuple[int, int]:
    """Rows and columns of the smallest rectangle that holds all cells."""
    top, bottom, left, right = 1 << 21, 0, 1 << 15, 0
    with archive.open(member) as file:
        rest = b""
        while chunk := file.read(_CHUNK):
            for column, row in _CELL.findall(rest + chunk):
                number = 0
                for letter in column:
                    number = number * 26 + letter - 64
                top, bottom = min(top, int(row)), max(bottom, int(row))
                left, right = min(left, number), max(right, number)
            rest = chunk[-_OVERLAP:]
    return max(bottom - top + 1, 0), max(right - left + 1, 0)
