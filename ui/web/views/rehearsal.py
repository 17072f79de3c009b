"""Rehearsal: the examples and how they come in, what the next retrain would practise, mixes that wait for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, told
from ui.web.pages import asked
from ui.web.views import adding, advice, examples, mix, proposals, topics

_TAB = "rehearsal.tab"
_TABS = ("Examples", "Add", "Topics", "Advice", "Next mix", "Waiting mixes")


def show() -> None:
    """Draw the page."""
    wanted = asked("rehearsal")
    if wanted.get("tab"):
        st.session_state[_TAB] = wanted["tab"]
    look.head(
        "Rehearsal",
        "Examples teach Reprise how you ask. Each retrain learns the new ones and practises old ones again.",
    )
    known = node().examples()
    waiting = node().proposals()
    if waiting and st.session_state.get(_TAB) != "Waiting mixes":
        look.small(f"{len(waiting)} drawn and waiting for approval, in the tab Waiting mixes.")
    tabs = st.tabs(_TABS, key=_TAB, on_change="rerun")
    draws: Sequence[Callable[[], None]] = (
        lambda: examples.show(known),
        lambda: adding.show(known),
        topics.show,
        advice.show,
        lambda: _mix(known),
        lambda: proposals.show(waiting),
    )
    for tab, draw in zip(tabs, draws, strict=True):
        if tab.open:
            with tab, told():
                draw()


def _mix(known: list[dict[str, Any]]) -> None:
    if any(e["status"] == "approved" and e["split"] == "train" for e in known):
        mix.show()
    else:
        look.empty("There is nothing to train on.", "Correct some answers in the Chat, or add examples in the tab Add.")
