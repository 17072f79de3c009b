"""Schedule: when retrains start by themselves, and what became of it each time."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, told
from ui.web.pages import go
from ui.web.plain import escape, moment
from ui.web.times import CAUSES, RESULTS, pause
from ui.web.times import told as when_told
from ui.web.views import timing

_SHOWN = 20


def show() -> None:
    """Draw the page."""
    look.head(
        "Schedule",
        "Retrains by the clock, or when there is reason to. What comes out is a candidate: it has to pass the gate.",
    )
    said = st.session_state.pop(timing.SAID, None)
    if said:
        st.success(said)
    schedules = node().schedules()
    if not schedules:
        look.empty(
            "No retrain is planned.",
            "Add a schedule below. Once a week at a quiet hour, if there are enough new examples, is a good beginning.",
        )
    for schedule in schedules:
        with st.container(border=True):
            _schedule(schedule)
    look.section("Add a schedule")
    timing.add()


def _schedule(schedule: dict[str, Any]) -> None:
    name = schedule["schedule"]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        state = look.tag("paused", "warn") if schedule["paused"] else ""
        st.html(f'<div class="rp-line"><b>{escape(when_told(schedule))}</b>{state}</div>')
        _buttons(schedule)
    look.facts(
        [
            ("Next", _next(schedule)),
            ("Last", moment(schedule["last"]) or "never"),
            ("What came of it", RESULTS.get(schedule["last_result"] or "", (schedule["last_result"] or "–", ""))[0]),
            ("Between two", pause(schedule["cooldown"])),
            ("Workspace", schedule["workspace"] or "all"),
        ]
    )
    _seen(schedule)
    if schedule["last_result"] == "proposed" and st.button(
        "See the mix and decide", icon=":material/approval:", key=f"schedule.decide.{name}"
    ):
        go("rehearsal", tab="Waiting mixes")
    look.small(
        f"cron {schedule['cron']}" if schedule["cron"] else "",
        " ".join(filter(None, (schedule["kind"], schedule["method"]))),
        f"policy {schedule['policy']}" if schedule["policy"] else "",
        f"replay ratio {schedule['rho']}" if schedule["rho"] is not None else "replay ratio chosen by itself",
        name,
    )
    with st.expander("History", key=f"schedule.history.{name}", on_change="rerun") as history:
        if history.open:
            _history(name)
    with st.expander("Change it", key=f"schedule.edit.{name}", on_change="rerun") as edit:
        if edit.open:
            timing.edit(schedule)


def _buttons(schedule: dict[str, Any]) -> None:
    name = schedule["schedule"]
    with st.container(horizontal=True, width="content"):
        word, icon = ("Go on", ":material/play_arrow:") if schedule["paused"] else ("Pause", ":material/pause:")
        if st.button(word, icon=icon, key=f"schedule.pause.{name}"):
            with told():
                node().pause_schedule(name)
                st.rerun()
        if st.button("Remove", icon=":material/delete:", key=f"schedule.remove.{name}"):
            with told():
                node().remove_schedule(name)
                st.session_state[timing.SAID] = "The schedule is gone. Adapters that came of it stay."
                st.rerun()


def _next(schedule: dict[str, Any]) -> str:
    if schedule["paused"]:
        return "paused"
    return f"{moment(schedule['next'])} UTC" if schedule["next"] else "when a condition holds"


def _seen(schedule: dict[str, Any]) -> None:
    """What its conditions saw when they were last looked at."""
    seen = schedule["seen"] or {}
    said = []
    if seen.get("examples") is not None:
        said.append(f"{seen['examples']} new examples")
    drift = seen.get("drift")
    if drift:
        said.append("no clear drift" if drift.get("change") else "too few questions yet to tell drift")
    if seen.get("gate"):
        said.append(seen["gate"]["why"])
    if said:
        look.small("Seen at the last look: " + ", ".join(said) + ".")


def _history(schedule: str) -> None:
    rows = node().schedule_history(schedule, _SHOWN)
    if not rows:
        look.small("Nothing has happened yet.")
        return
    look.grid(
        ["When (UTC)", "Because of", "What came of it"],
        [[escape(moment(r["at"])), escape(CAUSES.get(r["cause"], r["cause"])), _came(r)] for r in rows],
    )
    runs = [r["run"] for r in rows if r["run"]]
    if runs and st.button("See the last run", icon=":material/tune:", key=f"schedule.run.{schedule}"):
        go("adapters", run=runs[0])


def _came(row: dict[str, Any]) -> str:
    """HTML of what a firing came to."""
    words, tone = RESULTS.get(row["result"], (row["result"], ""))
    missed = f"{row['missed']} times were missed before" if row["missed"] else ""
    about = "".join(
        f'<div class="rp-about">{escape(said)}</div>' for said in (row["message"], row["run"], missed) if said
    )
    return f'<div class="rp-wide">{look.tag(words, tone)}{about}</div>'
