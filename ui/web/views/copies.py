"""Duplicates: documents of a workspace that are copies of each other, or nearly. Nothing is dropped for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, workspaces
from ui.web.plain import count, label

KINDS = {"same bytes": "the same file", "same text": "the same text", "near": "nearly the same text"}
_TONES = {"same bytes": "bad", "same text": "warn"}
_SHOWN, _MEMBERS = 50, 20


def show(documents: list[dict[str, Any]], opening: Callable[[str, int], None]) -> None:
    """Draw the tab; a click on a document calls `opening(document, version)`."""
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    workspace = left.selectbox("Workspace", workspaces(documents), key="copies.workspace")
    threshold = right.slider(
        "Least likeness",
        0.3,
        1.0,
        0.8,
        0.05,
        key="copies.threshold",
        help="The share of five-word runs that two documents have in common.",
    )
    with st.spinner("Comparing …"):
        groups = node().duplicates(workspace, threshold)
    if not groups:
        look.empty("No two documents are alike.", "Lower the likeness to see more distant relatives.")
        return
    look.small(count(len(groups), "group"), "most alike first", "the live version of each document counts")
    for n, group in enumerate(groups[:_SHOWN]):
        _group(n, group, opening)
    if len(groups) > _SHOWN:
        st.caption(f"The first {_SHOWN} of {len(groups)}. `reprise duplicates` prints them all.")


def _group(n: int, group: dict[str, Any], opening: Callable[[str, int], None]) -> None:
    kind, members = group["kind"], group["documents"]
    with st.container(border=True, gap="small"):
        st.html(
            f"{look.tag(likeness(group['similarity']))} {look.tag(KINDS.get(kind, kind), _TONES.get(kind, ''))}",
        )
        for one in members[:_MEMBERS]:
            st.button(
                f"{label(one['name'], 120)}  ·  version {one['version']}",
                type="tertiary",
                icon=":material/description:",
                key=f"copies.{n}.{one['document']}",
                on_click=opening,
                args=(one["document"], one["version"]),
            )
        if len(members) > _MEMBERS:
            look.small(f"and {len(members) - _MEMBERS:,} more")


def likeness(share: float) -> str:
    """A similarity as a percentage; what is not whole is never told as 100 %."""
    return "100 %" if share >= 1 else f"{min(99, int(share * 100))} %"
