"""Watching a job: its stage and progress every second while it runs, and one rerun of the page at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, problem, told
from ui.web.plain import count, label, moment

ACTIVE = ("queued", "running")


def watch(jobs: list[str], title: Callable[[dict[str, Any]], str], *, stages: bool = False) -> None:
    """Show jobs under way; `title(job)` is Markdown. When one ends, the whole page is drawn again.

    With `stages` it is drawn again at each new stage too, for pages that show more of the work than its progress.
    """
    drawn: dict[str, str] = {}

    @st.fragment(run_every=1.0)
    def live() -> None:
        with told():
            for row in [node().job(job) for job in jobs]:
                stage = row["progress"]["stage"]
                if row["state"] not in ACTIVE or (stages and drawn.setdefault(row["job"], stage) != stage):
                    st.rerun()
                progress(row, title(row))

    if jobs:
        live()


def publishing() -> list[str]:
    """Uploads that are under way, of anybody."""
    return [j["job"] for j in node().jobs(20) if j["kind"] == "ingest" and j["state"] in ACTIVE]


def published(job: dict[str, Any]) -> str:
    """Title of an upload."""
    return f"**Publishing {count(len(job['args']['files']), 'file')}**"


def progress(job: dict[str, Any], title: str) -> None:
    """A job's progress bar."""
    at = job["progress"]
    done, total = at["done"] or 0, at["total"] or 0
    share = min(1.0, done / total) if total else 0.0
    items = f"{done} of {total}" if total else ""
    waiting = "waiting for its turn" if job["state"] == "queued" else at["stage"]
    with st.container(border=True):
        st.progress(share, text=f"{title}  \n:gray[{label(waiting)}{'  ·  ' if items else ''}{items}]")
        look.small(job["job"], f"attempt {job['attempt']}" if job["attempt"] > 1 else "", moment(job["created"]))


def ended(job: dict[str, Any]) -> None:
    """Why a job did not get to its end."""
    if job["state"] == "cancelled":
        st.warning("This job was cancelled. System lists it, and can start it again.")
    elif job["state"] == "failed" and job["error"]:
        st.error(problem(job["error"]["code"], job["error"]["message"], job["error"].get("hint", "")))
