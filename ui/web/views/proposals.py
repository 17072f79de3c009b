"""Mixes that wait for a person: read what would be practised, then approve or reject it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, told
from ui.web.pages import go
from ui.web.plain import count, escape, moment
from ui.web.views.mix import show_mix
from ui.web.watch import under_way, watch


def show(waiting: list[dict[str, Any]]) -> None:
    """Draw the tab."""
    if not waiting:
        watch(under_way("retrain"), lambda _job: "**Drawing a mix, or training**")
        look.empty(
            "No mix waits for approval.",
            "In the tab Next mix, “Keep it for approval” draws one that is trained on when somebody has approved it.",
        )
        return
    for proposal in waiting:
        with st.container(border=True):
            _proposal(proposal)


def _proposal(p: dict[str, Any]) -> None:
    name = p["proposal"]
    st.html(
        f'<div class="rp-line"><b>{escape(p["kind"].capitalize())}</b>{look.tag("waits", "warn")}'
        f"<span>drawn {escape(moment(p['created']))} UTC, to go on from {escape(p['parent'] or 'the base model')}"
        "</span></div>"
    )
    look.facts(
        [
            ("New", f"{p['new']:,}"),
            ("Recalled", f"{p['recalled']:,}"),
            ("Policy", p["policy"]),
            ("Replay ratio", f"{p['rho']:.0%}"),
            ("Workspace", p["workspace"] or "all"),
        ]
    )
    if p["gone"]:
        look.small(f"{count(len(p['gone']), 'example')} went away since it was drawn and will be left out.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if st.button("Approve and train", type="primary", icon=":material/check:", key=f"proposal.approve.{name}"):
            with told():
                node().enqueue_approved(name)
                go("adapters", run=name)
        reason = st.text_input("Why not", key=f"proposal.why.{name}", placeholder="kept in the audit log", width=320)
        if st.button("Reject", icon=":material/close:", key=f"proposal.reject.{name}"):
            with told():
                node().reject_mix(name, reason.strip())
                st.rerun()
    with st.expander("The mix, with the reason of each row", key=f"proposal.mix.{name}", on_change="rerun") as mix:
        if mix.open:
            with told():
                show_mix(node().proposal(name)["mix"], key=f"proposal.rows.{name}")
    look.small(name, f"epoch {p['epoch']}")
