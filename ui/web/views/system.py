"""System: what is there, what runs, whether everything is in order, and who did what."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, problem, told
from ui.web.plain import escape, label, moment
from ui.web.watch import ACTIVE, progress

_SHOWN = 50


def show() -> None:
    """Draw the page."""
    look.head("System", "Look here first when something seems slow or wrong.")
    with told():
        _status(node().status())
    jobs, checks, audit = st.tabs(["Jobs", "Checks", "Audit log"], key="system.tab", on_change="rerun")
    if jobs.open:
        with jobs:
            _jobs()
    if checks.open:
        with checks, told():
            _checks()
    if audit.open:
        with audit, told():
            _audit()


def _status(status: dict[str, Any]) -> None:
    if status["trouble"]:
        st.error(f"The live adapter is not served: {label(status['trouble'])}. The base model answers.")
    examples = status["examples"]
    look.facts(
        [
            ("Documents", f"{status['documents']:,}"),
            ("Versions", f"{status['versions']:,}"),
            ("Passages", f"{status['chunks']:,}"),
            ("Examples", f"{examples.get('approved', 0):,}"),
            ("Epoch", status["epoch"]),
            ("Serving", status["champion"] or "base model"),
        ]
    )
    look.small(
        f"{status['profile']} profile",
        f"embedder {status['embedder']}",
        f"generator {status['generator']}",
        f"{status['points']:,} points",
        f"node {node().url}",
    )


# --- jobs ---------------------------------------------------------------------------------------


@st.fragment(run_every=2.0)
def _jobs() -> None:
    with told():
        jobs = node().jobs(_SHOWN)
        if not jobs:
            look.empty("Nothing was ever queued.", "Uploads and retrains stand here while they run, and afterwards.")
            return
        running = [j for j in jobs if j["state"] in ACTIVE]
        for job in running:
            progress(job, f"**{label(job['kind']).capitalize()}**")
            if st.button("Cancel", icon=":material/cancel:", key=f"system.cancel.{job['job']}"):
                node().cancel_job(job["job"])
        broken = [j for j in jobs if j["state"] in ("failed", "cancelled")]
        if broken:
            _broken(broken)
        look.table(
            [
                {
                    "Job": j["job"],
                    "Kind": j["kind"],
                    "State": j["state"],
                    "Stage": j["progress"]["stage"],
                    "Attempt": j["attempt"],
                    "By": j["enqueued_by"],
                    "Created (UTC)": moment(j["created"]),
                    "Finished (UTC)": moment(j["finished"]),
                    "Error": (j["error"] or {}).get("message", ""),
                }
                for j in jobs
            ],
            key="system.jobs",
        )


def _broken(jobs: list[dict[str, Any]]) -> None:
    with st.expander(f"Failed or cancelled: {len(jobs)}"):
        named = {j["job"]: j for j in jobs}
        chosen = st.selectbox(
            "Job",
            list(named),
            format_func=lambda j: f"{named[j]['kind']}  ·  {named[j]['state']}  ·  {j}",
            key="system.broken",
        )
        wrong = named[chosen]["error"]
        if wrong:
            st.error(problem(wrong["code"], wrong["message"], wrong.get("hint", "")))
        if st.button("Start it again", icon=":material/replay:", key="system.retry"):
            node().retry_job(chosen)
            st.rerun(scope="fragment")


# --- checks and audit ---------------------------------------------------------------------------


def _checks() -> None:
    with st.spinner("Checking …"):
        found = node().doctor()
    if found["ok"]:
        st.success("Everything is in order.")
    else:
        st.error("Something is not in order. What to do stands beside it.")
    rows = "".join(
        f'<tr><td style="white-space:nowrap;padding:.35rem .8rem .35rem 0">'
        f"{look.tag('ok', 'good') if c['ok'] else look.tag('look here', 'bad')}</td>"
        f'<td style="padding:.35rem .8rem .35rem 0;font-weight:600">{escape(c["name"])}</td>'
        f'<td style="padding:.35rem 0;overflow-wrap:anywhere">{escape(c["detail"])}'
        f"{'<br><i>' + escape(c['hint']) + '</i>' if c['hint'] else ''}</td></tr>"
        for c in found["checks"]
    )
    st.html(f'<table style="border-collapse:collapse;font-size:.92rem">{rows}</table>')
    st.button("Check again", icon=":material/refresh:", key="system.check")


def _audit() -> None:
    found = node().audit()
    tone, words = ("good", "intact") if found["intact"] else ("bad", "not intact")
    st.html(
        f"{look.tag(words, tone)} "
        + (
            "Every entry is chained to the one before it, and the chain holds."
            if found["intact"]
            else "An entry was changed, removed or moved. Compare with a backup."
        )
    )
    if not found["entries"]:
        look.empty(
            "Nothing is in the log yet.",
            "Retrains, promotions, rollbacks, schedules and deletes are written here.",
        )
        return
    look.table(
        [
            {
                "No.": e["seq"],
                "Time (UTC)": moment(e["at"]),
                "Who": e["actor"],
                "What": e["action"],
                "On": e["subject"],
                "Detail": json.dumps(e["detail"], ensure_ascii=False) if e["detail"] else "",
            }
            for e in found["entries"][:1000]
        ],
        key="system.audit",
    )
