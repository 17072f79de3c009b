"""Markdown: the source is the text, so that a citation quotes what the author wrote.

Headings, fenced or indented code and tables come from markdown-it-py's block tokens, whose line numbers are
turned into offsets. Inline markup is not parsed, save in headings. Front matter is part of the text and of
nothing else.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ingest.parse.encoding import decode_noting
from ingest.parse.limits import DEFAULT, Limits
from ingest.parse.titles import MAX_HEADING_CHARS, one_line, stem
from kernel.types import Heading, Parsed

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MEDIA_TYPE = "text/markdown"

_KEY = re.compile(r"[\w\"'.-][\w\"'. -]*:(?:\s|$)")
_TITLE = re.compile(r"^title:[ \t]+(.+)$", re.MULTILINE)
_HTML_H1 = re.compile(r"<h1\b[^>]*>(.*?)</h1>", re.IGNORECASE | re.DOTALL)
_ATX = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*")


def read(content: bytes, name: str, limits: Limits = DEFAULT) -> Parsed:
    """The decoded source with its headings and blocks.

    The title is the front matter's, else the first heading of level 1, else the file's stem.

    Raises:
        FileRefused: `undecodable_text`, `binary_content` or `limit_max_text_mb`.
    """
    text, notes = decode_noting(content, name)
    limits.check(name, "max_text_mb", len(text) / 1e6, "million characters")
    skipped = front_matter_end(text)
    tokens = _markdown_it().parse(text[skipped:])
    lines = list(accumulate((len(line) + 1 for line in text[skipped:].split("\n")), initial=skipped))
    headings = tuple(_headings(tokens, lines))
    title = _front_title(text[:skipped]) or next((h.title for h in headings if h.level == 1), None)
    return Parsed(
        text=text,
        title=title or _html_title(tokens) or stem(name),
        media_type=MEDIA_TYPE,
        headings=headings,
        blocks=tuple(_blocks(tokens, lines, len(text))),
        notes=notes,
    )


def front_matter_end(text: str) -> int:
    """Where the body begins: after YAML front matter (`---` lines around it), or 0 where there is none.

    A file may also open with a decorative rule, so what stands between the lines must look like YAML to its
    end.
    """
    if not text.startswith("---"):
        return 0
    first_end = text.find("\n")
    if first_end < 0 or text[:first_end].rstrip() != "---":
        return 0
    position, seen_key = first_end + 1, False
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end].rstrip()
        if line in ("---", "..."):
            return min(end + 1, len(text)) if seen_key else 0
        if _KEY.match(line):
            seen_key = True
        elif line and not line.startswith("#") and not (seen_key and line.startswith((" ", "\t", "- "))):
            return 0
        position = end + 1
    return 0


def heading_end(text: str, start: int) -> int:
    """Where the heading at `start` ends: its line, or down to the underline of a setext heading."""
    end = _line_end(text, start)
    if _ATX.match(text, start, end):
        return end
    position = end
    for _ in range(3):  # a setext heading of more lines was not taken for a heading
        following = _line_end(text, position + 1)
        if _UNDERLINE.fullmatch(text, position + 1, following):
            return following
        position = following
    return end


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


@cache
def _markdown_it(*, inline: bool = False) -> MarkdownIt:
    from markdown_it import MarkdownIt

    # Parsing reads this object and never writes it, so one serves all threads.
    return MarkdownIt("commonmark") if inline else MarkdownIt("commonmark").enable("table").disable("inline")


def _headings(tokens: list[Token], lines: list[int]) -> list[Heading]:
    """Headings of the document itself: one inside a quote or list item does not structure what follows."""
    found = []
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open" or opening.level or opening.map is None:
            continue
        if len(inline.content) > MAX_HEADING_CHARS or inline.content.count("\n") > 2:
            continue  # a paragraph above a `---` that was meant as a rule, or a line that begins with `#`
        if title := _words(inline.content):
            level = int(opening.tag[1:])
            found.append(Heading(start=lines[opening.map[0]], level=level, title=title))
    return found


def _words(source: str) -> str:
    """A heading's source as a reader sees it: without emphasis, code marks and link targets."""
    pieces = []
    for token in _markdown_it(inline=True).parseInline(source)[0].children or ():
        if token.type in ("text", "code_inline", "image"):
            pieces.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            pieces.append(" ")
    return one_line(re.sub(r"\s*\{#[\w-]+\}\s*$", "", "".join(pieces)))


def _blocks(tokens: list[Token], lines: list[int], length: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for token in tokens:
        if token.type in ("fence", "code_block", "table_open") and token.map is not None:
            start, end = lines[token.map[0]], min(lines[token.map[1]] - 1, length)
            if start < end and (not spans or start >= spans[-1][1]):
                spans.append((start, end))
    return spans


def _front_title(front: str) -> str | None:
    match = _TITLE.search(front)
    title = one_line(match[1]).strip("\"'").strip() if match else ""
    return title[:MAX_HEADING_CHARS] or None


def _html_title(tokens: list[Token]) -> str | None:
    """READMEs like to write their first heading as HTML."""
    for token in tokens:
        if token.type == "html_block" and (match := _HTML_H1.search(token.content[:10_000])):
            title = one_line(re.sub(r"<[^>]*>", " ", match[1]))
            return title[:MAX_HEADING_CHARS] or None
    return None
