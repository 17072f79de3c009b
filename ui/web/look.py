"""How the pages look: a little CSS over Streamlit's theme, page heads, empty states and small print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.web.plain import escape

CSS = """
<style>
[data-testid="stMainBlockContainer"] { padding-top: 3.2rem; padding-bottom: 2.5rem; max-width: 76rem; }
[data-testid="stSidebar"] { min-width: 13.5rem; max-width: 13.5rem; }
.rp-head h1 { font-size: 1.65rem; font-weight: 650; letter-spacing: -.01em; padding: 0; margin: 0 0 .15rem; }
.rp-head p { margin: 0; opacity: .7; max-width: 46rem; }
.rp-words { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.55; }
.rp-small { font-size: .8rem; opacity: .65; line-height: 1.5; overflow-wrap: anywhere; }
.rp-empty { border: 1px dashed color-mix(in srgb, currentColor 28%, transparent); border-radius: .6rem;
            padding: 1.4rem 1.6rem; }
.rp-empty b { display: block; margin-bottom: .2rem; }
.rp-empty span { opacity: .75; }
.rp-facts { display: flex; flex-wrap: wrap; gap: .3rem 2.2rem; margin: .1rem 0 .2rem; }
.rp-facts div { display: flex; flex-direction: column; }
.rp-facts dt { font-size: .78rem; opacity: .65; margin: 0; }
.rp-facts dd { font-size: 1.12rem; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
.rp-text { border: 1px solid color-mix(in srgb, currentColor 16%, transparent); border-radius: .5rem; padding: .9rem 1.1rem;
           max-height: 34rem; overflow: auto; font-size: .92rem; }
.rp-pair { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; margin-bottom: .8rem; }
.rp-pair > div { border-radius: .5rem; padding: .7rem .9rem; font-size: .9rem; }
.rp-gone { background: color-mix(in srgb, #d94a57 11%, transparent); }
.rp-come { background: color-mix(in srgb, #079464 11%, transparent); }
.rp-gone del { background: color-mix(in srgb, #d94a57 30%, transparent); }
.rp-come ins { background: color-mix(in srgb, #079464 28%, transparent); text-decoration: none; }
.rp-note { font-size: .75rem; opacity: .65; margin-bottom: .2rem; }
.rp-tag { display: inline-block; font-size: .75rem; font-weight: 600; border-radius: 1rem; padding: .08rem .55rem;
          background: color-mix(in srgb, currentColor 12%, transparent); }
.rp-good { color: #0b7a53; } .rp-bad { color: #c0392b; } .rp-warn { color: #a86a00; }
@media (prefers-color-scheme: dark) { .rp-good { color: #6fd0a6; } .rp-bad { color: #f2919a; } .rp-warn { color: #f0c060; } }
.st-key-cited { position: sticky; top: 3.6rem; }
[data-testid="stColumn"]:has(.st-key-cited) { align-self: stretch; }
</style>
"""


def head(title: str, about: str) -> None:
    """The head of a page."""
    st.html(f'<div class="rp-head"><h1>{escape(title)}</h1><p>{escape(about)}</p></div>')


def empty(what: str, todo: str) -> None:
    """An empty state: what is not there, and what to do next."""
    st.html(f'<div class="rp-empty"><b>{escape(what)}</b><span>{escape(todo)}</span></div>')


def small(*words: object) -> None:
    """Small print; the parts that are not empty, with dots between them."""
    st.html(f'<div class="rp-small">{" &nbsp;·&nbsp; ".join(escape(w) for w in words if w not in (None, ""))}</div>')


def words(text: str) -> None:
    """Text from outside, as it is."""
    st.html(f'<div class="rp-words">{escape(text) or "&nbsp;"}</div>')


def facts(pairs: Sequence[tuple[str, object]]) -> None:
    """A few named values in a row."""
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    st.html(f'<dl class="rp-facts">{cells}</dl>')


def tag(text: str, tone: str = "") -> str:
    """HTML of a small label; `tone` is good, bad, warn or empty."""
    return f'<span class="rp-tag {f"rp-{tone}" if tone else ""}">{escape(text)}</span>'


def table(rows: Sequence[dict[str, Any]], **options: Any) -> Any:
    """Rows as a table. Cells show text as it is: no Markdown, no links, no images."""
    import pandas as pd

    options.setdefault("hide_index", True)
    return st.dataframe(pd.DataFrame(list(rows)), **options)


def chosen(event: Any) -> int | None:
    """The row that was clicked in a table with `selection_mode="single-cell"`."""
    cells = event.selection.cells if event is not None else []
    return int(cells[0][0]) if cells else None


