"""The dialog that starts a retrain."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import node, tell
from ui.web.pages import go
from ui.web.views import asking


@st.dialog("Retrain", width="large", icon=":material/model_training:")
def ask(without: Sequence[str] = ()) -> None:
    """Ask how, and start it. `without`: ids of documents that the adapter must never have seen."""
    try:
        options = asking.fields("retrain")
        asking.replay(options)
        with st.expander("More", expanded=bool(without)):
            options |= asking.more("retrain", options["kind"], without)
            recipe = asking.recipe("retrain")
            if st.checkbox(
                "A control: shuffle the labels, so that the gate must refuse it",
                key="retrain.control",
                help="Shows that the gate works here. It trains an adapter that is of no use.",
            ):
                options["control"] = "shuffled"
        look.small("What comes out is a candidate. It serves nobody before the gate has judged it and you let it.")
        with st.container(horizontal=True):
            wrong = recipe is None
            start = st.button(
                "Start", type="primary", icon=":material/play_arrow:", key="retrain.start", disabled=wrong
            )
            hold = st.button(
                "Draw the mix only",
                icon=":material/pause:",
                key="retrain.hold",
                disabled=wrong,
                help="It then waits on the Rehearsal page until you approve it.",
            )
        if start or hold:
            job = node().enqueue_retrain(**options, recipe=recipe or {}, **({"hold": True} if hold else {}))
            go("adapters", run=job["run"])
    except RepriseError as error:
        tell(error)
