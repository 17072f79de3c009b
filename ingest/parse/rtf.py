r"""Rich text (RTF): its words and tables, and headings where a paragraph or its style has an outline level.

striprtf turns the markup into words. What it does not know is done here: pictures and embedded objects are cut out
first, because their bytes are written as letters, and its `cell|cell|` lines become tables.
"""

from __future__ import annotations

import re

from ingest.parse.compose import Composer
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.refusal import damaged, wordless
from ingest.parse.titles import one_line, plausible_title, stem
from kernel.types import Parsed

MEDIA_TYPE = "application/rtf"

_TOKEN = re.compile(r"\\bin(\d+) ?|\\[^a-zA-Z]|[{}]")
_CUT = re.compile(
    r"\{\\\*?\\?(?:pict|object|objdata|shppict|nonshppict|datastore|themedata|colorschememapping|blipuid)\b"
)
_TITLE = re.compile(r"\{\\title ([^{}\\]{1,400})\}")
_OUTLINE = re.compile(r"\\outlinelevel([0-8])\b")
_MARK = "\ue000"  # private use: stands before a heading until the words are out
_MARKED = re.compile(rf"{_MARK}\??([1-9])")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The words. The title is the document's own, else its first heading, else the stem.

    Raises:
        FileRefused: `broken_rtf` for a file that was cut off, `limit_max_text_mb`, or `no_text`.
    """
    from striprtf.striprtf import rtf_to_text

    source = content.decode("latin-1")
    title = _TITLE.search(source)
    source, pictures, depth = _without_objects(source)
    if depth > 0:
        raise damaged(name, "rich text (RTF) document", f"{depth} of its groups do not end", "broken_rtf")
    composer = Composer(name, limits)
    _write(str(rtf_to_text(_with_headings(source), errors="replace")), composer)
    if composer.is_empty:
        raise wordless(name, "If its pages are images, run OCR first.")
    if pictures:
        composer.note("Pictures and embedded objects were left out.")
    said = plausible_title(title[1]) if title else None
    return composer.finish(title=said or composer.first_title or stem(name), media_type=MEDIA_TYPE)


def _without_objects(source: str) -> tuple[str, bool, int]:
    """The source without pictures and objects, whether there were any, and how many groups never end."""
    kept: list[str] = []
    position = depth = 0
    cut_at: int | None = None
    found = False
    end = len(source)
    while match := _TOKEN.search(source, position):
        token = match[0]
        if cut_at is None:
            kept.append(source[position : match.start()])
        position = match.end()
        if match[1]:
            position = min(position + int(match[1][:12]), end)  # raw bytes
        elif token == "{":
            if cut_at is None and _CUT.match(source, match.start()):
                cut_at, found = depth, True
            depth += 1
            if cut_at is None:
                kept.append(token)
        elif token == "}":
            depth -= 1
            if cut_at is None:
                kept.append(token)
            elif depth <= cut_at:
                cut_at = None
            if depth <= 0:
                break  # whatever follows the document is not of it
        elif cut_at is None:
            kept.append(token)
    if depth > 0 and cut_at is None:
        kept.append(source[position:])
    return "".join(kept), found, depth


def _with_headings(source: str) -> str:
    """The source with a mark in each paragraph that has an outline level, by itself or by its style."""
    levels = {}
    sheet = source.find("{\\stylesheet")
    body = 0
    if sheet >= 0:
        body = _group_end(source, sheet)
        for match in re.finditer(r"\{\\s(\d+)(?!\d)([^;]{0,2000}?);\}", source[sheet:body]):
            level = _OUTLINE.search(match[2])
            named = re.search(r"heading ([1-9])\s*$", match[2], re.IGNORECASE)
            if level or named:
                levels[match[1]] = int(level[1]) + 1 if level else int(named[1] if named else 1)
    head, text = source[:body], source[body:]
    text = _OUTLINE.sub(lambda match: rf"{match[0]}\u57344?{int(match[1]) + 1} ", text)
    if levels:
        text = re.sub(
            r"\\s(\d+)(?!\d)",
            lambda match: rf"{match[0]}\u57344?{levels[match[1]]} " if match[1] in levels else match[0],
            text,
        )
    return head + text


def _group_end(source: str, start: int) -> int:
    depth = 0
    for match in _TOKEN.finditer(source, start):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return match.end()
    return len(source)


def _write(text: str, composer: Composer) -> None:
    rows: list[list[str]] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        level = _MARKED.search(line)
        line = _MARKED.sub("", line).replace(_MARK, "").strip()
        if line.endswith("|") and line.count("|") > 1:
            rows.append(line[:-1].split("|"))
            continue
        if rows and line:
            composer.table(rows)
            rows = []
        if level:
            composer.heading(int(level[1]), line)
        elif match := re.match(r"(?:[•·▪‣◦]|[-–*])\t\s*(.+)", line):
            composer.item(match[1])
        else:
            composer.paragraph(one_line(line) if "\t" not in line else line.expandtabs(4))
    composer.table(rows)
