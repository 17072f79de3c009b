"""Sources: folders, pages and sitemaps that are followed; how the last look at each went, and new ones."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look, outcome
from ui.web.client import GUIDE, node, told, trouble
from ui.web.plain import ago, count, escape, label, moment, span
from ui.web.watch import ACTIVE, progress

EVERY = {
    "minute": 60,
    "10 minutes": 600,
    "hour": 3600,
    "6 hours": 6 * 3600,
    "day": 86_400,
    "week": 7 * 86_400,
}
KINDS = {"folder": "Folder", "url": "Page", "sitemap": "Sitemap"}
_WORDS = {
    "created": "new",
    "changed": "changed",
    "moved": "moved",
    "deleted": "gone",
    "unchanged": "unchanged",
    "failed": "failed",
    "waiting": "still being written",
}
_ROUND = "source.round"


def show(documents: list[dict[str, Any]]) -> None:
    """Draw the tab."""
    look.words(
        "Folders and web pages that Reprise follows: what is new is published, what changed becomes the next version, "
        "and what is gone is deleted."
    )
    _list()
    _add(sorted(({d["workspace"] for d in documents} | {"default"}) - {GUIDE}))


def told_of(found: dict[str, Any] | None) -> str:
    """What a look found, in words."""
    if found is None:
        return "not looked at yet"
    parts = [f"{found[what]:,} {words}" for what, words in _WORDS.items() if found[what]]
    if found["error"]:
        return ", ".join([*parts, "ended early"])
    return ", ".join(parts) or "nothing there"


@st.fragment(run_every=2.0)
def _list() -> None:
    with told():
        watches = node().watches()
        looks = {j["args"]["watch"]: j for j in node().jobs(300) if j["kind"] == "look" and j["state"] in ACTIVE}
        if not watches:
            look.empty("Nothing is followed yet.", "Add a folder, a page or a sitemap below.")
        for row in watches:
            _row(row, looks.get(row["watch"]))


def _row(row: dict[str, Any], job: dict[str, Any] | None) -> None:
    watch = row["watch"]
    with st.container(border=True):
        tags = [look.tag(KINDS.get(row["kind"], row["kind"])), *([look.tag("paused", "warn")] if row["paused"] else [])]
        st.html(f'<div class="rp-words">{" ".join(tags)} <b>{escape(row["location"])}</b></div>')
        look.facts(
            [
                ("Last look (UTC)", f"{moment(row['last'])} ({ago(row['last'])})" if row["last"] else "none yet"),
                ("It found", told_of(row["outcome"])),
                ("Next (UTC)", "paused" if row["paused"] else moment(row["next"])),
            ]
        )
        look.small(
            f"every {span(row['every_seconds'])}",
            f"workspace {row['workspace']}",
            count(row["documents"], "document"),
            watch,
        )
        if row["outcome"] and row["outcome"]["error"]:
            st.error(label(trouble(row["outcome"]["error"]), 600))
        if row["failing"]:
            _failing(row["failing"])
        if job is not None:
            progress(job, "**Looking**")
        _buttons(row, busy=job is not None)


def _failing(items: list[dict[str, Any]]) -> None:
    with st.expander(f"What is not taken from there: {len(items)}"):
        outcome.errors([(of["item"], of["error"]) for of in items], "File or page")


def _buttons(row: dict[str, Any], *, busy: bool) -> None:
    watch = row["watch"]
    with st.container(horizontal=True):
        if st.button("Look now", icon=":material/refresh:", key=f"source.look.{watch}", disabled=busy):
            with told():
                node().enqueue_look(watch)
                st.rerun(scope="fragment")
        word, icon = ("Go on", ":material/play_arrow:") if row["paused"] else ("Pause", ":material/pause:")
        if st.button(word, icon=icon, key=f"source.pause.{watch}"):
            with told():
                node().pause_watch(watch)
                st.rerun(scope="fragment")
        if st.button("Remove", icon=":material/delete:", key=f"source.remove.{watch}", help="Its documents stay."):
            with told():
                node().remove_watch(watch)
                st.rerun(scope="fragment")


def _add(names: list[str]) -> None:
    look.section("Follow a source")
    turn = st.session_state.setdefault(_ROUND, 0)  # a new key empties the box after a source was added
    with st.form("source.add", border=False):
        left, middle, right = st.columns([3, 1, 1])
        location = left.text_input(
            "Folder, page or sitemap",
            key=f"source.location.{turn}",
            placeholder="/srv/handbook or https://example.com/sitemap.xml",
            help="A folder's full path on the machine where the node runs, or an address.",
        )
        workspace = middle.selectbox(
            "Workspace", names, index=names.index("default"), accept_new_options=True, key="source.workspace"
        )
        every = right.selectbox("Look every", list(EVERY), index=1, key="source.every")
        sent = st.form_submit_button("Follow", type="primary", icon=":material/add:")
    if sent and not location.strip():
        st.warning("Give a folder's path or an address.")
    elif sent:
        with told():
            node().add_watch(location.strip(), str(workspace), EVERY[every])
            st.session_state[_ROUND] += 1
            st.rerun()
    look.small("A folder is also looked at whenever something in it changes. Paths are those of the node's machine.")
