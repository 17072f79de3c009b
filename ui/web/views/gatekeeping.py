"""The gate: how strict it is, in words and figures that can be changed, and the suites that every run is asked."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.lines import lines_in
from ui.web import look
from ui.web.client import ALL, node, told, who, workspaces
from ui.web.plain import count, escape, moment
from ui.web.views.asking import KINDS

Threshold = tuple[str, str, float]
"""Its name on the page, what it means, and the step of its field."""
LOSS: dict[str, Threshold] = {
    "tolerance": (
        "Loss that is let pass",
        "On an old slice, and as served: .015 is one and a half points of nDCG. Noise may allow more.",
        0.005,
    ),
    "leg_tolerance": ("The same for refusals, citations, …", "Of a leg that has no tolerance of its own.", 0.005),
    "min_slice": (
        "Smallest slice judged alone",
        "Slices with fewer questions are judged together, the old ones and the new ones.",
        1,
    ),
    "led": ("Questions led astray", "That had the right document first, and are now led to one wrong one.", 1),
    "pulled": ("Loss where rows contradict", "On questions whose most similar rows name one wrong document.", 0.005),
}
GAIN: dict[str, Threshold] = {
    "min_gain": ("Least sure gain", "What the lower bound of the gain on new questions has to be above.", 0.005),
    "min_n": ("Fewest held-out questions", "With fewer nothing can be told, and the gate refuses.", 1),
    "min_new": ("Fewest new questions", "On which a gain is judged.", 1),
    "sure_new": ("Enough new questions", "With fewer an exact test has to agree as well.", 1),
    "confidence": ("Confidence", "Of the bounds, 0.5 to 0.9999.", 0.01),
}
DATA: dict[str, Threshold] = {
    "stale": ("Superseded rows", "Share of the mix whose source may have changed since it was drawn.", 0.01),
    "rise": ("Rise of the loss", "How many times its first value the training loss may end at.", 0.05),
    "resamples": ("Resamples", "Of the bootstrap; more are slower and steadier.", 1000),
}
_SUITE_ROW = '{"question": "Can gifts be returned?", "relevant": [{"document": "returns.md", "start": 40, "end": 90}]}'
_GROUPS = {"What may be lost": LOSS, "What has to be gained": GAIN, "What it was trained on": DATA}


def show() -> None:
    """Draw the tab."""
    look.small(
        "Every adapter is compared, question by question, with what serves. All rules must hold: a great gain does not "
        "buy a forgotten topic. A verdict keeps the policy it was given by."
    )
    a, b, _ = st.columns([1.2, 1.4, 1.6], vertical_alignment="bottom")
    kind = a.selectbox("Adapters of", list(KINDS), format_func=lambda k: KINDS[k], key="gate.kind")
    chosen = b.selectbox("In workspace", [ALL, *workspaces(node().documents())], key="gate.workspace")
    workspace = None if chosen == ALL else chosen
    with told():
        _policy(kind, workspace)
        _suites()


def _policy(kind: str, workspace: str | None) -> None:
    now = node().gate_policy(kind, workspace)
    policy, own = now["policy"], now["set"]
    values: dict[str, Any] = {}
    place = f"{kind}.{workspace}.{now['changed']}"  # another policy is another form
    with st.form(f"gate.policy.{place}"):
        values["approval"] = st.checkbox(
            "An accepted adapter waits until a person approves it", policy["approval"], key=f"gate.approval.{place}"
        )
        values["gain"] = st.checkbox(
            "An adapter has to be surely better on what is new",
            policy["gain"],
            key=f"gate.gain.{place}",
            help="Off: it need only lose nothing, as one does that leaves documents out.",
        )
        for title, group in _GROUPS.items():
            st.html(f'<div class="rp-small"><b>{escape(title)}</b></div>')
            columns = st.columns(3)
            for n, (name, (words, about, step)) in enumerate(group.items()):
                values[name] = columns[n % 3].number_input(
                    words + (" (set)" if name in own else ""),
                    value=type(step)(policy[name]),
                    step=step,
                    format="%.4f" if isinstance(step, float) and step < 0.01 else None,
                    help=about,
                    key=f"gate.{name}.{place}",
                )
        with st.container(horizontal=True):
            save = st.form_submit_button("Save", type="primary", icon=":material/save:")
            reset = st.form_submit_button("Take the defaults again", icon=":material/restart_alt:", disabled=not own)
    if policy["legs"]:
        look.small(
            "Legs that must be measured: " + ", ".join(f"{n} (loss up to {t:g})" for n, t in policy["legs"].items())
        )
    when = f"Changed here {moment(now['changed'])} UTC: " if now["changed"] else ""
    told = ", ".join(f"{name} {value}" for name, value in own.items())
    look.small(when + told if own else "These are the defaults.")
    if save:
        changes = {name: value for name, value in values.items() if value != policy[name]}
        if changes:
            node().set_gate_policy(changes, kind, workspace, user=who())
            st.rerun()
    if reset:
        node().set_gate_policy({}, kind, workspace, reset=True, user=who())
        st.rerun()


# --- suites ---------------------------------------------------------------------------------------


def _suites() -> None:
    look.section("Pinned suites")
    look.small("Questions that every adapter is asked. Not one of them that worked may fail.")
    for suite in node().suites():
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", border=True):
            look.facts(
                [
                    ("Suite", suite["suite"]),
                    ("Questions", suite["questions"]),
                    ("Workspace", suite["workspace"]),
                    ("Pinned (UTC)", f"{moment(suite['created'])} by {suite['by']}"),
                ]
            )
            if st.button("Let it go", icon=":material/delete:", key=f"gate.unpin.{suite['suite']}"):
                node().unpin_suite(suite["suite"], user=who())
                st.rerun()
    with st.expander("Pin a suite"), st.form("gate.pin", border=False, clear_on_submit=True):
        a, b = st.columns(2)
        name = a.text_input("Name", key="gate.pin.name", placeholder="incidents")
        workspace = b.selectbox("Workspace", workspaces(node().documents()), key="gate.pin.workspace")
        file = st.file_uploader("JSON lines, as for `reprise eval`", type=["jsonl", "json", "txt"], key="gate.pin.file")
        st.code(_SUITE_ROW, language="json", wrap_lines=True)
        sent = st.form_submit_button("Pin", type="primary", icon=":material/push_pin:")
    if sent:
        if not name.strip() or file is None:
            st.warning("Give it a name, and choose a file.")
            return
        pinned = node().pin_suite(name.strip(), lines_in(file.getvalue(), file.name), workspace, user=who())
        st.toast(f"Pinned with {count(pinned['questions'], 'question')}.")
        st.rerun()
