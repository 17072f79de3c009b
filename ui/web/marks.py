"""An answer whose citation marks can be clicked. The browser puts its text up as text, never as HTML.

Until it is whole it stands as `coming` draws it, with marks that cannot be clicked yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.web.plain import apart, escape, parts

_HTML = '<div class="answer" data-testid="answer"></div>'
_CSS = """
.answer { scroll-margin: 4rem 0 15rem; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.6;
          font-family: var(--st-font); font-size: 1rem; color: var(--st-text-color); }
.doubt { text-decoration: underline dotted #c47d00; text-underline-offset: .25em; opacity: .75; }
.note { margin: .7rem 0 0; padding: .45rem .8rem; font-size: .9rem; border-radius: 0 .4rem .4rem 0;
        border-left: 3px solid #c47d00; background: color-mix(in srgb, #c47d00 9%, transparent); }
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
  const put = (parts, place) => {
    for (const part of parts) {
      if (part.mark === undefined) {
        const words = document.createElement("span");
        words.textContent = part.text;
        if (part.doubt) {
          words.className = "doubt";
          words.title = "No passage says this.";
        }
        place.append(words);
        continue;
      }
      const mark = document.createElement("button");
      mark.type = "button";
      mark.textContent = String(part.mark);
      mark.title = part.about;
      mark.setAttribute("aria-label", `Open citation ${part.mark}: ${part.about}`);
      mark.setAttribute("aria-pressed", String(part.mark === data.open));
      mark.onclick = () => setTriggerValue("cite", part.mark);
      place.append(mark);
    }
  };
  put(data.parts, answer);
  for (const parts of data.notes) {
    const note = document.createElement("div");
    note.className = "note";
    note.setAttribute("role", "note");
    put(parts, note);
    answer.append(note);
  }
  if (!seen.has(data.turn)) {
    seen.add(data.turn);
    setTimeout(() => answer.scrollIntoView({ block: "nearest", behavior: "smooth" }), 150);
  }
}
"""
_answer = st.components.v2.component("reprise.answer", html=_HTML, css=_CSS, js=_JS)


def cited_answer(
    shown: dict[str, Any],
    *,
    key: str,
    opened: int | None,
    on_cite: Callable[[int], None],
) -> None:
    """Draw the answer of a turn; a click on mark n calls `on_cite(n)`. `opened` is the mark whose passage is open."""

    def clicked() -> None:
        n = st.session_state[key].get("cite")
        if n is not None:
            on_cite(int(n))

    said, notes = apart(shown["answer"], len(shown.get("notes") or ()))
    data = {
        "turn": key,
        "parts": parts(said, shown["citations"]),
        "notes": [parts(note, shown["citations"]) for note in notes],
        "open": opened,
    }
    _answer(key=key, data=data, on_cite_change=clicked)


def coming(sentences: list[dict[str, Any]]) -> str:
    """HTML of what has come of an answer: `sentence` events. A paragraph of its own is a note."""
    citations = [cited for sentence in sentences for cited in sentence["citations"]]

    def html(text: str) -> str:
        return "".join(map(_html, parts(text, citations)))

    said = "".join(html(s["text"]) for s in sentences if not s["text"].startswith("\n\n"))
    notes = (html(s["text"].strip()) for s in sentences if s["text"].startswith("\n\n"))
    return f'<div class="rp-coming">{said}{"".join(f"<div>{note}</div>" for note in notes)}</div>'


def _html(part: dict[str, Any]) -> str:
    if "mark" in part:
        return f'<span class="rp-mark">{part["mark"]}</span>'
    return f'<span class="rp-doubt">{escape(part["text"])}</span>' if part.get("doubt") else escape(part["text"])
