"""An answer whose citation marks can be clicked. The browser puts its text up as text, never as HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.web.plain import parts

_HTML = '<div class="answer" data-testid="answer"></div>'
_CSS = """
.answer { scroll-margin: 4rem 0 15rem; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.6;
          font-family: var(--st-font); font-size: 1rem; color: var(--st-text-color); }
button { font: inherit; font-size: .72em; font-weight: 650; line-height: 1.25; vertical-align: .28em;
         cursor: pointer; margin: 0 .1em; padding: 0 .42em; border-radius: .5em;
         color: var(--st-primary-color);
         border: 1px solid color-mix(in srgb, var(--st-primary-color) 45%, transparent);
         background: color-mix(in srgb, var(--st-primary-color) 9%, transparent); }
button:hover, button:focus-visible {
         background: color-mix(in srgb, var(--st-primary-color) 24%, transparent); }
button[aria-pressed=true] { color: var(--st-background-color); background: var(--st-primary-color); }
"""
_JS = """
const seen = new Set();
export default function ({ data, parentElement, setTriggerValue }) {
  const answer = parentElement.querySelector(".answer");
  answer.replaceChildren();
  for (const part of data.parts) {
    if (part.mark === undefined) {
      answer.append(document.createTextNode(part.text));
      continue;
    }
    const mark = document.createElement("button");
    mark.type = "button";
    mark.textContent = String(part.mark);
    mark.title = part.about;
    mark.setAttribute("aria-label", `Open citation ${part.mark}: ${part.about}`);
    mark.setAttribute("aria-pressed", String(part.mark === data.open));
    mark.onclick = () => setTriggerValue("cite", part.mark);
    answer.append(mark);
  }
  if (!seen.has(data.turn)) {
    seen.add(data.turn);
    setTimeout(() => answer.scrollIntoView({ block: "nearest", behavior: "smooth" }), 150);
  }
}
"""
_answer = st.components.v2.component("reprise.answer", html=_HTML, css=_CSS, js=_JS)


def cited_answer(
    answer: str,
    citations: list[dict[str, Any]],
    *,
    key: str,
    opened: int | None,
    on_cite: Callable[[int], None],
) -> None:
    """Draw an answer; a click on mark n calls `on_cite(n)`. `opened` is the mark whose passage is open."""

    def clicked() -> None:
        n = st.session_state[key].get("cite")
        if n is not None:
            on_cite(int(n))

    _answer(key=key, data={"turn": key, "parts": parts(answer, citations), "open": opened}, on_cite_change=clicked)
