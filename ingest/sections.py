"""The parts of a parsed text that a chunk never leaves: what stands below one heading, on one page.

It finds the sections, and the blocks and paragraphs in them. It knows nothing of sizes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ingest.parse import markdown
from ingest.parse.titles import one_line
from ingest.split import trim
from kernel.types import Heading, Parsed

How = Literal["block", "prose", "line", "piece"]
"""What a span is, and so how it is cut where it is too long."""

_BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The body below a heading, on one page; `path` holds the headings above it, outermost first."""

    start: int
    end: int
    path: tuple[str, ...] = ()
    page: int | None = None


def sections(parsed: Parsed) -> Iterator[Section]:
    """The sections of a text in order, each with the headings above it. A heading's own line is in none."""
    text = parsed.text
    is_markdown = parsed.media_type == markdown.MEDIA_TYPE
    body = markdown.front_matter_end(text) if is_markdown else 0
    headings = {heading.start: heading for heading in parsed.headings}
    cuts = {body, len(text), *headings}
    for page in parsed.pages:
        cuts |= {page.start, page.end}
    ordered = sorted(cut for cut in cuts if cut >= body)
    starts = [page.start for page in parsed.pages]
    path: list[tuple[int, str]] = []
    for start, end in zip(ordered, [*ordered[1:], len(text)], strict=True):
        first = start
        if heading := headings.get(start):
            while path and path[-1][0] >= heading.level:
                path.pop()
            path.append((heading.level, heading.title))
            first = min(end, markdown.heading_end(text, start) if is_markdown else _after_title(text, heading))
        number = bisect_right(starts, start) - 1
        on_page = number >= 0 and end <= parsed.pages[number].end
        if text[first:end].strip():
            yield Section(
                start=first,
                end=end,
                path=tuple(title for _, title in path),
                page=parsed.pages[number].page if on_page else None,
            )


def _after_title(text: str, heading: Heading) -> int:
    """The end of the heading's line; its start, where that says more than the heading: in program source."""
    end = text.find("\n", heading.start)
    end = len(text) if end < 0 else end
    words = one_line(text[heading.start : end]).lstrip("# ")
    return end if words.casefold() == heading.title.casefold() else heading.start


def paragraphs(text: str, section: Section, blocks: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, How]]:
    """The blocks of a section and the paragraphs between them, in order, without outer whitespace."""
    position = section.start
    first = bisect_right(blocks, section.start, key=lambda block: block[1])
    for block in blocks[first:]:
        if block[0] >= section.end:
            break
        start, end = max(block[0], position), min(block[1], section.end)
        yield from _prose(text, position, start)
        yield from whole_lines(text, [(start, end)], "block")
        position = end
    yield from _prose(text, position, section.end)


def _prose(text: str, start: int, end: int) -> Iterator[tuple[int, int, How]]:
    for span in between(_BLANK_LINE, text, start, end):
        first, last = trim(text, span)
        if first < last:
            yield first, last, "prose"


def between(pattern: re.Pattern[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text, start, end):
        yield start, match.start()
        start = match.end()
    yield start, end


def whole_lines(text: str, spans: Sequence[tuple[int, int]], how: How) -> Iterator[tuple[int, int, How]]:
    """Spans without empty lines around them; unlike `trim`, it leaves the first line its indentation."""
    for span in spans:
        first, last = trim(text, span)
        if first < last:
            yield max(span[0], text.rfind("\n", span[0], first) + 1), last, how
