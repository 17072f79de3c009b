"""Which adapters have seen a document, and how to train one that has not."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node
from ui.web.pages import go
from ui.web.plain import escape, numbers
from ui.web.views.retrain import ask

_HOW = {"directly": "its own examples or contrasts", "through parents": "an adapter that it goes on from"}
_TONES = {"champion": "good", "canary": "warn", "shadow": "warn"}


def show(document: dict[str, Any], _history: list[dict[str, Any]]) -> None:
    """Draw the tab of a document."""
    doc = document["document"]
    seen = node().lineage(doc)["adapters"]
    if not seen:
        look.empty(
            "No adapter has seen this document.",
            "It is answered from as it stands. An adapter sees a document when examples rest on it.",
        )
        return
    look.small("What an adapter has seen cannot be taken out of it; a retrain can leave it out from the beginning.")
    look.grid(
        ["Adapter", "State", "Seen through", "Versions", "Examples", "As contrast"],
        [
            [
                escape(a["adapter"]),
                look.tag(a["state"], _TONES.get(a["state"], "")),
                escape(_HOW.get(a["how"], a["how"])),
                escape(numbers(a["versions"])),
                escape(a["examples"] or "–"),
                escape(a["contrasts"] or "–"),
            ]
            for a in seen
        ],
        numbers=(4, 5),
    )
    look.small("As contrast: its passages stood as wrong answers, so that right ones were told from them.")
    with st.container(horizontal=True):
        if st.button("Retrain without it …", icon=":material/model_training:", key=f"sight.retrain.{doc}"):
            ask(without=(doc,))
        if st.button("See the newest of them", icon=":material/tune:", key=f"sight.see.{doc}"):
            go("adapters", adapter=seen[0]["adapter"])
