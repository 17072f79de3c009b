"""Index: the model that makes the vectors, and the work that makes the index anew while it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, told
from ui.web.plain import label
from ui.web.watch import called, under_way, watch

_WORKS = ("reembed", "rechunk", "maintain")


def show() -> None:
    """Draw the tab."""
    found = node().embedder()
    look.facts(
        [
            ("Embedder", found["name"]),
            ("Dimensions", found["dimension"]),
            ("Points", f"{found['points']:,}"),
            ("Collection", found["collection"]),
        ]
    )
    look.small(f"fingerprint {found['fingerprint']}")
    if found["advice"]:
        st.warning(label(found["advice"], 600))
    running = under_way(*_WORKS)
    if found["switching_to"] and not running:
        st.warning(f"A switch to {label(found['switching_to'])} was begun and waits to go on.")
    watch(running, _title(found))
    if not running:
        look.empty("Nothing is being done to the index.", "A switch of the embedder and other work are shown here.")
    with st.container(horizontal=True):
        _start(
            "Maintain now",
            ":material/build:",
            bool(running),
            "Makes the index anew without what was deleted, and faster to search. It serves meanwhile, and nothing "
            "has to be done by hand: Reprise does this by itself when it is worth it.",
        )
        _rechunk(bool(running))
    st.caption("`reprise embedder switch MODEL` takes another model. The one that serves goes on until then.")


def _title(found: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    def title(job: dict[str, Any]) -> str:
        to = job["args"].get("model") or found["switching_to"]
        return called(job) + (f" to {label(to)}" if job["kind"] == "reembed" and to else "")

    return title


def _start(words: str, icon: str, busy: bool, about: str) -> None:
    if st.button(words, icon=icon, disabled=busy, help=about, key="index.maintain"):
        with told():
            node().enqueue_maintain()
            st.rerun()


def _rechunk(busy: bool) -> None:
    about = "Publishes again, with today's chunks, every document that an earlier chunker cut."
    if st.button("Chunk again", icon=":material/content_cut:", disabled=busy, help=about, key="index.rechunk"):
        with told():
            node().enqueue_rechunk()
            st.rerun()
