"""Advice: for each document and slice, whether what is new belongs in the index, in an adapter, or nowhere yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, workspaces
from ui.web.figures import percent
from ui.web.later import forget, later
from ui.web.plain import escape
from ui.web.views.retrain import ask
from ui.web.views.verdict import duration

_ANSWER = "advice.answer"
_TONES = {"index": "good", "retriever adapter": "warn", "generator adapter": "warn"}
_ORDER = ("retriever adapter", "generator adapter", "index", "neither")
_SHOWN = 100


def show() -> None:
    """Draw the tab."""
    look.small(
        "Facts belong in the index, where a new version counts at once. How people ask, and how answers are written, "
        "is what adapters learn. What follows here is read off your own questions, votes and versions."
    )
    a, b, c = st.columns([1.4, 1.6, 1], vertical_alignment="bottom")
    workspace = a.selectbox("Workspace", workspaces(node().documents()), key="advice.workspace")
    only = b.segmented_control(
        "About", ["all", "slices", "documents"], default="all", required=True, key="advice.about"
    )
    if c.button("Look again", icon=":material/refresh:", key="advice.again"):
        forget(_ANSWER)
    remote = node()
    rows = later(_ANSWER, workspace, lambda: remote.advise(workspace=workspace), "Looking at questions and versions")
    if rows is not None:
        _rows([r for r in rows if only in ("all", None) or r["subject"] in (only.removesuffix("s"), "workspace")])


def _rows(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        look.empty("There is nothing to advise on yet.", "Upload documents, ask questions and give feedback first.")
        return
    counted = Counter(r["verdict"] for r in rows)
    look.facts([(verdict.capitalize(), counted[verdict]) for verdict in _ORDER if counted[verdict]])
    ordered = sorted(rows, key=lambda r: (_ORDER.index(r["verdict"]), -r["facts"]["asked"], r["name"]))
    look.grid(
        ["What is new in", "Belongs in", "Why", "Asked", "Found", "Would take"],
        [_row(r) for r in ordered[:_SHOWN]],
        numbers=(3, 4, 5),
    )
    look.small(
        "Asked: how often in the last 90 days. Found: share of the questions with a known passage that find it among "
        "the first ten.",
        f"the first {_SHOWN} of {len(rows)}" if len(rows) > _SHOWN else "",
    )
    ready = [r for r in rows if "adapter" in r["verdict"] and r["ready"]]
    if ready and st.button("Retrain …", type="primary", icon=":material/model_training:", key="advice.retrain"):
        ask()


def _row(r: dict[str, Any]) -> list[str]:
    facts = r["facts"]
    waits = "" if r["ready"] else f" {look.tag('not yet')}"
    why = r["reason"][:1].upper() + r["reason"][1:]
    return [
        f'<div>{escape(r["name"])}</div><div class="rp-about">{escape(r["subject"])}</div>',
        look.tag(r["verdict"], _TONES.get(r["verdict"], "")) + waits,
        f'<div class="rp-wide">{escape(why)}.</div>',
        escape(facts["asked"]),
        escape(percent(facts["found"])),
        escape("–" if r["seconds"] is None else duration(r["seconds"])),
    ]
