"""The dialog that starts a retrain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import node, tell
from ui.web.pages import go
from ui.web.plain import shorten
from ui.web.views import asking

_STARTS = {"champion": "the champion", "base": "the base model"}


@st.dialog("Retrain", width="large", icon=":material/model_training:")
def ask(without: Sequence[str] = ()) -> None:
    """Ask how, and start it. `without`: ids of documents that the adapter must never have seen."""
    try:
        options = asking.fields("retrain")
        asking.replay(options)
        with st.expander("More", expanded=bool(without)):
            options |= _more(options["kind"], without)
        look.small("What comes out is a candidate. It serves nobody before the gate has judged it and you let it.")
        with st.container(horizontal=True):
            start = st.button("Start", type="primary", icon=":material/play_arrow:", key="retrain.start")
            hold = st.button(
                "Draw the mix only",
                icon=":material/pause:",
                key="retrain.hold",
                help="It then waits on the Rehearsal page until you approve it.",
            )
        if start or hold:
            job = node().enqueue_retrain(**options, **({"hold": True} if hold else {}))
            go("adapters", run=job["run"])
    except RepriseError as error:
        tell(error)


def _more(kind: str, without: Sequence[str]) -> dict[str, Any]:
    """What is rarely asked for."""
    more: dict[str, Any] = {}
    names: dict[str, str] = {d["document"]: d["name"] for d in node().documents()}
    chosen = st.multiselect(
        "Without these documents",
        list(names),
        [d for d in without if d in names],
        format_func=lambda d: shorten(names.get(d) or str(d), 60),
        key=f"retrain.without.{','.join(without)}",
        placeholder="none",
        help="Their examples stay out, and training starts from an adapter that has never seen them.",
    )
    if chosen:
        more["without"] = chosen
    a, b = st.columns(2)
    if not chosen:
        others = [x["adapter"] for x in node().adapters() if x["kind"] == kind and x["state"] != "champion"]
        start = a.selectbox(
            "Training starts from", [*_STARTS, *others], format_func=lambda s: _STARTS.get(s, s), key="retrain.from"
        )
        if start != "champion":
            more["start"] = start
    methods = asking.WAYS if kind == "generator" else None
    if methods:
        more["method"] = b.selectbox(
            "Method", list(methods), format_func=lambda m: f"{m.upper()}: {methods[m]}", key="retrain.method"
        )
    if st.checkbox(
        "A control: shuffle the labels, so that the gate must refuse it",
        key="retrain.control",
        help="Shows that the gate works here. It trains an adapter that is of no use.",
    ):
        more["control"] = "shuffled"
    return more
