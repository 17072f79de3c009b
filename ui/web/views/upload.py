"""Upload: send files and archives, watch them being published, and see what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from ui.over_http.sending import LARGE_BYTES
from ui.web import look, outcome
from ui.web.client import GUIDE, Upload, node, told
from ui.web.plain import count
from ui.web.watch import ACTIVE, again, ended, found, published, publishing, watch

_JOBS, _ROUND = "library.jobs", "library.round"
_BATCH_FILES, _BATCH_BYTES = 500, 32 * 2**20
_SHOWN = 20
"""Jobs of this session whose files are shown."""


def show(documents: list[dict[str, Any]]) -> None:
    """Draw the tab."""
    turn = st.session_state.setdefault(_ROUND, 0)  # a new key empties the box of files after an upload
    files = st.file_uploader(
        "Files and archives",
        accept_multiple_files=True,
        key=f"library.files.{turn}",
        help="Text, Markdown, HTML, PDF, Office and OpenDocument files, e-mail, notebooks, source code and more; ZIP "
        "and TAR archives are taken as folders. What a file is, is told by its content.",
    )
    names = sorted(({d["workspace"] for d in documents} | {"default"}) - {GUIDE})
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    workspace = left.selectbox(
        "Workspace",
        names,
        index=names.index("default"),
        accept_new_options=True,
        key="library.workspace",
        help="The shelf they go to. Type a name to begin a new one.",
    )
    name = middle.text_input(
        "Name in the library",
        key=f"library.as.{turn}",
        disabled=len(files or []) != 1,
        placeholder="the file's name",
        help="For a single file. The name of a document that exists makes the file its next version.",
    )
    at = right.datetime_input(
        "Counts from (UTC)",
        value=None,
        key=f"library.at.{turn}",
        help="Empty: from now. A later time needs nothing more.",
    )
    follow = st.checkbox(
        "Continue documents of the same name, also if they came from elsewhere",
        key=f"library.follow.{turn}",
        help="Without it, a name that is taken by a document from another source is refused, so that nothing "
        "is replaced by accident.",
    )
    if st.button("Publish", type="primary", icon=":material/publish:", disabled=not files, key="library.send"):
        begins = int(at.replace(tzinfo=UTC).timestamp() * 1000) if isinstance(at, datetime) else None
        with told():
            _send(files or [], batches(files or [], str(workspace), name.strip(), begins, follow))
            st.session_state[_ROUND] += 1
            st.rerun()
    _jobs()


def batches(files: Sequence[Any], workspace: str, name: str, at: int | None, follow: bool) -> Iterator[list[Upload]]:
    """Uploads in requests of a bearable size. A file whose document is named goes alone, and so does a large one."""
    batch: list[Upload] = []
    filled = 0
    for file in files:
        content = file.getvalue()
        named = name if name and len(files) == 1 else file.name
        explicit = follow or named != file.name
        alone = explicit or len(content) > LARGE_BYTES
        if batch and (alone or len(batch) >= _BATCH_FILES or filled + len(content) > _BATCH_BYTES):
            yield batch
            batch, filled = [], 0
        batch.append(Upload(path=file.name, name=named, workspace=workspace, content=content, at=at, explicit=explicit))
        filled += len(content)
        if alone:
            yield batch
            batch, filled = [], 0
    if batch:
        yield batch


def _send(files: Sequence[Any], some: Iterator[list[Upload]]) -> None:
    bar = st.progress(0.0, text="Sending …")
    sent = 0
    for batch in some:
        job = node().enqueue_ingest(batch)
        st.session_state.setdefault(_JOBS, []).insert(0, job["job"])
        sent += len(batch)
        bar.progress(sent / len(files), text=f"Sending … {sent} of {count(len(files), 'file')}")


def _jobs() -> None:
    """Uploads of this session, and any other that is under way: progress, then what became of each file."""
    mine: list[str] = st.session_state.get(_JOBS, [])[:_SHOWN]
    running = publishing()

    def so_far() -> None:
        rows = outcome.settled(_rows(found([job for job in mine if job in running])))
        if rows:
            outcome.files(rows)

    watch(running, published, below=so_far)
    over = [job for job in found([job for job in mine if job not in running]) if job["state"] not in ACTIVE]
    for job in over:
        if job["state"] != "done":
            look.small(job["job"], count(len(job["args"]["files"]), "file"))
        ended(job)
        again(job, key=f"library.again.{job['job']}")
    rows = _rows(over)
    if not rows:
        return
    look.section("What became of them")
    outcome.files(rows)
    if any(r["status"] in ("published", "unchanged") for r in rows):
        look.small("Published documents can be asked about now.")


def _rows(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for job in jobs for row in (job["result"] or {}).get("documents", [])]
