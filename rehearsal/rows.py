"""Rows of examples as people bring them: JSON lines, or CSV as spreadsheets write it. What is wrong is told by line.

A CSV has a header of the same names as the JSON fields; `relevant` is JSON in its cell, an empty cell is a field that
is not there. The separator is the one by which the header has most known names: csv.Sniffer guesses it from the text
of the answers, where a comma is more often punctuation. This module knows no documents and no examples.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kernel.errors import UserError

TEXTS = ("question", "answer", "preferred", "rejected", "slice", "licence", "document", "quote", "split")
SPLITS = ("train", "held-out")
SWITCHES = ("pinned", "standalone")
FIELDS = (*TEXTS, "relevant", *SWITCHES)

_SEPARATORS = (",", ";", "\t", "|")
_LONGEST = 2**31 - 1
"""Characters of a cell: the most that every platform's `long` holds."""
_YES, _NO = ("true", "yes", "ja", "sí", "si", "1", "x"), ("false", "no", "nein", "0", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row and the line it begins on, from 1: its fields that are not empty, or what is wrong with it."""

    line: int
    fields: dict[str, Any]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a file holds. `ignored` are columns of a CSV that no field has the name of."""

    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()


def read(content: str) -> Rows:
    """The rows of a text: of JSON lines where it begins with a brace, of a CSV otherwise.

    A CSV is read as far as it is one: the last row says so where what follows was not.

    Raises:
        UserError: a CSV without a column `question`.
    """
    csv.field_size_limit(_LONGEST)  # of the process, and 131,072 where nobody says otherwise
    content = content.removeprefix("\ufeff")
    begin = content.lstrip()[:1]
    if not begin:
        return Rows(rows=())
    return Rows(rows=tuple(_json_lines(content))) if begin in '{["' and not _is_header(content) else _table(content)


def parsed(text: str) -> Any:
    """The value of a line of JSON.

    Raises:
        ValueError: it is none, or one that nothing here can hold; what is wrong, in words.
    """
    try:
        value = json.loads(text)
        told = whole(value)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not told:
        raise ValueError(_HALF)
    return value


def _json_lines(content: str) -> Iterator[Row]:
    for line, text in enumerate(content.split("\n"), 1):  # not splitlines: a text may hold U+2028
        if not text.strip():
            continue
        try:
            value = parsed(text)
        except ValueError as error:
            yield Row(line=line, fields={}, error=str(error))
            continue
        if not isinstance(value, dict):
            yield Row(line=line, fields={}, error='it is no object: each line is one, with at least {"question": …}')
            continue
        yield _checked(line, {name: given for name, given in value.items() if given is not None})


def _table(content: str) -> Rows:
    separator = _separator(content)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip().casefold() for name in next(reader)]
    except csv.Error as error:
        raise UserError(f"the header cannot be read: {error}", hint=_HEADER) from None
    if "question" not in header:
        raise UserError(f"the header {', '.join(header)[:120]!r} has no column `question`", hint=_HEADER)
    twice = sorted({name for name in header if header.count(name) > 1 and name in FIELDS})
    if twice:
        raise UserError(f"the header names {', '.join(twice)} twice", hint="keep one column of each name")
    rows: list[Row] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            rows.append(Row(line=line, fields={}, error=f"not CSV: {error}; {_UNREAD}"))
            break  # where the broken cell ends nobody knows: what follows may be the rest of an answer
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            told = f"{len(cells)} cells, where the header has {len(header)}: is a cell that holds {separator!r} quoted?"
            rows.append(Row(line=line, fields={}, error=told))
            continue
        given = {name: cell for name, cell in zip(header, cells, strict=False) if name in FIELDS and cell.strip()}
        try:
            if "relevant" in given:
                given["relevant"] = parsed(given["relevant"])
        except ValueError as error:
            rows.append(Row(line=line, fields={}, error=f"relevant: {error}"))
            continue
        rows.append(_checked(line, given) if whole(given) else Row(line=line, fields={}, error=_HALF))
    return Rows(rows=tuple(rows), ignored=tuple(name for name in header if name and name not in FIELDS))


def _checked(line: int, given: dict[str, Any]) -> Row:
    """A row whose fields are of their kinds, or what is wrong with it."""
    wrong = [name for name in TEXTS if name in given and not isinstance(given[name], str)]
    if wrong:
        return Row(line=line, fields={}, error=f"{', '.join(wrong)} must be text")
    if not given.get("question", "").strip():
        return Row(line=line, fields={}, error="no question (each row has at least that)")
    fields = dict(given)
    for name in SWITCHES:
        if name in given:
            told = _switch(given[name])
            if told is None:
                return Row(line=line, fields={}, error=f"{name} is {given[name]!r} (give true or false)")
            fields[name] = told
    if fields.get("split") not in (None, *SPLITS):
        return Row(line=line, fields={}, error=f"split is {fields['split']!r} (give train or held-out, or none)")
    if fields.get("preferred") is not None and fields.get("preferred") == fields.get("rejected"):
        return Row(line=line, fields={}, error="preferred and rejected are the same (a preference needs two answers)")
    return Row(line=line, fields=fields)


def whole(value: Any) -> bool:
    """Whether every text in it is one that UTF-8 can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _switch(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    said = str(value).strip().casefold()
    return True if said in _YES else False if said in _NO else None


def _separator(content: str) -> str:
    return max(_SEPARATORS, key=lambda separator: len(_named(content, separator)))


def _is_header(content: str) -> bool:
    """A header may begin with a quote, as JSON text does."""
    return any("question" in _named(content, separator) for separator in _SEPARATORS)


def _named(content: str, separator: str) -> set[str]:
    """The fields that a first line names, if cells are separated so."""
    first = content.lstrip().split("\n", 1)[0].rstrip("\r")
    try:
        cells = next(csv.reader([first], delimiter=separator), [])
    except csv.Error:
        return set()
    return {cell.strip().casefold() for cell in cells} & set(FIELDS)


_HALF = "it holds half of a surrogate pair, which is no character"
_UNREAD = (
    "a quote in a cell is written twice. From here on nothing was read: repair this line and import the file again, "
    "what is there already is skipped"
)
_HEADER = f"the first line names the columns: question, and any of {', '.join(FIELDS[1:])}"
