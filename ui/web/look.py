"""How the pages look: a little CSS over Streamlit's theme, page heads, empty states and small print."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import streamlit as st

from ui.web.plain import escape


def head(title: str, about: str) -> None:
    """The head of a page."""
    st.html(f'<div class="rp-head"><h1>{escape(title)}</h1><p>{escape(about)}</p></div>')


def section(title: str) -> None:
    """The head of a part of a page."""
    st.html(f'<div class="rp-section" role="heading" aria-level="2">{escape(title)}</div>')


def empty(what: str, todo: str) -> None:
    """An empty state: what is not there, and what to do next."""
    st.html(f'<div class="rp-empty"><b>{escape(what)}</b><span>{escape(todo)}</span></div>')


def small(*words: object) -> None:
    """Small print; the parts that are not empty, with dots between them."""
    parts = " &nbsp;·&nbsp; ".join(escape(w) for w in words if w not in (None, ""))
    st.html(f'<div class="rp-small">{parts}</div>')


def words(text: str) -> None:
    """Text from outside, as it is."""
    st.html(f'<div class="rp-words">{escape(text) or "&nbsp;"}</div>')


def facts(pairs: Sequence[tuple[str, object]]) -> None:
    """A few named values in a row."""
    cells = "".join(f"<div><span>{escape(name)}</span><b>{escape(value)}</b></div>" for name, value in pairs)
    st.html(f'<div class="rp-facts">{cells}</div>')


def pairs(rows: Sequence[tuple[str, object]]) -> None:
    """Named values below one another, for those that need a line of their own."""
    cells = "".join(f"<span>{escape(name)}</span><div>{escape(value)}</div>" for name, value in rows)
    st.html(f'<div class="rp-pairs">{cells}</div>')


def tag(text: str, tone: str = "") -> str:
    """HTML of a small label; `tone` is good, bad, warn or empty."""
    return f'<span class="rp-tag {f"rp-{tone}" if tone else ""}">{escape(text)}</span>'


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Container[int] = ()) -> None:
    """A table whose cells are HTML, escaped already; the columns in `numbers` are set to the right.

    For few rows that are to be read whole, where `table` would cut what they say.
    """

    def row(cells: Sequence[str], kind: str) -> str:
        classes = (' class="rp-number"' if i in numbers else "" for i in range(len(cells)))
        return "<tr>" + "".join(f"<{kind}{c}>{cell}</{kind}>" for c, cell in zip(classes, cells, strict=True)) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    head = row([escape(name) for name in heads], "th")
    st.html(f'<div class="rp-grid"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>')


def table(rows: Sequence[dict[str, Any]], **options: Any) -> Any:
    """Rows as a table. Cells show text as it is: no Markdown, no links, no images."""
    given: dict[str, Any] = {"hide_index": True, "placeholder": "–", **options}
    return st.dataframe(list(rows), **given)


def chosen(event: Any) -> int | None:
    """The row that was clicked in a table with `selection_mode="single-cell"`."""
    cells = event.selection.cells if event is not None else []
    return int(cells[0][0]) if cells else None
