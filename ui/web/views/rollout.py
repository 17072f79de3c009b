"""Rollouts: an adapter on trial, what its figures say so far and what follows; adapters with a place of their own."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from ui.web import figures, look
from ui.web.client import node, told, workspaces
from ui.web.figures import percent
from ui.web.plain import count, escape, label, moment, number, sentence

_SAID = "adapters.said"
_ENDS = {"promoted": "good", "harm": "bad", "stopped": "", "superseded": ""}
_ENDED = {
    "promoted": "it serves everybody",
    "harm": "taken back: its figures were worse",
    "stopped": "stopped by a person",
    "superseded": "ended, as what it was compared with changed",
}


def show(adapters: list[dict[str, Any]]) -> None:
    """Draw the tab."""
    trials = node().rollouts()
    running = [t for t in trials if t["state"] == "running"]
    if not running:
        look.empty(
            "No adapter is on trial.",
            "Open an adapter that serves nobody and choose “Try it first”: unseen, or for a share of those who ask.",
        )
    for trial in running:
        _live(trial["rollout"])
    ended = [t for t in trials if t["state"] != "running"]
    if ended:
        with st.expander(f"Earlier trials ({len(ended)})"):
            _earlier(ended)
    _routes(adapters)


# --- a trial --------------------------------------------------------------------------------------


@st.fragment(run_every=5.0)
def _live(rollout: str) -> None:
    """A trial as it is now; the page is drawn again when it ends."""
    with told():
        trial = next((t for t in node().rollouts() if t["rollout"] == rollout), None)
        if trial is None or trial["state"] != "running":
            st.rerun()
        else:
            with st.container(border=True):
                _trial(trial)


def _trial(trial: dict[str, Any]) -> None:
    st.html(
        f'<div class="rp-line"><b>{escape(trial["adapter"])}</b>{look.tag("on trial", "warn")}'
        f"<span>against {escape(trial['against'] or 'the base model')}, since {escape(moment(trial['started']))}"
        "</span></div>"
    )
    _steps(trial)
    if trial["stage"] == "shadow":
        _shadow(trial)
    else:
        _canary(trial)
    look.words(sentence(trial["reason"]))
    with st.container(horizontal=True, vertical_alignment="center"):
        onward = trial["steps"][0] if trial["steps"] else 1.0
        words = "Let it serve everybody" if onward >= 1 else f"Give it {percent(onward)} now"
        if st.button(words, icon=":material/arrow_upward:", key=f"rollout.advance.{trial['rollout']}"):
            with told():
                now = node().advance_rollout(trial["kind"])
                st.session_state[_SAID] = f"{label(trial['adapter'])} {_stands(now)}."
                st.rerun()
        if st.button("Stop the trial", icon=":material/stop:", key=f"rollout.stop.{trial['rollout']}"):
            with told():
                node().stop_rollout(trial["kind"])
                st.session_state[_SAID] = f"The trial of {label(trial['adapter'])} was stopped; it is a candidate."
                st.rerun()
        look.small("Whatever the figures say; by themselves they decide at each look.")


def _steps(trial: dict[str, Any]) -> None:
    """Where it stands on its way: a trial tells the step it is at and those to come, not what is behind."""
    onward = [percent(s) if s < 1 else "everybody" for s in trial["steps"]]
    if trial["stage"] == "shadow":
        st.html(figures.steps(["unseen", *onward], 0))
        return
    names = [f"{percent(trial['share'])} of those who ask", *onward]
    st.html(figures.steps(["begun", *names], 1))


def _shadow(trial: dict[str, Any]) -> None:
    seen, needed = trial["shadow"], trial["plan"]["min_shadows"]
    look.small("Both answer every question; the champion's answer is the one that is shown.")
    look.facts(
        [
            ("Compared", f"{seen['compared']} of {needed}"),
            ("Same first 10 passages", _share(seen["overlap@10"])),
            ("Another first citation", seen["first_citation_changed"]),
            ("Answers lost", seen["answers_lost"]),
            ("Answers gained", seen["answers_gained"]),
            ("Failed", sum(seen["failed"].values())),
            ("Time", _times(seen["ms"], seen["shadow_ms"])),
        ]
    )
    st.html(figures.bar(seen["compared"] / needed if needed else 1.0, "how many of the needed questions are compared"))
    if seen["failed"]:
        st.warning("It failed: " + "; ".join(f"{label(why)} ({n})" for why, n in seen["failed"].items()))


def _canary(trial: dict[str, Any]) -> None:
    arms = trial["arms"]
    rows = []
    for name, arm in (("on trial", arms["canary"]), ("champion", arms["champion"])):
        share = arm["good"] / arm["votes"] if arm["votes"] else None
        rows.append(
            [
                escape(name),
                escape(arm["answers"]),
                escape(_of(arm["abstained"], arm["answers"])),
                escape(f"{arm['good']} of {arm['votes']}" if arm["votes"] else "none yet"),
                figures.bar(share, "share of good votes") if share is not None else "",
                escape("–" if arm["ms"] is None else f"{arm['ms']:.0f} ms"),
            ]
        )
    look.grid(["Arm", "Answers", "Refused to answer", "Good votes", "", "Median time"], rows, numbers=(1, 5))
    _evidence(trial)


def _evidence(trial: dict[str, Any]) -> None:
    """How far the sequential test is from either end."""
    plan, evidence = trial["plan"], trial["log_evidence"]
    rows = []
    for name, log_e, needed, tone, then in (
        ("that it is worse", evidence["worse"], 2 / plan["alpha"], "bad", "it is taken back"),
        (
            f"that it is not worse by {percent(plan['margin'])}",
            evidence["not_worse"],
            1 / plan["beta"],
            "",
            "it takes the next step",
        ),
    ):
        share = 0.0 if log_e is None else max(0.0, log_e / math.log(needed))
        shown = "–" if log_e is None else number(math.exp(min(log_e, 30.0)), 2)
        rows.append(
            [
                escape(name),
                figures.bar(share, f"{shown} of {needed:.0f}", tone),
                escape(f"{shown} of {needed:.0f}"),
                escape(f"at {needed:.0f} {then}"),
            ]
        )
    look.grid(["Evidence", "", "So far", "What follows"], rows)
    look.small(
        "The evidence may be looked at after every vote: looking often does not make a mistake likelier. Each step "
        f"needs {count(plan['min_votes'], 'vote')} of its own, and each person counts "
        + ("once" if plan["per_unit"] == 1 else f"{plan['per_unit']} times at most")
        + " for each of the two adapters."
    )


def _stands(trial: dict[str, Any]) -> str:
    if trial["state"] == "promoted":
        return "serves everybody now"
    return f"answers {percent(trial['share'])} of those who ask now"


def _earlier(trials: list[dict[str, Any]]) -> None:
    look.grid(
        ["Adapter", "Ended (UTC)", "How", "Why"],
        [
            [
                escape(t["adapter"]),
                escape(moment(t["ended"])),
                look.tag(_ENDED.get(t["state"], t["state"]), _ENDS.get(t["state"], "")),
                f'<div class="rp-wide">{escape(sentence(t["reason"]))}</div>',
            ]
            for t in trials
        ],
    )


# --- routes ---------------------------------------------------------------------------------------


def _routes(adapters: list[dict[str, Any]]) -> None:
    look.section("A place of its own")
    look.small("An adapter can serve one workspace, or one slice of its questions, whatever serves everywhere else.")
    for route in node().routes():
        key = f"{route['kind']}.{route['workspace']}.{route['slice']}"
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", border=True):
            place = f"{route['workspace']} › {route['slice']}" if route["slice"] else route["workspace"]
            st.html(
                f'<div><div class="rp-line"><b>{escape(place)}</b><span>{escape(route["adapter"])}</span></div>'
                f'<div class="rp-small">{escape(sentence(route["reason"]))}</div></div>'
            )
            if st.button("Remove", icon=":material/delete:", key=f"route.remove.{key}"):
                with told():
                    node().remove_route(route["workspace"], route["slice"], route["kind"])
                    st.rerun()
    if adapters:
        _add_route(adapters)


def _add_route(adapters: list[dict[str, Any]]) -> None:
    slices = sorted({str(e["counted_in"]) for e in node().examples(status="approved")})
    with st.expander("Add a route"), st.form("route.add", border=False):
        a, b, c = st.columns(3)
        adapter = a.selectbox("Adapter", [x["adapter"] for x in adapters], key="route.adapter")
        workspace = b.selectbox("Workspace", workspaces(node().documents()), key="route.workspace")
        slice_name = c.selectbox(
            "Only the slice", [None, *slices], key="route.slice", format_func=lambda s: s or "all of it"
        )
        reason = st.text_input(
            "Why, if its verdict does not speak for it there",
            key="route.why",
            placeholder="kept in the audit log; leave it empty to let the verdict decide",
        )
        sent = st.form_submit_button("Route", type="primary", icon=":material/alt_route:")
    if sent:
        with told():
            node().set_route(adapter, workspace, slice_name, reason.strip() or None)
            st.session_state[_SAID] = f"{label(adapter)} serves there from the next question on."
            st.rerun()


# --- words ----------------------------------------------------------------------------------------


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _times(ours: float | None, shadow: float | None) -> str:
    return "–" if ours is None or shadow is None else f"{ours:.0f} → {shadow:.0f} ms"


def _of(n: int, total: int) -> str:
    return f"{n} ({n / total:.0%})" if total else "none yet"
