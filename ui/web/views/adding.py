"""How examples come in: from a file or pasted lines, or made from documents; and how they go out again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.lines import lines_in
from ui.web import look
from ui.web.client import node, told, workspaces
from ui.web.plain import count, escape, label, shorten
from ui.web.watch import ended, found, under_way, watch

EXAMPLE_ROW = (
    '{"question": "can i bring back a present", "answer": "Yes, within 60 days.", "document": "returns.md", '
    '"quote": "Gifts can be returned within 60 days.", "slice": "returns"}'
)
_SAID, _ROUND, _MADE = "rehearsal.said", "rehearsal.round", "rehearsal.made"
_LINES, _MOST = 30, 200
_RULES = {"field": "tables", "value": "names with values", "heading": "headings", "definition": "definitions"}


def show(known: Sequence[dict[str, Any]]) -> None:
    """Draw the tab."""
    _import()
    _generate()
    look.section("Export")
    approved = sum(e["status"] == "approved" for e in known)
    st.download_button(
        f"Download {count(approved, 'approved example')}",
        data=lambda: "".join(node().export_examples()),
        file_name="examples.jsonl",
        mime="application/x-ndjson",
        icon=":material/download:",
        disabled=not approved,
    )


# --- from a file ----------------------------------------------------------------------------------


def _import() -> None:
    look.section("From a file")
    if st.session_state.get(_SAID):
        _imported(st.session_state[_SAID])
    look.small(
        "JSON lines, or a CSV with a header of the same names. Only the question is needed; document and quote tie it "
        "to a passage."
    )
    st.code(EXAMPLE_ROW, language="json", wrap_lines=True)
    turn = st.session_state.setdefault(_ROUND, 0)  # a new key empties the form after an import without errors
    with st.form("rehearsal.import", border=False):
        kinds = ["jsonl", "json", "txt", "ndjson", "csv", "tsv"]
        file = st.file_uploader("A file", type=kinds, key=f"rehearsal.file.{turn}")
        pasted = st.text_area("… or lines pasted here", key=f"rehearsal.pasted.{turn}", height=120)
        a, b = st.columns(2)
        slice_name = a.text_input("Slice for all of them", placeholder="as the rows say", key="rehearsal.import.slice")
        names = workspaces(node().documents())
        workspace = b.selectbox("Workspace of their documents", names, key="rehearsal.import.workspace")
        sent = st.form_submit_button("Import", type="primary", icon=":material/upload:")
    if not sent:
        return
    with told():
        content = lines_in(file.getvalue(), file.name) if file else pasted
        if not content.strip():
            st.warning("Choose a file, or paste at least one line.")
            return
        with st.spinner("Importing …"):
            said = node().import_examples(content, slice_name.strip() or None, workspace)
            st.session_state[_SAID] = said
            if not said["errors"]:
                st.session_state[_ROUND] += 1
            st.rerun()


def _imported(said: dict[str, Any]) -> None:
    skipped = f"; {said['skipped']} skipped, which were there already" if said["skipped"] else ""
    st.success(f"{count(said['imported'], 'example')} imported{skipped}.")
    if said["quarantined"]:
        st.warning(
            f"{said['quarantined']} held back: they name no passage. Give document and quote, or `standalone` where no "
            "passage is needed."
        )
    if said.get("ignored"):
        st.info(f"Columns that are not known were left out: {label(', '.join(said['ignored']))}.")
    if said["errors"]:
        st.error(f"{count(len(said['errors']), 'line was', 'lines were')} not taken. Repair them and import again.")
        _by_line([(e["line"], e["message"]) for e in said["errors"]])
    same = [(d["line"], f"{d['why']} as {d['of']}") for d in said.get("duplicates", [])]
    same += [(d["line"], f"{d['why']}: it took the place of {d['of']}") for d in said.get("replaced", [])]
    if same:
        with st.expander(f"What was there already ({len(same)})"):
            _by_line(same)


def _by_line(rows: Sequence[tuple[int, str]]) -> None:
    shown = [[escape(line), f'<div class="rp-wide">{escape(message)}</div>'] for line, message in rows[:_LINES]]
    look.grid(["Line", "What"], shown)
    if len(rows) > _LINES:
        look.small(f"and {len(rows) - _LINES} more")


# --- from documents -------------------------------------------------------------------------------


def _generate() -> None:
    look.section("From documents")
    look.small(
        "Questions are made from your documents, and kept only where a search finds its way back to the very passage. "
        "A start while there are no questions yet: people ask in words of their own."
    )
    documents = node().documents()
    if not documents:
        look.empty("There are no documents.", "Upload some on the Library page first.")
        return
    names: dict[str, str] = {d["document"]: d["name"] for d in documents}
    with st.form("rehearsal.generate", border=False):
        chosen = st.multiselect(
            "Documents",
            list(names),
            format_func=lambda d: shorten(names.get(d) or str(d), 60),
            key="rehearsal.generate.documents",
            placeholder="all of the workspace",
        )
        a, b, c = st.columns([1.4, 1, 1.8], vertical_alignment="bottom")
        workspace = a.selectbox("Workspace", workspaces(documents), key="rehearsal.generate.workspace")
        limit = b.number_input("At most", 1, 10_000, _MOST, key="rehearsal.generate.limit")
        hold = c.checkbox("Hold them back until somebody approves", key="rehearsal.generate.hold")
        sent = st.form_submit_button("Make examples", type="primary", icon=":material/auto_awesome:")
    if sent:
        with told():
            st.session_state[_MADE] = node().enqueue_generate(chosen, workspace, int(limit), hold)["job"]
            st.rerun()
    watch(under_way("examples-generate"), lambda _job: "**Making examples**")
    made = found([st.session_state[_MADE]]) if st.session_state.get(_MADE) else []
    for job in made:
        ended(job)
        if job["state"] == "done":
            _told(job["result"])


def _told(result: dict[str, Any]) -> None:
    """What was kept, and why the rest was not."""
    by = "by rules" if result["by"] == "rules" else f"by {result['by']}"
    st.success(
        f"{count(result['kept'], 'example')} kept of {count(result['proposed'], 'question')} that were made "
        f"{label(by)} from {count(result['documents'], 'document')}."
    )
    rules = Counter({_RULES.get(rule, rule): n for rule, n in result["rules"].items()})
    if rules and result["by"] == "rules":
        look.small("Kept from " + ", ".join(f"{name} {n}" for name, n in rules.most_common()))
    dropped = Counter(result["dropped"])
    if dropped:
        rows = [[escape(n), f'<div class="rp-wide">{escape(why)}</div>'] for why, n in dropped.most_common()]
        look.grid(["Dropped", "Why"], rows)
