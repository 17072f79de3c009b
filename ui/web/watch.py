"""Watching a job: its stage, rate, estimate and file in hand every second while it runs, and one rerun at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from kernel.errors import NotFound
from kernel.pace import people
from ui.web import look
from ui.web.client import node, problem, told
from ui.web.plain import ago, count, label

ACTIVE = ("queued", "running")
KINDS = {
    "ingest": "Upload",
    "look": "Look at a source",
    "reembed": "Switch of the embedder",
    "rechunk": "Chunking again",
    "maintain": "Index maintenance",
    "retrain": "Retrain",
    "rejudge": "Judging again",
    "tune": "Tuning of search",
    "examples-generate": "Examples from documents",
    "examples-cluster": "Topics of examples",
}
"""What people call a kind of job."""
_LISTED, _BARS = 300, 5
_STOPPING = "watch.stopping"


def watch(
    jobs: Sequence[str],
    title: Callable[[dict[str, Any]], str],
    *,
    stages: bool = False,
    below: Callable[[], None] | None = None,
) -> None:
    """Show jobs under way; `title(job)` is Markdown. When one ends, the whole page is drawn again.

    With `stages` it is drawn again at each new stage too, for pages that show more of the work than its progress.
    `below` draws what follows them, each time anew.
    """
    drawn: dict[str, str] = {}

    @st.fragment(run_every=1.0)
    def live() -> None:
        with told():
            rows = listed(jobs)
            for row in rows:
                stage = row["progress"]["stage"]
                if row["state"] not in ACTIVE or (stages and drawn.setdefault(row["job"], stage) != stage):
                    st.rerun()
            bars(rows, title)
            if below is not None:
                below()

    if jobs:
        live()


def bars(rows: Sequence[dict[str, Any]], title: Callable[[dict[str, Any]], str]) -> None:
    """Progress bars of jobs under way, of the first few: those that run stand before those that wait."""
    ordered = sorted(rows, key=lambda row: row["state"] == "queued")
    for row in ordered[:_BARS]:
        progress(row, title(row))
    if len(rows) > _BARS:
        look.small(f"and {count(len(rows) - _BARS, 'more job')} under way")


def listed(jobs: Sequence[str]) -> list[dict[str, Any]]:
    """Jobs in brief, without what became of each file: that would be much to ask for every second."""
    known = {row["job"]: row for row in node().jobs(_LISTED)} if jobs else {}
    return [known.get(job) or node().job(job) for job in jobs]


def under_way(*kinds: str) -> list[str]:
    """Jobs of these kinds that are under way, of anybody, oldest first."""
    return [j["job"] for j in reversed(node().jobs(_LISTED)) if j["kind"] in kinds and j["state"] in ACTIVE]


def publishing() -> list[str]:
    """Uploads that are under way, of anybody."""
    return under_way("ingest")


def found(jobs: Sequence[str]) -> list[dict[str, Any]]:
    """Jobs in full; one that was removed from the ledger is left out."""
    rows = []
    for job in jobs:
        try:
            rows.append(node().job(job))
        except NotFound:
            continue
    return rows


def published(job: dict[str, Any]) -> str:
    """Title of an upload, in full or in brief."""
    files = job["args"]["files"]
    return f"**Publishing {count(files if isinstance(files, int) else len(files), 'file')}**"


def called(job: dict[str, Any]) -> str:
    """Title of any job."""
    return f"**{label(KINDS.get(job['kind'], job['kind']))}**"


def progress(job: dict[str, Any], title: str) -> None:
    """A job's progress bar, with a button that cancels it."""
    at = job["progress"]
    done, total = at["done"] or 0, at["total"] or 0
    share = min(1.0, done / total) if total else 0.0
    stopping = job["job"] in st.session_state.setdefault(_STOPPING, set())
    words = "waiting for its turn" if job["state"] == "queued" else people(at)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(share, text=f"{title}  \n:gray[{label('stopping · ' + words if stopping else words)}]")
            if st.button("Cancel", icon=":material/cancel:", key=f"watch.cancel.{job['job']}", disabled=stopping):
                node().cancel_job(job["job"])
                st.session_state[_STOPPING].add(job["job"])
                st.rerun(scope="fragment")
        look.small(job["job"], f"attempt {job['attempt']}" if job["attempt"] > 1 else "", ago(job["created"]))


def ended(job: dict[str, Any]) -> None:
    """Why a job did not get to its end."""
    st.session_state.setdefault(_STOPPING, set()).discard(job["job"])
    if job["state"] == "cancelled":
        st.warning("This job was cancelled. What it had published stays; the rest can be tried again.")
    elif job["state"] == "failed" and job["error"]:
        st.error(problem(job["error"]["code"], job["error"]["message"], job["error"].get("hint", "")))


def again(job: dict[str, Any], *, key: str) -> None:
    """A button that tries again what a job that ended left undone, where there is such a thing."""
    files = (job["result"] or {}).get("documents", []) if job["kind"] == "ingest" else []
    failed = sum(row["status"] == "failed" for row in files)
    if job["state"] not in ("failed", "cancelled") and not failed:
        return
    words = f"Try {count(failed, 'failed file')} again" if job["state"] == "done" else "Try again"
    if st.button(words, icon=":material/replay:", key=key):
        with told():
            node().retry_job(job["job"])
            st.session_state.setdefault(_STOPPING, set()).discard(job["job"])
            st.rerun()
