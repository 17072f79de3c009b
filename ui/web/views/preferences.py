"""My preferences: how I am answered, where I look by default, what I consent to; all of it mine to take or erase."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import node, tell, told, who
from ui.web.languages import NAMES
from ui.web.plain import count, shorten

OPEN = "as the question is"
LANGUAGES = {"": OPEN} | {code: name for code, name in NAMES.items() if code != "und"}
LENGTHS = {"": "as it comes", "short": "short", "normal": "normal", "long": "long"}
_ANY = "no preference"
ERASED = "erased.said"


@st.dialog("My preferences", width="medium", on_dismiss="rerun")
def show(documents: list[dict[str, Any]]) -> None:
    """Draw the dialog."""
    with told():
        mine = node().me(user=who())
        look.small(f"You are “{mine['user']}”. This is a name, not a login: whoever gives the same name sees the same.")
        _form(mine, documents)
        _mine()


def _form(mine: dict[str, Any], documents: list[dict[str, Any]]) -> None:
    with st.form("me", border=False):
        a, b, c = st.columns(3)
        known = LANGUAGES if (mine["language"] or "") in LANGUAGES else LANGUAGES | {mine["language"]: mine["language"]}
        language = a.selectbox(
            "Language",
            list(known),
            list(known).index(mine["language"] or ""),
            format_func=lambda v: known[v],
            key="me.language",
        )
        length = b.selectbox(
            "Length",
            list(LENGTHS),
            list(LENGTHS).index(mine["length"] or ""),
            format_func=lambda v: LENGTHS[v],
            key="me.length",
        )
        tone = c.text_input("Tone", mine["tone"] or "", key="me.tone", max_chars=60, placeholder="plain, formal, …")
        look.small("Generators that write follow these. The extractive one quotes your documents word for word.")
        shelves = [_ANY, *sorted({str(d["workspace"]) for d in documents} | ({mine["workspace"]} - {None}))]
        a, b, c = st.columns([2, 3, 2])
        workspace = a.selectbox(
            "Look in workspace", shelves, shelves.index(mine["workspace"] or _ANY), key="me.workspace"
        )
        names = {d["document"]: d["name"] for d in documents}
        chosen = [d["document"] for d in mine["documents"] if d["document"] in names]
        only = b.multiselect(
            "Only in documents",
            list(names),
            chosen,
            format_func=lambda d: shorten(names[d], 60),
            key="me.documents",
            placeholder="all documents",
        )
        tags = c.text_input("With the tags", ", ".join(mine["tags"]), key="me.tags", placeholder="any")
        look.small("Questions that say nothing else look there; the answer says so.")
        consent = st.checkbox(
            "My earlier questions and my preferences may become training examples",
            mine["consent"],
            key="me.consent",
            help="Without this, an answer that drew on them makes no example, whatever you say of it. "
            "Taking it back removes the examples that were made by it.",
        )
        if not st.form_submit_button("Save", type="primary"):
            return
    changes = {
        "language": language,
        "length": length,
        "tone": tone,
        "workspace": None if workspace == _ANY else workspace,
        "documents": only,
        "tags": tags.split(","),
        "consent": consent,
    }
    try:
        now = node().set_me(changes, user=who())
    except RepriseError as error:
        tell(error)
        return
    gone = now["examples_withdrawn"]
    st.success("Saved." + (f" {count(gone, 'example')} made by your consent went." if gone else ""))


def _mine() -> None:
    look.section("Everything about me")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Export as JSON",
            lambda: json.dumps(node().export_me(user=who()), ensure_ascii=False, indent=2),
            "reprise-me.json",
            "application/json",
            icon=":material/download:",
            key="me.export",
            on_click="ignore",
        )
        with st.popover("Erase everything …", icon=":material/delete_forever:", key="me.erase"):
            look.words("Your preferences, conversations, questions and votes go for good. Documents are not touched.")
            if st.button("Erase everything about me", type="primary", key="me.erase.yes"):
                try:
                    receipt = node().erase_me(user=who())
                except RepriseError as error:
                    tell(error)
                    return
                for name in [n for n in st.session_state if str(n).startswith(("chat.", "me."))]:
                    del st.session_state[name]
                st.session_state[ERASED] = (  # said once the page is drawn anew: what is said before may go unseen
                    f"Erased: {count(receipt['conversations'], 'conversation')}, "
                    f"{count(receipt['turns'], 'question')}, {count(receipt['feedback'], 'vote')}. "
                    f"The audit log knows it as {receipt['key']}."
                )
                st.rerun()
