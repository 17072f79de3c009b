"""Adapters: what serves, what waits for a person, and the way to runs, cards, rollouts, forgetting and the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, told, who
from ui.web.pages import asked, go
from ui.web.plain import count, label, moment
from ui.web.views import card, forgetting, gatekeeping, merging, rollout, runs, verdict
from ui.web.views.retrain import ask as ask_retrain

SAID = "adapters.said"
KINDS = {"retriever": "Search", "reranker": "Reranking", "generator": "Writing"}
"""What an adapter of a kind changes, for people."""
TONES = {"champion": "good", "canary": "warn", "shadow": "warn"}
SERVES = {
    "champion": "serves",
    "previous": "kept ready, for a rollback",
    "canary": "on trial, for a share of those who ask",
    "shadow": "on trial, unseen",
    "candidate": "trained, serves nobody",
    "retired": "not in use",
}
_TAB = "adapters.tab"
_TABS = ("Retrains", "Adapters", "Rollout", "Forgetting", "Gate")


def show() -> None:
    """Draw the page."""
    wanted = asked("adapters")
    if wanted.get("run"):
        st.session_state[runs.RUN] = wanted["run"]
        st.session_state[_TAB] = "Retrains"
    if wanted.get("adapter"):
        st.session_state[card.OPEN] = wanted["adapter"]
        st.session_state[_TAB] = "Adapters"
    if wanted.get("tab"):
        st.session_state[_TAB] = wanted["tab"]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        look.head(
            "Adapters",
            "An adapter serves only after a measured verdict, or with a reason that stands in the audit log.",
        )
        if st.button("Retrain …", type="primary", icon=":material/model_training:", key="adapters.retrain"):
            ask_retrain()
    said = st.session_state.pop(SAID, None)
    if said:
        st.success(said)
    trained, adapters = node().runs(), node().adapters()
    _serving(adapters)
    _waiting(trained)
    tabs = st.tabs(_TABS, key=_TAB, on_change="rerun")
    draws: Sequence[Callable[[], None]] = (
        lambda: runs.show(trained, adapters),
        lambda: _adapters(adapters, trained),
        lambda: rollout.show(adapters),
        lambda: forgetting.show(adapters),
        gatekeeping.show,
    )
    for tab, draw in zip(tabs, draws, strict=True):
        if tab.open:
            with tab, told():
                draw()


# --- what serves ----------------------------------------------------------------------------------


def _serving(adapters: list[dict[str, Any]]) -> None:
    """One line for each kind that has adapters; the way back stands beside it."""
    kinds = [kind for kind in KINDS if any(a["kind"] == kind for a in adapters)] or ["retriever"]
    for kind in kinds:
        ours = {a["state"]: a for a in adapters if a["kind"] == kind}
        champion, previous, trial = ours.get("champion"), ours.get("previous"), ours.get("canary") or ours.get("shadow")
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", border=True):
            pairs: list[tuple[str, object]] = [
                (f"{KINDS[kind]} is served by", champion["adapter"] if champion else "the base model"),
                ("Before it", previous["adapter"] if previous else ("the base model" if champion else "–")),
            ]
            if trial:
                pairs.append(("On trial", f"{trial['adapter']} ({_share(trial)})"))
            look.facts(pairs)
            if champion:
                _roll_back(kind, previous["adapter"] if previous else "the base model")


def _roll_back(kind: str, back: str) -> None:
    if st.button(
        "Roll back",
        icon=":material/undo:",
        help=f"Serve {label(back)} again, at once. A trial of this kind ends with it.",
        key=f"adapters.rollback.{kind}",
    ):
        with told():
            done = node().rollback(kind)
            serves = label(done["champion"] or "The base model")
            st.session_state[SAID] = f"{serves} serves again, after {done['ms']:.0f} ms."
            st.rerun()


# --- what waits for a person ----------------------------------------------------------------------


def _waiting(trained: list[dict[str, Any]]) -> None:
    """Adapters whose policy asks for a person's approval and that nobody has approved."""
    known = {r["run"]: r for r in trained}
    for row in (r for r in node().approvals() if r["state"] == "waits"):
        with st.container(border=True):
            look.words(f"{row['adapter']} was accepted by the gate and waits for a person's approval.")
            with st.container(horizontal=True, vertical_alignment="bottom"):
                reason = st.text_input(
                    "Why (optional)",
                    key=f"adapters.approve.why.{row['adapter']}",
                    placeholder="kept in the audit log",
                    width=420,
                )
                if st.button(
                    "Approve", type="primary", icon=":material/check:", key=f"adapters.approve.{row['adapter']}"
                ):
                    with told():
                        node().approve(row["adapter"], reason.strip() or None, user=who())
                        st.session_state[SAID] = f"{label(row['adapter'])} may serve now: promote it, or try it first."
                        st.rerun()
                if row["run"] in known and st.button("See its verdict", key=f"adapters.approve.see.{row['adapter']}"):
                    go("adapters", run=row["run"])


# --- all adapters ---------------------------------------------------------------------------------


def _adapters(adapters: list[dict[str, Any]], trained: list[dict[str, Any]]) -> None:
    if not adapters:
        look.empty(
            "No adapter was trained yet; the base model serves.",
            "Correct answers in the Chat or import examples on the Rehearsal page. Then press Retrain.",
        )
        return
    by_run = {r["run"]: r for r in trained}

    def clicked() -> None:
        row = look.chosen(st.session_state["adapters.table"])
        if row is not None and row < len(adapters):
            st.session_state[card.OPEN] = adapters[row]["adapter"]

    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        look.small(count(len(adapters), "adapter"), "the newest first; a click opens its card")
        if len(adapters) > 1 and st.button("Merge …", icon=":material/merge:", key="adapters.merge"):
            merging.ask(adapters)
    look.table(
        [
            {
                "Adapter": a["adapter"],
                "State": a["state"],
                "Share": _share(a),
                "Gate": "accepted" if a["accepted"] else "refused",
                "Gain": verdict.gain((by_run.get(a["run"]) or {}).get("verdict")),
                "Trained (UTC)": moment(a["created"]),
                "Goes on from": a["parent"] or "base model",
                "Routed to": ", ".join(map(where, a["routes"])),
            }
            for a in adapters
        ],
        on_select=clicked,
        selection_mode="single-cell",
        key="adapters.table",
        height=min(38 + 35 * len(adapters), 318),
        column_config={"Gain": st.column_config.Column(help="Of all questions that were held out: new minus champion")},
    )
    names = [a["adapter"] for a in adapters]
    if st.session_state.get(card.OPEN) not in names:
        st.session_state[card.OPEN] = names[0]
    st.selectbox("Adapter", names, key=card.OPEN)
    opened = next(a for a in adapters if a["adapter"] == st.session_state[card.OPEN])
    card.show(opened, SERVES[opened["state"]], TONES.get(opened["state"], ""))


def where(route: dict[str, Any]) -> str:
    """Where an adapter is routed to."""
    return f"{route['workspace']} › {route['slice']}" if route["slice"] else str(route["workspace"])


def _share(adapter: dict[str, Any]) -> str:
    return {"shadow": "unseen"}.get(adapter["state"]) or (f"{adapter['share']:.0%}" if adapter["share"] else "–")
