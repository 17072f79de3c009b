"""The form of a schedule: its times, its conditions, how long it waits between two, and what it asks for."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import ALL, node, tell, told, workspaces
from ui.web.times import when
from ui.web.views.asking import KINDS, POLICIES, WAYS

SAID = "schedule.said"
OFTEN = {
    "0 3 * * 0": "Sundays at 03:00",
    "30 1 * * *": "every day at 01:30",
    "0 2 1 * *": "the 1st of each month at 02:00",
    "0 4 * * 1-5": "working days at 04:00",
    "": "no fixed time: on conditions alone",
}
"""What people often want, by its cron expression."""
ZONES = ("UTC", "Europe/Berlin", "Europe/London", "Europe/Madrid", "America/New_York", "America/Los_Angeles",
         "America/Sao_Paulo", "Asia/Kolkata", "Asia/Shanghai", "Asia/Tokyo", "Australia/Sydney")  # fmt: skip
_DEFAULT = "0 3 * * 0"
_HOUR = 3600.0
_DAYS, _TURNS = 7, 30
"""Of a window of drift, where nothing else is said."""


def add() -> None:
    """Draw the form of a new schedule."""
    st.pills("Often wanted", list(OFTEN), format_func=lambda c: OFTEN[c], key="schedule.example", on_change=_take)
    asked = _fields("schedule.new", {"cron": _DEFAULT, "timezone": "UTC", "when": [], "cooldown": None})
    if asked is None:
        return
    with told():
        before = {s["schedule"] for s in node().schedules()}
        rows = node().add_schedule(**asked)
        added = next(s for s in rows if s["schedule"] not in before)
        st.session_state[SAID] = "Added." + ("" if added["next"] is None else " Its next time stands below.")
        st.rerun()


def edit(schedule: dict[str, Any]) -> None:
    """Draw the form of one that is there."""
    key = f"schedule.change.{schedule['schedule']}"
    asked = _fields(key, schedule)
    if asked is None:
        return
    changes = {name: value for name, value in asked.items() if value != schedule.get(name)}
    try:
        if changes:
            node().edit_schedule(schedule["schedule"], changes)
            st.session_state[SAID] = "Changed."
        st.rerun()
    except RepriseError as error:
        tell(error)


def _fields(key: str, now: dict[str, Any]) -> dict[str, Any] | None:
    """The fields with what stands there now; what was asked, when it was sent."""
    told_before = {text.partition(">=")[0]: float(text.partition(">=")[2] or 0) for text in now["when"]}
    new = "schedule" not in now
    st.session_state.setdefault(f"{key}.cron", now["cron"] or "")
    st.session_state.setdefault(f"{key}.rho", now.get("rho"))  # a field with a value of its own cannot be emptied
    with st.form(key, border=False):
        a, b = st.columns([1.5, 1])
        cron = a.text_input(
            "Times (cron)",
            key=f"{key}.cron",
            placeholder="0 3 * * 0",
            help="Minute, hour, day of the month, month, weekday; an asterisk stands for every one. "
            "Empty: on conditions alone.",
        ).strip()
        zones = list(dict.fromkeys([now["timezone"], *ZONES]))
        zone = b.selectbox(
            "Time zone", zones, key=f"{key}.zone", accept_new_options=True, help="An IANA name, such as Europe/Berlin."
        )
        if cron and when(cron):
            look.small(f"{cron} means {when(cron)}.")
        a, b, c = st.columns(3)
        examples = a.number_input(
            "If so many new examples",
            0,
            None,
            int(told_before.get("examples", 0)),
            key=f"{key}.examples",
            help="0: never mind.",
        )
        drift = b.number_input(
            "If answers worsen (points)", 0.0, 100.0, told_before.get("drift", 0.0) * 100, 1.0, key=f"{key}.drift",
            help="More questions refused or voted down than before, or answers less supported. 0: never mind.",
        )  # fmt: skip
        gate = c.number_input(
            "After refusals by the gate", 0, 100, int(told_before.get("gate", 0)), key=f"{key}.gate",
            help="More rehearsal after a refusal; after so many in a row from the base model. 0: never mind.",
        )  # fmt: skip
        a, b, c = st.columns(3)
        days = a.number_input(
            "Days of a window of answers", 0.04, 365.0, float(now.get("days") or _DAYS), 1.0, key=f"{key}.days",
            help="Answers of so many days are compared with those of as many days before. Counts where worse answers "
            "are a condition.",
        )  # fmt: skip
        turns = b.number_input(
            "Least answers in each window", 5, 100_000, int(now.get("turns") or _TURNS), key=f"{key}.turns",
            help="With fewer nothing is concluded.",
        )  # fmt: skip
        hours = c.number_input(
            "Hours between two",
            0.0,
            None,
            6.0 if now["cooldown"] is None else now["cooldown"] / _HOUR,
            1.0,
            key=f"{key}.cooldown",
        )
        names = [ALL, *workspaces(node().documents())]
        a, b, c = st.columns(3)
        workspace = a.selectbox("Workspace", names, _at(names, now.get("workspace")), key=f"{key}.workspace")
        kinds = list(KINDS)
        kind = b.selectbox(
            "What is trained",
            kinds,
            _at(kinds, now.get("kind")),
            format_func=lambda k: KINDS.get(k, k),
            key=f"{key}.kind",
        )
        ways = ["", *WAYS]
        method = c.selectbox(
            "How",
            ways,
            _at(ways, now.get("method")),
            format_func=lambda m: WAYS.get(m, "as usual"),
            key=f"{key}.method",
            help="A generator learns from answers, from pairs of a better and a worse one, or from thumbs.",
        )
        a, b, _ = st.columns(3)
        policies = ["", *POLICIES]
        policy = a.selectbox(
            "Old examples",
            policies,
            _at(policies, now.get("policy")),
            format_func=lambda p: p or "as usual",
            key=f"{key}.policy",
        )
        rho = b.number_input(
            "Replay ratio", 0.0, 0.9, None, 0.05, key=f"{key}.rho", placeholder="by itself",
            help="Share of recalled old examples in the mix. Empty: chosen by itself, from what was forgotten before.",
        )  # fmt: skip
        word, icon = ("Add", ":material/add:") if new else ("Save", ":material/save:")
        sent = st.form_submit_button(word, type="primary", icon=icon)
    if not sent:
        return None
    conditions = [f"examples>={examples}"] if examples else []
    conditions += [f"drift>={drift / 100:g}"] if drift else []
    conditions += [f"gate>={gate}"] if gate else []
    asked: dict[str, Any] = {
        "cron": cron or None,
        "timezone": zone,
        "when": conditions,
        "workspace": None if workspace == ALL else workspace,
        "kind": kind,
        "policy": policy or None,
        "rho": None if rho is None else round(rho, 4),
        "method": method or None,
    }
    if drift:
        asked |= {"days": float(days), "turns": int(turns)}
    if conditions or not new:  # a schedule of times alone waits for nothing unless somebody says so
        asked["cooldown"] = hours * _HOUR
    return asked


def _at(names: list[str], value: str | None) -> int:
    return names.index(value) if value in names else 0


def _take() -> None:
    if st.session_state["schedule.example"] is not None:
        st.session_state["schedule.new.cron"] = st.session_state["schedule.example"]
