"""Words for people to read: text from outside made harmless, times and sizes made short.

Documents, names and answers are untrusted. Where Streamlit takes HTML they go through `escape`; where it
takes Markdown (labels, messages) through `label`, after which nothing is a link, an image or a formula.
"""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

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


def parts(answer: str, citations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An answer cut at its marks, in order: `{"text"}` or `{"mark", "about"}`. The rest stays text."""
    about = {c["n"]: source(c) for c in citations}
    cut: list[dict[str, Any]] = []
    at = 0
    for found in _MARK.finditer(answer):
        n = int(found[1])
        if n not in about:
            continue
        if found.start() > at:
            cut.append({"text": answer[at : found.start()]})
        cut.append({"mark": n, "about": about[n]})
        at = found.end()
    if at < len(answer):
        cut.append({"text": answer[at:]})
    return cut


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


def size(count: int) -> str:
    """Bytes for reading."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def number(value: float | None, digits: int = 3) -> str:
    """A measured value, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 document`, `2 documents`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
