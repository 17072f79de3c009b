"""Words for people to read: text from outside made harmless, times and sizes made short.

Documents, names and answers are untrusted. Where Streamlit takes HTML they go through `escape`; where it
takes Markdown (labels, messages) through `label`, after which nothing is a link, an image or a formula.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from retrieval.compose import UNSUPPORTED

_ZERO_WIDTH = "\u200b"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&\"'/@])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MARK = re.compile(r"\[(\d+)\]")


def escape(text: object) -> str:
    """`text` for use in an HTML element or quoted attribute. Controls that reorder text are dropped."""
    return html.escape(_CONTROL.sub("", str(text)))


def label(text: object, longest: int = 200) -> str:
    """`text` for a place that renders Markdown, on one line and not longer than `longest` characters.

    Escaping with backslashes is not enough: web addresses, e-mail addresses and `:shortcodes:` are found
    after Markdown was parsed. An invisible space takes them apart.
    """
    line = shorten(_CONTROL.sub("", str(text)), longest)
    line = re.sub(r"(?i)(https?|ftp|mailto|www)(?=[:.])", rf"\1{_ZERO_WIDTH}", line)
    line = re.sub(r"([@:])(?=\S)", rf"\1{_ZERO_WIDTH}", line)
    return _MARKDOWN.sub(r"\\\1", line)


def shorten(text: str, longest: int) -> str:
    """`text` on one line, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def apart(answer: str, notes: int) -> tuple[str, list[str]]:
    """An answer's sentences, and its notes: as many of its last paragraphs."""
    said, *rest = answer.rsplit("\n\n", notes) if notes else [answer]
    return said, rest


def parts(answer: str, citations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An answer cut at its marks, in order: `{"text"}` or `{"mark", "about"}`. The rest stays text.

    A text that the node marks as not supported by the documents is `{"text", "doubt": True}`.
    """
    about = {c["n"]: source(c) for c in citations}
    cut: list[dict[str, Any]] = []
    at = 0
    for found in _MARK.finditer(answer):
        n = int(found[1])
        if n not in about:
            continue
        cut += _doubted(answer[at : found.start()])
        cut.append({"mark": n, "about": about[n]})
        at = found.end()
    return cut + _doubted(answer[at:])


def _doubted(text: str) -> list[dict[str, Any]]:
    """A text between marks: a sentence that is supported ends with its mark, so what is not stands before it."""
    doubted, flag, rest = text.rpartition(UNSUPPORTED)
    return [*([{"text": doubted + flag, "doubt": True}] if flag else ()), *([{"text": rest}] if rest else ())]


def source(cited: dict[str, Any]) -> str:
    """Where a citation stands, in one line: title, heading, page."""
    title = cited.get("title") or cited.get("name") or cited["document"]
    heading = (cited.get("heading") or "").removeprefix(f"{title} › ")
    where = [title, *([heading] if heading and heading != title else [])]
    return " › ".join(where) + (f", page {cited['page']}" if cited.get("page") else "")


def moment(iso: str | None, *, now: datetime | None = None) -> str:
    """An ISO time for reading, in UTC: `12:04 today`, `yesterday 12:04`, or the date. Empty for None."""
    if not iso:
        return ""
    at = datetime.fromisoformat(iso).astimezone(UTC)
    today = (now or datetime.now(UTC)).date()
    if at.date() == today:
        return f"today {at:%H:%M}"
    if at.date() == today - timedelta(days=1):
        return f"yesterday {at:%H:%M}"
    return f"{at:%Y-%m-%d %H:%M}"


def ago(iso: str | None, *, now: datetime | None = None) -> str:
    """How long an ISO time lies back: `now`, `40 s ago`, `5 min ago`, `3 h ago`, `2 days ago`. Empty for None."""
    if not iso:
        return ""
    seconds = int(((now or datetime.now(UTC)) - datetime.fromisoformat(iso)).total_seconds())
    if seconds < 5:
        return "now"
    for unit, length in (("s", 60), ("min", 60), ("h", 24)):
        if seconds < length:
            return f"{seconds} {unit} ago"
        seconds //= length
    return f"{count(seconds, 'day')} ago"


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") or not text else ".")


def span(seconds: int) -> str:
    """A whole number of seconds in the largest unit that it is whole in: `90 seconds`, `10 minutes`, `1 day`."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds and seconds % length == 0:
            return count(seconds // length, unit)
    return count(seconds, "second")


def took(start: str | None, end: str | None) -> str:
    """How long something took between two ISO times; empty while one of them is not known."""
    if not start or not end:
        return ""
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def numbers(some: Sequence[int]) -> str:
    """Whole numbers in order, neighbours as a range: `1–3, 7`."""
    ranges: list[list[int]] = []
    for n in sorted(set(some)):
        if ranges and ranges[-1][1] == n - 1:
            ranges[-1][1] = n
        else:
            ranges.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in ranges)


def told_in(detail: Any) -> str:
    """A JSON value in one line for reading: `policy: keep 5 versions, epoch: 3`."""
    if isinstance(detail, dict):
        return ", ".join(f"{name.replace('_', ' ')}: {told_in(value)}" for name, value in detail.items())
    if isinstance(detail, list):
        return "; ".join(map(told_in, detail)) or "none"
    if isinstance(detail, bool):
        return "yes" if detail else "no"
    return "none" if detail is None else str(detail)


def number(value: float | None, digits: int = 3) -> str:
    """A measured value, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 document`, `2 documents`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
