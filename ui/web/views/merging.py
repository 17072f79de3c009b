"""The dialog that makes one adapter of several, without training. What comes out is judged like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import ALL, node, tell, workspaces
from ui.web.pages import go

METHODS = {
    "cat": "the weighted sum of what they do",
    "ties": "the largest changes of each, where they agree",
    "dare": "a random part of each, made as much larger",
}
"""Ways of merging, by name."""


@st.dialog("Merge adapters", width="medium", icon=":material/merge:")
def ask(adapters: Sequence[dict[str, Any]]) -> None:
    """Ask which and how, and start it."""
    names = [a["adapter"] for a in adapters if a["kind"] == "retriever"]
    chosen = st.multiselect("Adapters of one base model", names, key="merge.adapters", placeholder="two or more")
    method = st.selectbox("Method", list(METHODS), format_func=lambda m: f"{m}: {METHODS[m]}", key="merge.method")
    how: dict[str, Any] = {"method": method}
    if len(chosen) > 1:
        columns = st.columns(len(chosen))
        share = round(1 / len(chosen), 2)
        how["weights"] = [
            column.number_input(
                name, 0.0, 2.0, share, 0.05, key=f"merge.weight.{len(chosen)}.{name}", help="Its weight."
            )
            for column, name in zip(columns, chosen, strict=True)
        ]
    if method != "cat":
        how["density"] = st.slider("Share of entries that are kept", 0.05, 1.0, 0.5, 0.05, key="merge.density")
    workspace = st.selectbox(
        "Judged on the questions of", [ALL, *workspaces(node().documents())], key="merge.workspace"
    )
    if workspace != ALL:
        how["workspace"] = workspace
    look.small(
        "A finishing step and no substitute for rehearsal. The gate asks the merged adapter what it asks any other."
    )
    if st.button("Merge", type="primary", icon=":material/merge:", disabled=len(chosen) < 2, key="merge.start"):
        try:
            job = node().enqueue_merge(chosen, **how)
        except RepriseError as error:
            tell(error)
            return
        go("adapters", run=job["run"])
