"""One example: its words, what happened to it, and an edit of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import node, tell
from ui.web.plain import escape, moment, number

_WHAT = {
    "created": "came in",
    "approved": "approved",
    "quarantined": "held back",
    "edited": "edited",
    "retired": "retired",
    "re-grounded": "tied to a newer version",
    "rehearsed": "practised",
    "forgotten": "found forgotten",
}
_TONES = {"approved": "good", "quarantined": "warn", "retired": "", "forgotten": "bad"}
_WORDS = ("question", "answer", "preferred", "rejected")
_TEXTS = {
    "question": "Question",
    "answer": "Answer",
    "preferred": "Better answer (for preferences)",
    "rejected": "Worse answer (for preferences)",
}


def show(e: dict[str, Any], done: Callable[[str], None]) -> None:
    """Draw an example of the list; `done` is told what was changed."""
    st.html(
        f'<div class="rp-line">{look.tag(e["status"], _TONES.get(e["status"], ""))}'
        f"<span>{escape(e['question'])}</span></div>"
    )
    if e["answer"]:
        look.words(e["answer"])
    topic = f"topic {e['cluster']}" if e.get("cluster") else ""
    look.small(
        e["example"],
        f"workspace {e['workspace']}",
        f"rests on {', '.join(e['documents'])}" if e["documents"] else "rests on no passage",
        topic,
        f"licence {e['licence']}" if e.get("licence") else "",
        e["reason"],
    )
    left, right = st.tabs(["What happened to it", "Edit"])
    with left:
        _history(e["example"])
    with right:
        _edit(e, done)


def _history(example: str) -> None:
    try:
        rows = node().example_history(example)
    except RepriseError as error:
        tell(error)
        return
    look.grid(
        ["When (UTC)", "What", "By", ""],
        [
            [
                escape(moment(row["at"])),
                look.tag(_WHAT.get(row["what"], row["what"]), _TONES.get(row["what"], "")),
                escape("" if row["actor"] == "local" else row["actor"]),
                f'<div class="rp-wide">{escape(_about(row, example))}</div>',
            ]
            for row in reversed(rows)
        ],
    )


def _about(row: dict[str, Any], example: str) -> str:
    """What an event tells besides its name."""
    detail = row["detail"]
    said = [str(detail["reason"])] if detail.get("reason") else []
    if detail.get("changed"):
        said.append("changed: " + ", ".join(detail["changed"]))
    if detail.get("run"):
        loss = f", loss {number(detail['loss'])}" if detail.get("loss") is not None else ""
        before = f" (it was {number(detail['before'])})" if detail.get("before") is not None else ""
        said.append(f"in {detail['run']}{loss}{before}")
    if detail.get("rule"):
        said.append(
            f"made by {detail.get('by', 'rules')} from a {detail['rule']}, found at rank {detail.get('rank', '–')}"
        )
    if row["example"] != example:
        said.append(f"when it read: {row['question']}")
    return "; ".join(said)


def _edit(e: dict[str, Any], done: Callable[[str], None]) -> None:
    key = f"example.{e['example']}"
    with st.form(key, border=False):
        now: dict[str, Any] = {}
        for name, words in _TEXTS.items():
            if name in ("question", "answer") or e.get(name):
                now[name] = st.text_area(words, e.get(name) or "", key=f"{key}.{name}", height=80)
        a, b, c = st.columns([2, 2, 1], vertical_alignment="bottom")
        now["slice"] = a.text_input("Slice", e["slice"], key=f"{key}.slice")
        now["licence"] = b.text_input("Licence", e.get("licence") or "", key=f"{key}.licence")
        now["pinned"] = c.checkbox(
            "Pinned", e["pinned"], key=f"{key}.pinned", help="Getting it wrong would be an incident."
        )
        a, b = st.columns(2)
        document = a.text_input("Document", key=f"{key}.document", placeholder=", ".join(e["documents"]) or "its name")
        quote = b.text_input("Sentence in it that gives the answer", key=f"{key}.quote", placeholder="as it is")
        standalone = st.checkbox("It needs no passage", key=f"{key}.standalone") if not e["documents"] else False
        sent = st.form_submit_button("Save", type="primary", icon=":material/save:")
        look.small("Other words make another example of it, which takes its place: no adapter has practised them yet.")
    if not sent:
        return
    changes = {name: value for name, value in now.items() if _plain(value) != _plain(e.get(name))}
    changes = {name: _plain(value) for name, value in changes.items()}
    grounding = {"document": document.strip(), "quote": quote.strip(), "standalone": standalone}
    changes |= {name: value for name, value in grounding.items() if value}
    try:
        edited = node().edit_example(e["example"], changes)
    except RepriseError as error:
        tell(error)
        return
    said = "Saved." if edited["replaces"] is None else "Saved as a new example, in the place of the old one."
    done(said + (f" It is held back: {edited['reason']}." if edited["status"] == "quarantined" else ""))


def _plain(value: Any) -> Any:
    """A field's value as the platform keeps it: an empty text is none."""
    return (value.strip() or None) if isinstance(value, str) else value
