"""Rehearsal: the examples, and what the next retrain would practise, row by row with the reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import ALL, node, told, workspaces
from ui.web.pages import go
from ui.web.plain import count, escape, number, shorten

POLICIES = ("mixed", "random", "stratified", "pinned", "near", "far")
EXAMPLE_ROW = (
    '{"question": "can i bring back a present", "answer": "Yes, within 60 days.", "document": "returns.md", '
    '"quote": "Gifts can be returned within 60 days.", "slice": "returns"}'
)
_SAID, _ROUND, _RETIRED = "rehearsal.said", "rehearsal.round", "rehearsal.retired"
_ERRORS = 30


def show() -> None:
    """Draw the page."""
    look.head(
        "Rehearsal",
        "Examples teach Reprise how you ask. Each retrain learns the new ones and practises old ones again.",
    )
    examples = node().examples()
    tabs = st.tabs(["Examples", "Import and export", "Next mix"], key="rehearsal.tab", on_change="rerun")
    for tab, draw in zip(tabs, (_examples, _import, _next_mix), strict=True):
        if tab.open:
            with tab:
                draw(examples)


# --- examples -----------------------------------------------------------------------------------


def _examples(examples: list[dict[str, Any]]) -> None:
    if not examples:
        look.empty(
            "There are no examples yet.",
            "Give feedback in the Chat: a thumb up or a correction makes one. Or import a file.",
        )
        return
    by_status = Counter(e["status"] for e in examples)
    splits = Counter(e["split"] for e in examples if e["status"] == "approved")
    look.facts(
        [
            ("Approved", by_status["approved"]),
            ("of these for training", splits["train"]),
            ("held out for the gate", splits["held-out"]),
            ("Quarantined", by_status["quarantined"]),
            ("Retired", by_status["retired"]),
        ]
    )
    a, b, c = st.columns([1, 1, 2])
    status = a.selectbox("Status", [ALL, *sorted(by_status)], key="rehearsal.status")
    part = b.selectbox("Slice", [ALL, *sorted({e["slice"] for e in examples})], key="rehearsal.slice")
    words = c.text_input("Find", placeholder="words of the question", key="rehearsal.find").casefold()
    rows = [
        e
        for e in examples
        if status in (ALL, e["status"]) and part in (ALL, e["slice"]) and words in e["question"].casefold()
    ]
    event = look.table(
        [
            {
                "Question": e["question"],
                "Status": e["status"],
                "Slice": e["slice"],
                "Split": e["split"],
                "Origin": e["origin"],
                "Documents": ", ".join(e["documents"]),
                "Why": e["reason"],
                "Pinned": "yes" if e["pinned"] else "",
                "Rehearsed": e["rehearsed"],
                "Last loss": number(e["last_loss"]),
                "Example": e["example"],
            }
            for e in rows
        ],
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Question": st.column_config.Column(width=330),
            "Status": st.column_config.Column(width=95),
            "Documents": st.column_config.Column(width=150),
        },
        key=f"rehearsal.table.{st.session_state.setdefault(_RETIRED, 0)}",  # a new key forgets the ticks
        height=min(38 + 35 * max(1, len(rows)), 400),
    )
    picked = [rows[i] for i in event.selection.rows if i < len(rows)]
    standing = [e for e in picked if e["status"] != "retired"]
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(f"Retire {len(standing) or 'selected'}", disabled=not standing, icon=":material/block:"):
            with told():
                for e in standing:
                    node().retire_example(e["example"])
                st.session_state[_RETIRED] += 1
                st.rerun()
        look.small(f"{count(len(rows), 'example')}. Tick rows to take them out of all future mixes.")
    for e in picked[:3]:
        with st.container(border=True):
            look.words(f"{e['question']}\n{e['answer'] or ''}".strip())
            look.small(e["example"], e["origin"], ", ".join(e["documents"]), e["reason"])


# --- import, export -----------------------------------------------------------------------------


def _import(examples: list[dict[str, Any]]) -> None:
    look.section("Import")
    if st.session_state.get(_SAID):
        _imported(st.session_state[_SAID])
    look.small("One JSON object per line. Only the question is needed; document and quote tie it to a passage.")
    st.code(EXAMPLE_ROW, language="json", wrap_lines=True)
    turn = st.session_state.setdefault(_ROUND, 0)  # a new key empties the form after an import without errors
    with st.form("rehearsal.import", border=False):
        file = st.file_uploader("A file", type=["jsonl", "json", "txt", "ndjson"], key=f"rehearsal.file.{turn}")
        pasted = st.text_area("… or lines pasted here", key=f"rehearsal.pasted.{turn}", height=120)
        a, b = st.columns(2)
        slice_name = a.text_input("Slice for all of them", placeholder="as the rows say", key="rehearsal.import.slice")
        names = workspaces(node().documents())
        workspace = b.selectbox("Workspace of their documents", names, key="rehearsal.import.workspace")
        sent = st.form_submit_button("Import", type="primary", icon=":material/upload:")
    content = file.getvalue().decode("utf-8-sig", "replace") if file else pasted
    if sent and not content.strip():
        st.warning("Choose a file, or paste at least one line.")
    elif sent:
        with told(), st.spinner("Importing …"):
            said = node().import_examples(content, slice_name.strip() or None, workspace)
            st.session_state[_SAID] = said
            if not said["errors"]:
                st.session_state[_ROUND] += 1
            st.rerun()
    look.section("Export")
    approved = sum(e["status"] == "approved" for e in examples)
    st.download_button(
        f"Download {count(approved, 'approved example')}",
        data=lambda: "".join(node().export_examples()),
        file_name="examples.jsonl",
        mime="application/x-ndjson",
        icon=":material/download:",
        disabled=not approved,
    )


def _imported(said: dict[str, Any]) -> None:
    skipped = f"; {said['skipped']} skipped, which were there already" if said["skipped"] else ""
    st.success(f"{count(said['imported'], 'example')} imported{skipped}.")
    if said["quarantined"]:
        st.warning(
            f"{said['quarantined']} quarantined: they name no passage. Give document and quote, or "
            "`standalone` where no passage is needed."
        )
    if said["errors"]:
        st.error(f"{count(len(said['errors']), 'line was', 'lines were')} not taken. Repair them and import again.")
        lines = "".join(f"<li>Line {e['line']}: {escape(e['message'])}</li>" for e in said["errors"][:_ERRORS])
        more = len(said["errors"]) - _ERRORS
        st.html(f"<ul>{lines}{f'<li>and {more} more</li>' if more > 0 else ''}</ul>")


# --- the next mix -------------------------------------------------------------------------------


def _next_mix(examples: list[dict[str, Any]]) -> None:
    if not any(e["status"] == "approved" and e["split"] == "train" for e in examples):
        look.empty("There is nothing to train on.", "Import examples, or correct some answers in the Chat.")
        return
    options = _options()
    preview: dict[str, Any] | None = None
    with told(), st.spinner("Drawing …"):
        preview = node().preview(**options)
    if preview is None:
        return
    cost = preview["cost"]
    look.facts(
        [
            ("New", preview["new"]),
            ("Recalled", preview["recalled"]),
            ("Not in the mix", sum(preview["excluded"].values())),
            ("Estimated time", _duration(cost["seconds_estimate"])),
            ("Tokens", f"{cost['tokens']:,}"),
        ]
    )
    if not preview["new"]:
        look.empty(
            "There is nothing new to train on.",
            "What the champion has practised is not new. Correct some answers or import examples first.",
        )
    elif st.button("Start the retrain", type="primary", icon=":material/play_arrow:", key="rehearsal.start"):
        with told():
            job = node().enqueue_retrain(**options)
            go("adapters", run=job["run"])
    questions = {e["example"]: e["question"] for e in examples}
    mix_table([r | {"question": questions.get(r["example"])} for r in preview["rows"]], key="rehearsal.mix")
    excluded(preview["excluded"])


def _options() -> dict[str, Any]:
    a, b, c, d = st.columns([1.3, 1.5, 1, 1.3], vertical_alignment="bottom")
    policy = a.selectbox(
        "Policy",
        POLICIES,
        key="rehearsal.policy",
        accept_new_options=True,
        help="How old examples are chosen. Mixed is usual.",
    )
    rho = b.slider(
        "Replay ratio",
        0.0,
        0.5,
        0.2,
        0.05,
        key="rehearsal.rho",
        help="Share of recalled old examples in the mix.",
    )
    seed = c.number_input(
        "Seed", 0, 2**31 - 1, 0, key="rehearsal.seed", help="The same seed and state give the same mix."
    )
    workspace = d.selectbox("Workspace", [ALL, *workspaces(node().documents())], key="rehearsal.workspace")
    return {"policy": policy, "rho": rho, "seed": int(seed), "workspace": None if workspace == ALL else workspace}


def mix_table(rows: list[dict[str, Any]], *, key: str) -> None:
    """The rows of a mix with the reason of each."""
    parts = Counter(r["part"] for r in rows)
    part = st.segmented_control(
        "Rows",
        [ALL, *sorted(parts)],
        default="all",
        required=True,
        format_func=lambda p: f"{p} ({parts[p] if p != 'all' else len(rows)})",
        key=f"{key}.part.{len(rows)}.{parts['new']}",
        label_visibility="collapsed",
    )
    look.table(
        [
            {
                "Part": r["part"],
                "Reason": r["reason"],
                "Slice": r["slice"],
                "Question": shorten(r.get("question") or "–", 160),
                "Example": r["example"],
            }
            for r in rows
            if part in ("all", None, r["part"])
        ],
        key=f"{key}.rows",
    )


def excluded(counts: dict[str, int]) -> None:
    """What was kept out of a mix, and why."""
    if counts:
        st.html(
            '<div class="rp-small">Not in the mix: '
            + "; ".join(f"{n} {escape(why)}" for why, n in counts.items())
            + "</div>"
        )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
