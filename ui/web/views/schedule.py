"""Schedule: when retrains start by themselves."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import ALL, node, told, workspaces
from ui.web.plain import moment

EXAMPLES = {
    "0 3 * * 0": "Sundays at 03:00",
    "30 1 * * *": "every day at 01:30",
    "0 2 1 * *": "on the first of each month at 02:00",
    "0 4 * * 1-5": "on working days at 04:00",
}


def show() -> None:
    """Draw the page."""
    look.head("Schedule", "Retrains by the clock. What comes out is a candidate: it still has to pass the gate.")
    schedules = node().schedules()
    if not schedules:
        look.empty("No retrain is planned.", "Add a time below. A quiet hour once a week is a good beginning.")
    for schedule in schedules:
        _row(schedule)
    _add()


def _row(schedule: dict[str, Any]) -> None:
    name = schedule["schedule"]
    with st.container(border=True, horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        look.facts(
            [
                (
                    "Times (UTC)",
                    f"{schedule['cron']}"
                    + (f"  ({EXAMPLES[schedule['cron']]})" if schedule["cron"] in EXAMPLES else ""),
                ),
                ("Workspace", schedule["workspace"] or ALL),
                ("Last", moment(schedule["last"]) or "never"),
                ("Next", "paused" if schedule["paused"] else moment(schedule["next"])),
            ]
        )
        with st.container(horizontal=True, width="content"):
            word, icon = ("Go on", ":material/play_arrow:") if schedule["paused"] else ("Pause", ":material/pause:")
            if st.button(word, icon=icon, key=f"schedule.pause.{name}"):
                with told():
                    node().pause_schedule(name)
                    st.rerun()
            if st.button("Remove", icon=":material/delete:", key=f"schedule.remove.{name}"):
                with told():
                    node().remove_schedule(name)
                    st.rerun()


def _add() -> None:
    look.section("Add a schedule")
    st.pills(
        "Examples",
        list(EXAMPLES),
        format_func=lambda c: EXAMPLES[c],
        key="schedule.example",
        on_change=_take_example,
    )
    with st.form("schedule.add", border=False):
        a, b = st.columns([2, 1])
        cron = a.text_input(
            "Cron expression",
            key="schedule.cron",
            placeholder="0 3 * * 0",
            help="Minute, hour, day of the month, month, weekday. Times are UTC.",
        )
        workspace = b.selectbox("Workspace", [ALL, *workspaces(node().documents())], key="schedule.workspace")
        sent = st.form_submit_button("Add", type="primary", icon=":material/add:")
    look.small("Minute, hour, day of the month, month, weekday; times are UTC. An asterisk stands for every one.")
    if sent:
        with told():
            node().add_schedule(cron.strip(), workspace=None if workspace == ALL else workspace)
            st.rerun()


def _take_example() -> None:
    if st.session_state["schedule.example"]:
        st.session_state["schedule.cron"] = st.session_state["schedule.example"]
