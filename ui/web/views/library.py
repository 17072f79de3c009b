"""Library: upload documents, see what became of each file, and find a document to open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import ALL, GUIDE, Upload, node, problem, told
from ui.web.pages import asked
from ui.web.plain import count, label, moment, size
from ui.web.views import document
from ui.web.watch import ended, published, publishing, watch

FORMATS = "Markdown, plain text, HTML, PDF and DOCX"
_JOBS, _DOC, _ROUND, _FIRST = "library.jobs", "library.document", "library.round", "library.first"
_BATCH_FILES, _BATCH_BYTES = 32, 32 * 2**20


def show() -> None:
    """Draw the page."""
    wanted = asked("library")
    if wanted:
        st.session_state[_DOC] = wanted["document"]
        st.session_state["library.tab"] = "Documents"
        st.session_state[document.VERSION] = (wanted["document"], wanted.get("version"))
    documents = node().documents()
    look.head(
        "Library",
        "Every document keeps its versions. The same name again is the next version of the same document.",
    )
    # The first tab is chosen once: it must not change under somebody's hands when a first document appears.
    first = st.session_state.setdefault(_FIRST, "Documents" if documents else "Upload")
    browse, upload = st.tabs(["Documents", "Upload"], default=first, key="library.tab", on_change="rerun")
    if browse.open:
        with browse:
            _browse(documents)
    if upload.open:
        with upload:
            _upload(documents)


# --- upload -------------------------------------------------------------------------------------


def _upload(documents: list[dict[str, Any]]) -> None:
    turn = st.session_state.setdefault(_ROUND, 0)  # a new key empties the box of files after an upload
    files = st.file_uploader(
        f"Files: {FORMATS}",
        accept_multiple_files=True,
        key=f"library.files.{turn}",
        help="You can drop several at once.",
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
        with told(), st.spinner("Sending …"):
            for batch in _batches(files or [], str(workspace), name.strip(), begins, follow):
                job = node().enqueue_ingest(batch)
                st.session_state.setdefault(_JOBS, []).insert(0, job["job"])
            st.session_state[_ROUND] += 1
            st.rerun()
    _jobs()


def _batches(files: Sequence[Any], workspace: str, name: str, at: int | None, follow: bool) -> Iterator[list[Upload]]:
    """Uploads in requests of a bearable size; a file whose document is named goes alone."""
    batch: list[Upload] = []
    filled = 0
    for file in files:
        content = file.getvalue()
        named = name if name and len(files) == 1 else file.name
        explicit = follow or named != file.name
        if batch and (explicit or len(batch) >= _BATCH_FILES or filled + len(content) > _BATCH_BYTES):
            yield batch
            batch, filled = [], 0
        batch.append(Upload(path=file.name, name=named, workspace=workspace, content=content, at=at, explicit=explicit))
        filled += len(content)
    if batch:
        yield batch


def _jobs() -> None:
    """Uploads of this session, and any other that is under way: progress, then what became of each file."""
    mine: list[str] = st.session_state.get(_JOBS, [])
    running = publishing()
    watch(running, published)
    rows: list[dict[str, Any]] = []
    for job in (node().job(j) for j in mine if j not in running):
        ended(job)
        rows += (job["result"] or {}).get("documents", [])
    if not rows:
        return
    look.section("What became of them")
    for row in rows:
        if row["error"]:
            wrong = row["error"]
            st.error(f"{label(row['path'])}: {problem(wrong['code'], wrong['message'], wrong.get('hint', ''))}")
    look.table(
        [
            {
                "File": r["path"],
                "Result": r["status"],
                "Version": r["version"],
                "Passages": r["chunks_total"],
                "New": r["chunks_new"],
                "Kept": r["chunks_kept"],
                "Retired": r["chunks_retired"],
            }
            for r in rows
        ],
        key="library.results",
    )
    if any(r["status"] in ("published", "unchanged") for r in rows):
        look.small("Published documents can be asked about now.")


# --- browse -------------------------------------------------------------------------------------


def _browse(documents: list[dict[str, Any]]) -> None:
    if not documents:
        look.empty("The library is empty.", "Upload some documents: open the tab beside this one.")
        return
    names = {d["document"]: f"{d['name']}  ({d['workspace']})" for d in documents}
    if st.session_state.get(_DOC) not in names:
        st.session_state[_DOC] = None
    left, middle, right = st.columns([2, 3, 4])
    shelf = left.selectbox("Workspace", [ALL, *sorted({d["workspace"] for d in documents})], key="library.shelf")
    words = middle.text_input("Find", placeholder="part of a name or title", key="library.find").casefold()
    chosen = right.selectbox(
        "Open a document",
        list(names),
        format_func=lambda d: names.get(d, d),
        key=_DOC,
        index=None,
        placeholder="choose here, or click a row",
    )
    rows = [
        d
        for d in documents
        if shelf in (ALL, d["workspace"]) and (words in d["name"].casefold() or words in d["title"].casefold())
    ]
    if rows:
        _documents(rows)
    else:
        look.empty("No document has that in its name or title.", "Try fewer letters, or another workspace.")
    if chosen:
        with st.container(border=True):
            document.show(next(d for d in documents if d["document"] == chosen))


def _documents(rows: list[dict[str, Any]]) -> None:
    """The table of documents; a click on a row opens its document."""

    def clicked() -> None:
        row = look.chosen(st.session_state["library.table"])
        if row is not None and row < len(rows):
            st.session_state[_DOC] = rows[row]["document"]

    look.small(count(len(rows), "document"))
    look.table(
        [
            {
                "Name": d["name"],
                "Title": d["title"],
                "Workspace": d["workspace"],
                "Version": d["live_version"],
                "Passages": d["chunks"],
                "Size": size(d["bytes"]),
                "Updated (UTC)": moment(d["updated"]),
            }
            for d in rows
        ],
        on_select=clicked,
        selection_mode="single-cell",
        key="library.table",
        height=min(38 + 35 * len(rows), 248),
    )
