"""Library: find a document to open, bring documents in, and look after sources, copies and old versions."""

from __future__ import annotations

from typing import Any

import streamlit as st

from finetune.cost import size
from ui.web import look
from ui.web.client import ALL, node, told
from ui.web.pages import asked
from ui.web.plain import count, moment
from ui.web.views import copies, document, retention, sources, upload

DOCUMENTS, UPLOAD, SOURCES, COPIES, RETENTION = TABS = ("Documents", "Upload", "Sources", "Duplicates", "Retention")
_DOC, _TAB, _FIRST = "library.document", "library.tab", "library.first"


def show() -> None:
    """Draw the page."""
    wanted = asked("library")
    if wanted:
        _open(wanted["document"], wanted.get("version"))
    documents = node().documents()
    look.head(
        "Library",
        "Every document keeps its versions. The same name again is the next version of the same document.",
    )
    # The first tab is chosen once: it must not change under somebody's hands when a first document appears.
    first = st.session_state.setdefault(_FIRST, DOCUMENTS if documents else UPLOAD)
    tabs = dict(zip(TABS, st.tabs(TABS, default=first, key=_TAB, on_change="rerun"), strict=True))
    for name, tab in tabs.items():
        if tab.open:
            with tab, told():
                _draw(name, documents)


def _draw(name: str, documents: list[dict[str, Any]]) -> None:
    if name == DOCUMENTS:
        _browse(documents)
    elif name == UPLOAD:
        upload.show(documents)
    elif name == SOURCES:
        sources.show(documents)
    elif name == COPIES:
        copies.show(documents, _open)
    else:
        retention.show(documents)


def _open(doc: str, version: int | None = None) -> None:
    """Show a document, at a version; called before the page is drawn."""
    st.session_state[_DOC] = doc
    st.session_state[_TAB] = DOCUMENTS
    st.session_state[document.VERSION] = (doc, version)


def _browse(documents: list[dict[str, Any]]) -> None:
    if not documents:
        look.empty("The library is empty.", "Upload some documents: open the tab beside this one.")
        return
    names = {d["document"]: f"{d['name']}  ({d['workspace']})" for d in documents}
    if st.session_state.get(_DOC) not in names:
        st.session_state[_DOC] = None
    left, middle, right = st.columns([2, 3, 4])
    shelf = left.selectbox("Workspace", [ALL, *sorted({d["workspace"] for d in documents})], key="library.shelf")
    words = middle.text_input("Find", placeholder="part of a name or title", key="library.find").casefold()
    chosen = right.selectbox(
        "Open a document",
        list(names),
        format_func=lambda d: names.get(d, d),
        key=_DOC,
        index=None,
        placeholder="choose here, or click a row",
    )
    rows = [
        d
        for d in documents
        if shelf in (ALL, d["workspace"]) and (words in d["name"].casefold() or words in d["title"].casefold())
    ]
    if rows:
        _documents(rows)
    else:
        look.empty("No document has that in its name or title.", "Try fewer letters, or another workspace.")
    if chosen:
        with st.container(border=True):
            document.show(next(d for d in documents if d["document"] == chosen))


def _documents(rows: list[dict[str, Any]]) -> None:
    """The table of documents; a click on a row opens its document."""

    def clicked() -> None:
        row = look.chosen(st.session_state["library.table"])
        if row is not None and row < len(rows):
            st.session_state[_DOC] = rows[row]["document"]

    look.small(count(len(rows), "document"))
    ahead = any(d["pending"] for d in rows)
    look.table(
        [
            {
                "Name": d["name"],
                "Title": d["title"],
                "Workspace": d["workspace"],
                "Version": d["live_version"],
                **({"To come": "yes" if d["pending"] else ""} if ahead else {}),
                "Passages": d["chunks"],
                "Size": size(d["bytes"]),
                "Updated (UTC)": moment(d["updated"]),
            }
            for d in rows
        ],
        on_select=clicked,
        selection_mode="single-cell",
        key="library.table",
        height=min(38 + 35 * len(rows), 248),
    )
