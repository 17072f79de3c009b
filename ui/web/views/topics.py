"""Topics: what examples are counted in, slices that a person named and topics that were found."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import figures, look
from ui.web.client import node, told
from ui.web.plain import count, escape
from ui.web.watch import ended, found, under_way, watch

_SORTED = "topics.job"
_ORIGINS = {"import": "imported", "correction": "corrections", "thumbs": "thumbs up", "document": "from documents"}
_FEW = 5
"""Held-out questions below which the gate judges a slice together with others."""


def show() -> None:
    """Draw the tab."""
    rows = node().example_slices()
    if not rows:
        look.empty("There are no examples yet.", "Add some in the tab Add.")
        return
    look.small(
        "Rehearsal keeps a place for each of these in every mix, and the gate judges each one by itself. Examples in "
        "no slice of their own are sorted into topics by meaning, at least forty to a topic."
    )
    _sort()
    most = max(r["train"] for r in rows) or 1
    look.grid(
        ["Slice", "", "For training", "", "For the gate", "Held back", "Origin", "Workspace"],
        [_row(r, most) for r in rows],
        numbers=(2, 4, 5),
    )
    few = [r["slice"] for r in rows if r["train"] > 0 and r["held_out"] < _FEW]
    if few:
        look.small(
            f"{count(len(few), 'slice has', 'slices have')} fewer than {_FEW} questions for the gate, so it judges "
            "them together: add examples where a topic matters to you."
        )


def _row(r: dict[str, Any], most: int) -> list[str]:
    kind = look.tag("named") if r["named"] else look.tag("topic", "warn") if r["clusters"] else ""
    origins = ", ".join(f"{_ORIGINS.get(o, o)} {n}" for o, n in r["origins"].items())
    return [
        escape(r["slice"]),
        kind,
        escape(f"{r['train']:,}"),
        figures.bar(r["train"] / most, "compared with the largest slice"),
        escape(f"{r['held_out']:,}"),
        escape(f"{r['quarantined']:,}"),
        escape(origins),
        escape(r["workspace"]),
    ]


def _sort() -> None:
    if st.button(
        "Sort into topics", icon=":material/category:", key="topics.sort", help="A slice that a person named stays."
    ):
        with told():
            st.session_state[_SORTED] = node().enqueue_cluster()["job"]
            st.rerun()
    watch(under_way("examples-cluster"), lambda _job: "**Sorting into topics**")
    for job in found([st.session_state[_SORTED]]) if st.session_state.get(_SORTED) else []:
        ended(job)
        if job["state"] == "done":
            result = job["result"]
            st.success(f"{count(result['examples'], 'example')} sorted; {result['moved']} changed their topic.")
