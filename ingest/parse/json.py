"""JSON and JSON lines, laid out for reading: an array of flat objects is a table, everything else lines under headings.

Numbers are kept as they are written. Nothing recurses: what is nested deeper than a few levels is written as indented
lines, and what Python's own parser finds too deep is kept as the source it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ingest.parse.compose import Composer
from ingest.parse.detect import detect
from ingest.parse.encoding import decode_noting
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.titles import one_line, plausible_title, stem
from kernel.errors import FileRefused
from kernel.types import Parsed

MEDIA_TYPE = "application/json"
LINES_MEDIA_TYPE = "application/jsonl"

_HEADING_LEVELS = 3
_CELL_CHARS = 2000
_MOST_COLUMNS = 60
_LEAST_FILLED = 0.4
_NAMES = ("title", "name", "heading", "subject", "question", "id", "key")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The data as text. The title is the top object's own, else the file's stem.

    Raises:
        FileRefused: `broken_json` or `broken_jsonl` with the line, `undecodable_text`, or `limit_max_text_mb`.
    """
    text, notes = decode_noting(content, name)
    limits.check(name, "max_text_mb", len(text) / 1e6, "million characters")
    composer = Composer(name, limits)
    for note in notes:
        composer.note(note)
    in_lines = detect(content, name) == "jsonl"
    title = None
    try:
        data = list(_lines(text, name)) if in_lines else _loads(text)
    except RecursionError:
        composer.code(text)
        composer.note("The data is nested too deeply to be laid out; it was kept as it is written.")
    except json.JSONDecodeError as exc:
        raise FileRefused(
            f"{name!r} is not valid JSON: {exc.msg} in line {exc.lineno:,}, column {exc.colno:,}",
            hint="Fetch it again or correct it there; to have it read as plain text, give it the suffix .txt.",
            code="broken_json",
        ) from exc
    else:
        write(data, composer)
        if isinstance(data, dict):
            title = plausible_title(next((data[k] for k in ("title", "name") if isinstance(data.get(k), str)), None))
    if composer.is_empty:  # `{}`, `[]`, `""`, `null`: a document all the same
        composer.code(text)
    return composer.finish(title=title or stem(name), media_type=LINES_MEDIA_TYPE if in_lines else MEDIA_TYPE)


def write(data: Any, composer: Composer) -> None:
    """Write nested dicts, lists and scalars, outermost keys as headings, in their order."""
    pending: list[tuple[str, Any, int]] = [("", data, 0)]
    while pending:
        title, value, level = pending.pop()
        if title:
            composer.heading(level, title)
        if _is_flat(value):
            composer.paragraph(_word(value))
        elif isinstance(value, list) and (rows := table(value)):
            composer.table(rows)
        elif level >= _HEADING_LEVELS:
            composer.code("\n".join(_indented(value)))
        elif isinstance(value, list) and all(_is_flat(entry) for entry in value):
            for entry in value:
                composer.item(_word(entry))
        elif isinstance(value, list):
            entries = [
                (_called(entry) or f"{title or 'Entry'} {n}", entry, level + 1) for n, entry in enumerate(value, 1)
            ]
            pending += reversed(entries)
        else:
            _write_scalars(value, composer)
            deeper = [
                (one_line(str(key)) or "…", inner, level + 1) for key, inner in value.items() if not _is_line(inner)
            ]
            pending += reversed(deeper)


def table(entries: Sequence[Any]) -> list[list[str]]:
    """Head and rows, if the entries are flat objects, or flat arrays, of much the same shape; else nothing."""
    if not entries:
        return []
    if all(isinstance(entry, dict) for entry in entries):
        columns = list(dict.fromkeys(key for entry in entries for key in entry))
        filled = sum(len(entry) for entry in entries)
        if not columns or len(columns) > _MOST_COLUMNS or filled < _LEAST_FILLED * len(columns) * len(entries):
            return []
        if not all(_is_line(value, _CELL_CHARS) for entry in entries for value in entry.values()):
            return []
        return [[str(column) for column in columns]] + [
            [_word(entry.get(column, "")) for column in columns] for entry in entries
        ]
    if all(isinstance(entry, list) and entry for entry in entries) and len(entries) > 1:
        widths = {len(entry) for entry in entries}
        if len(widths) == 1 and widths != {1} and all(_is_line(value, _CELL_CHARS) for e in entries for value in e):
            return [[_word(value) for value in entry] for entry in entries]
    return []


def _loads(text: str) -> Any:
    # Numbers as strings: `1.10` stays as it is, and a million digits cost nothing.
    return json.loads(text, strict=False, parse_int=str, parse_float=str, parse_constant=str)


def _lines(text: str, name: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _loads(line)
        except json.JSONDecodeError as exc:
            raise FileRefused(
                f"{name!r} is not valid JSON in line {number:,}: {exc.msg} in column {exc.colno:,}",
                hint="Fetch it again or correct that line; each line has to be one JSON value.",
                code="broken_jsonl",
            ) from exc


def _write_scalars(value: dict[str, Any], composer: Composer) -> None:
    lines = [f"{one_line(str(key))}: {_word(inner)}" for key, inner in value.items() if _is_line(inner)]
    composer.paragraph("\n".join(lines))


def _indented(data: Any) -> Iterator[str]:
    """Nested data as lines, two spaces for each level; without recursion."""
    stack: list[tuple[int, str, Any]] = [(0, "", data)]
    while stack:
        depth, label, value = stack.pop()
        indent = "  " * min(depth, 20)
        if _is_flat(value):
            yield indent + f"{label} {_word(value)}".strip().replace("\n", f"\n{indent}  ")
            continue
        if label:
            yield indent + label
        inner = depth + 1 if label else depth
        if isinstance(value, dict):
            entries = [(inner, f"{one_line(str(key))}:", entry) for key, entry in value.items()]
        else:
            entries = [(inner, "-", entry) for entry in value]
        stack += reversed(entries)


def _called(entry: Any) -> str | None:
    """What an entry of a list calls itself."""
    if isinstance(entry, dict):
        for key in _NAMES:
            if isinstance(entry.get(key), str) and 0 < len(title := one_line(entry[key])) <= 120:
                return title
    return None


def _is_flat(value: Any) -> bool:
    return not isinstance(value, dict | list) or not value


def _is_line(value: Any, most: int = 400) -> bool:
    """True for what stands well behind its key on one line."""
    return _is_flat(value) and (not isinstance(value, str) or len(value) <= most)


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
