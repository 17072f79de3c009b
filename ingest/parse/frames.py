"""What parent and child say to each other: length-prefixed frames, and their meaning checked on arrival.

A frame is a head in JSON and a body of raw bytes, each with its length before it. Nothing is ever unpickled: the
child's memory was in contact with hostile bytes, so what comes from there is data of known types and bounded sizes, or
nothing. It does not know about processes.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kernel.errors import FileRefused
from kernel.types import ChunkDraft, Heading, Page, Parsed

PREFIX = struct.Struct(">IQ")
"""Bytes of the head, bytes of the body."""
MOST_HEAD = 64 * 2**20
"""Bytes of a head at most: headings, pages, blocks and chunks of the largest text, as numbers."""
CHARS_PER_SECOND = 100_000
"""Text that is cut into chunks, on a slow and busy machine: what a child may take for it beside `parse_seconds`."""

_CODE = re.compile(r"[a-z0-9_]{1,64}")
_SAID, _MOST_NOTES = 2000, 1000


class Garbled(Exception):
    """What arrived is not what was agreed. Never shown to people."""


def frame(head: dict[str, Any], body: bytes = b"") -> tuple[bytes, bytes]:
    """Prefix and head, and the body beside them: it is large, and not copied.

    Raises:
        Garbled: the head is too long to be taken.
    """
    packed = json.dumps(head, separators=(",", ":")).encode()
    if len(packed) > MOST_HEAD:
        raise Garbled(f"a head of {len(packed):,} bytes")
    return PREFIX.pack(len(packed), len(body)) + packed, body


def answer(parsed: Parsed, drafts: Sequence[ChunkDraft] | None) -> tuple[dict[str, Any], bytes]:
    """What a child says of a file it could read. Texts of chunks are left out: they are slices."""
    labels = {label: n for n, label in enumerate(dict.fromkeys(draft.heading for draft in drafts or ()))}
    head = {
        "title": parsed.title,
        "media_type": parsed.media_type,
        "pages": [[p.page, p.start, p.end] for p in parsed.pages],
        "headings": [[h.start, h.level, h.title] for h in parsed.headings],
        "blocks": [list(block) for block in parsed.blocks],
        "notes": list(parsed.notes),
        "labels": list(labels),
        "drafts": None if drafts is None else [[d.start, d.end, labels[d.heading], d.page] for d in drafts],
    }
    return head, parsed.text.encode()


def parsed_of(head: dict[str, Any], body: bytes, most_chars: int) -> tuple[Parsed, tuple[ChunkDraft, ...]]:
    """The answer of a child as values whose every span lies in the text, in order.

    Raises:
        Garbled: it is anything else.
    """
    try:
        text = body.decode()
        if len(text) > most_chars or "\0" in text:
            raise Garbled("a text that is too long, or holds a NUL")
        parsed = Parsed(
            text=text,
            title=_line(head["title"]),
            media_type=_line(head["media_type"]),
            pages=tuple(Page(page=_whole(p), start=_whole(s), end=_whole(e)) for p, s, e in head["pages"]),
            headings=tuple(Heading(start=_whole(s), level=_whole(n), title=_line(t)) for s, n, t in head["headings"]),
            blocks=tuple((_whole(s), _whole(e)) for s, e in head["blocks"]),
            notes=tuple(_line(note) for note in head["notes"][:_MOST_NOTES]),
        )
        _in_order([(page.start, page.end) for page in parsed.pages], len(text))
        _in_order([(heading.start, heading.start) for heading in parsed.headings], len(text))
        _in_order(parsed.blocks, len(text))
        return parsed, _drafts(head, text)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Garbled(f"{type(error).__name__}: {error}") from error


def refusal_of(error: Any) -> FileRefused:
    """The refusal that a child sent, as plain words.

    Raises:
        Garbled: it has no code, or is no refusal at all.
    """
    try:
        code = _line(error["code"])
        if not _CODE.fullmatch(code):
            raise Garbled("a code that is none")
        return FileRefused(_line(error["message"])[:_SAID], hint=_line(error["hint"])[:_SAID], code=code)
    except (KeyError, TypeError) as wrong:
        raise Garbled(f"{type(wrong).__name__}: {wrong}") from wrong


def _drafts(head: dict[str, Any], text: str) -> tuple[ChunkDraft, ...]:
    rows = head["drafts"] or ()
    spans = [(_whole(start), _whole(end)) for start, end, _, _ in rows]
    _in_order(spans, len(text))
    if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
        raise Garbled("chunks that overlap")  # found before they are cut: a million whole texts would fill the machine
    labels = [_line(label) for label in head["labels"]]
    return tuple(
        ChunkDraft(
            ordinal=ordinal,
            start=start,
            end=end,
            text=text[start:end],
            heading=labels[_whole(label)],
            page=None if page is None else _whole(page),
        )
        for ordinal, ((start, end), (_, _, label, page)) in enumerate(zip(spans, rows, strict=True))
    )


def _in_order(spans: Sequence[tuple[int, int]], length: int) -> None:
    if not all(start <= end <= length for start, end in spans):
        raise Garbled("spans that are not within the text")
    if any(later[0] < earlier[0] for earlier, later in pairwise(spans)):
        raise Garbled("spans that are not in order")


def _whole(value: Any) -> int:
    """A number from 0. Negative offsets would count from the end, so they are none."""
    if type(value) is not int or not 0 <= value <= 2**53:
        raise Garbled(f"{type(value).__name__} for a number")
    return value


def _line(value: Any) -> str:
    if type(value) is not str:
        raise Garbled(f"{type(value).__name__} for words")
    return value.encode("utf-8", "replace").decode()  # a lone surrogate would break whoever writes it down
