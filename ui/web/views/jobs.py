"""Jobs: what is under way, what was, and what became of each; cancel, try again, remove."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look, outcome
from ui.web.client import node, told, trouble
from ui.web.plain import ago, count, escape, label, moment, took
from ui.web.views.sources import told_of
from ui.web.watch import ACTIVE, KINDS, again, bars, called, ended

_SHOWN = 200
_OPEN = "system.job"
_BY = {"person": "a person", "beat": "the clock", "event": "a changed folder", "schedule": "a schedule"}
_TONES = {"done": "good", "failed": "bad", "cancelled": "warn"}


def show() -> None:
    """Draw the tab."""
    with told():
        jobs = node().jobs(_SHOWN)
        if not jobs:
            look.empty("Nothing was ever queued.", "Uploads and retrains stand here while they run, and afterwards.")
        _running({j["job"]: j["state"] for j in jobs})
        if jobs:
            chosen = _choice(jobs)
            _table(jobs)
            if chosen is not None:
                with st.container(border=True):
                    _detail(node().job(chosen))


@st.fragment(run_every=1.5)
def _running(drawn: dict[str, str]) -> None:
    """What is under way; the rest of the page is drawn again as soon as a job begins or ends."""
    with told():
        jobs = node().jobs(_SHOWN)
        if {j["job"]: j["state"] for j in jobs} != drawn:
            st.rerun()
        bars([job for job in reversed(jobs) if job["state"] in ACTIVE], called)


def _choice(jobs: list[dict[str, Any]]) -> str | None:
    """The job that is open, if any."""
    names = {j["job"]: f"{KINDS.get(j['kind'], j['kind'])}  ·  {moment(j['created'])}  ·  {j['job']}" for j in jobs}
    if st.session_state.get(_OPEN) not in names:
        st.session_state[_OPEN] = None
    return st.selectbox(
        "Open a job",
        list(names),
        format_func=lambda job: names.get(job, job),
        key=_OPEN,
        index=None,
        placeholder="choose here, or click a row",
    )


def _table(jobs: list[dict[str, Any]]) -> None:
    """The ledger; a click on a row opens its job."""

    def clicked() -> None:
        row = look.chosen(st.session_state["system.jobs"])
        if row is not None and row < len(jobs):
            st.session_state[_OPEN] = jobs[row]["job"]

    look.small(count(len(jobs), "job"), "the newest first")
    look.table(
        [
            {
                "What": KINDS.get(j["kind"], j["kind"]),
                "State": j["state"],
                "Stage": j["progress"]["stage"] if j["state"] in ("running", "failed", "cancelled") else "",
                "Done": f"{j['progress']['done']} of {j['progress']['total']}" if j["progress"]["total"] else "",
                "Age": ago(j["created"]),
                "Took": took(j["started"], j["finished"]),
                "By": _BY.get(j["enqueued_by"], j["enqueued_by"]),
                "Error": (j["error"] or {}).get("message", ""),
                "Job": j["job"],
            }
            for j in jobs
        ],
        on_select=clicked,
        selection_mode="single-cell",
        key="system.jobs",
        height=min(38 + 35 * len(jobs), 388),
    )


def _detail(job: dict[str, Any]) -> None:
    title = escape(KINDS.get(job["kind"], job["kind"]))
    st.html(f"<b>{title}</b> {look.tag(job['state'], _TONES.get(job['state'], ''))}")
    look.small(
        job["job"],
        f"accepted {moment(job['created'])} UTC",
        f"took {took(job['started'], job['finished'])}" if job["finished"] and job["started"] else "",
        f"attempt {job['attempt']}" if job["attempt"] > 1 else "",
        f"by {_BY.get(job['enqueued_by'], job['enqueued_by'])}",
    )
    ended(job)
    _result(job)
    if job["state"] in ACTIVE:
        return
    with st.container(horizontal=True):
        again(job, key="system.again")
        if st.button(
            "Remove",
            icon=":material/delete:",
            key="system.remove",
            help="Takes the job out of this list, and the bytes that were kept to try it again. Documents stay.",
        ):
            with told():
                node().remove_job(job["job"])
                st.rerun()


def _result(job: dict[str, Any]) -> None:
    result = job["result"]
    if not result:
        return
    if job["kind"] == "ingest" and result.get("documents"):
        outcome.files(result["documents"] if job["state"] not in ACTIVE else outcome.settled(result["documents"]))
    elif job["kind"] == "look":
        look.words(f"It found: {told_of(result)}.")
        if result["error"]:
            st.error(label(trouble(result["error"]), 600))
    elif job["kind"] in ("reembed", "maintain"):
        look.words(made(result))
    elif job["kind"] == "rechunk":
        published, due = result["published"], result["due"]
        look.words(f"{published} of {count(due, 'document')} published again, {result['passed']} changed meanwhile.")
        outcome.errors([(row["name"], row["error"]) for row in result["failed"]])
    else:
        plain = {k: v for k, v in result.items() if isinstance(v, str | int | float) and not isinstance(v, bool)}
        look.facts([(k.replace("_", " ").capitalize(), v) for k, v in plain.items()])


def made(result: dict[str, Any]) -> str:
    """What work on the index came to, in words."""
    if result["already"]:
        return f"Nothing was to be done: {result['name']} serves."
    points = count(result["points"], "point")
    return f"{result['name']} serves from epoch {result['epoch']} on, with {points} in {result['collection']}."
