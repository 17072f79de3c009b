"""A cited passage in its document: the quote marked, in the middle of the text around it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import node, tell
from ui.web.plain import escape, source

AROUND = 20_000
"""Characters shown on either side of a quote."""

_HTML = '<div class="passage" data-testid="passage" tabindex="0"></div>'
_CSS = """
.passage { white-space: pre-wrap; overflow-wrap: anywhere; overflow: auto; max-height: min(26rem, 38vh);
           line-height: 1.55; font-family: var(--st-font); font-size: .9rem; color: var(--st-text-color);
           padding: .8rem 1rem; border-radius: .5rem;
           border: 1px solid color-mix(in srgb, var(--st-text-color) 16%, transparent); }
mark { background: #ffe28a; color: #26221a; border-radius: .2em; padding: .06em .1em; }
.cut { opacity: .55; font-style: italic; }
"""
_JS = """
export default function ({ data, parentElement }) {
  const box = parentElement.querySelector(".passage");
  box.replaceChildren();
  const cut = (text) => {
    const note = document.createElement("span");
    note.className = "cut";
    note.textContent = text;
    box.append(note);
  };
  if (data.cut_before) cut("… ");
  box.append(document.createTextNode(data.before));
  const mark = document.createElement("mark");
  mark.textContent = data.quote;
  box.append(mark, document.createTextNode(data.after));
  if (data.cut_after) cut(" …");
  requestAnimationFrame(() => {
    box.scrollTop = Math.max(0, mark.offsetTop - box.offsetTop - box.clientHeight / 3);
  });
}
"""
_passage = st.components.v2.component("reprise.passage", html=_HTML, css=_CSS, js=_JS)


def window(text: str, start: int, end: int, around: int = AROUND) -> dict[str, Any]:
    """`text` cut at a quote: what stands before and after it, and whether more stands beyond."""
    first, last = max(0, start - around), min(len(text), end + around)
    return {
        "before": text[first:start],
        "quote": text[start:end],
        "after": text[end:last],
        "cut_before": first > 0,
        "cut_after": last < len(text),
    }


def show(cited: dict[str, Any], *, key: str) -> bool:
    """Draw a citation: where it stands, and the quote in its text. False when that text is not to be had."""
    title = cited.get("title") or cited.get("name") or cited["document"]
    where = source(cited).removeprefix(title).removeprefix(" › ").removeprefix(", ")
    numbered = look.tag(f"{cited['n']}") + " " if cited.get("n") else ""
    st.html(f'<div style="font-weight:650;overflow-wrap:anywhere">{numbered}{escape(title)}</div>')
    look.small(cited.get("name"), f"version {cited['version']}", where)
    try:
        # Asked for each time and kept nowhere: a deleted text must be gone from this process too.
        text = node().text(cited["document"], cited["version"])["text"]
    except RepriseError as error:
        _tombstone(cited, error)
        return False
    _passage(key=f"{key}-text", data=window(text, cited["start"], cited["end"]))
    return True


def download(cited: dict[str, Any], *, key: str) -> None:
    """A button for the cited version's file as it came in. Its bytes are fetched when it is clicked."""
    st.download_button(
        "Original",
        data=lambda: node().original(cited["document"], cited["version"]),
        file_name=str(cited.get("name") or "document").rsplit("/", 1)[-1],
        icon=":material/download:",
        key=key,
        help=f"Download the file of version {cited['version']} as it came in.",
    )


def _tombstone(cited: dict[str, Any], error: RepriseError) -> None:
    if error.code == "expired":
        look.empty("This text is not there any more.", error.message + ".")
    elif error.code in ("deleted", "not_found"):
        look.empty(
            "This text is not there any more.",
            f"The document was deleted, or its version {cited['version']} has expired.",
        )
    else:
        tell(error)
