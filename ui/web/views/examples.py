"""The examples as a list: find some, and decide about one or many of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import ALL, node, told
from ui.web.plain import count, moment, number
from ui.web.views import example

ORIGINS = {
    "import": "imported",
    "correction": "correction",
    "thumbs": "thumb up",
    "document": "from a document",
    "replayed": "replayed",
}
"""Where an example comes from, in words."""
_SAID, _ROUND = "examples.said", "examples.round"
_FILTERS = {"status": "Status", "slice": "Slice", "origin": "Origin", "split": "Used for"}
_USES = {"train": "training", "held-out": "the gate"}


def show(known: list[dict[str, Any]]) -> None:
    """Draw the tab."""
    if not known:
        look.empty(
            "There are no examples yet.",
            "Give feedback in the Chat: a thumb up or a correction makes one. Or import a file, or let some be made "
            "from your documents: both in the tab Add.",
        )
        return
    _counts(known)
    said = st.session_state.pop(_SAID, None)
    if said:
        st.success(said)
    rows = _found(known)
    picked = _table(rows)
    _decide(picked)
    look.small(
        f"{count(len(rows), 'example')} of {len(known):,}."
        if len(rows) < len(known)
        else f"{count(len(rows), 'example')}."
    )
    if len(picked) == 1:
        with st.container(border=True):
            example.show(picked[0], _done)
    elif not picked and rows:
        look.small("Tick one to read and edit it, with what happened to it; tick several to decide about all of them.")


def _counts(known: Sequence[dict[str, Any]]) -> None:
    by_status = Counter(e["status"] for e in known)
    splits = Counter(e["split"] for e in known if e["status"] == "approved")
    look.facts(
        [
            ("Approved", f"{by_status['approved']:,}"),
            ("of these for training", f"{splits['train']:,}"),
            ("held out for the gate", f"{splits['held-out']:,}"),
            ("Held back", f"{by_status['quarantined']:,}"),
            ("Retired", f"{by_status['retired']:,}"),
        ]
    )


def _found(known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The examples that fit what is asked for above the table."""
    columns = st.columns([1, 1, 1, 1, 2])
    values: dict[str, str] = {}
    for column, (name, title) in zip(columns, _FILTERS.items(), strict=False):
        values[name] = column.selectbox(
            title,
            [ALL, *sorted({_of(e, name) for e in known})],
            format_func=lambda v: (ORIGINS | _USES).get(v, v),
            key=f"examples.{name}",
        )
    words = columns[-1].text_input("Find", placeholder="words of question or answer", key="examples.find").casefold()
    return [
        e
        for e in known
        if all(values[name] in (ALL, None, _of(e, name)) for name in _FILTERS)
        and words in f"{e['question']} {e['answer'] or ''} {e['example']}".casefold()
    ]


def _of(e: dict[str, Any], name: str) -> str:
    return str(e.get("counted_in") or e["slice"]) if name == "slice" else str(e[name])


def _table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table; the rows that are ticked."""
    event = look.table(
        [
            {
                "Question": e["question"],
                "Status": e["status"],
                "Slice": _of(e, "slice"),
                "Used for": _USES.get(e["split"], e["split"]),
                "Origin": ORIGINS.get(e["origin"], e["origin"]),
                "Documents": ", ".join(e["documents"]),
                "Why held back": e["reason"],
                "Pinned": "yes" if e["pinned"] else "",
                "Practised": e["rehearsed"],
                "Last loss": number(e["last_loss"]),
                "Forgotten": e.get("forgotten") or 0,
                "Came in (UTC)": moment(e.get("created")),
            }
            for e in rows
        ],
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Question": st.column_config.Column(width=320),
            "Status": st.column_config.Column(width=95),
            "Documents": st.column_config.Column(width=150),
            "Last loss": st.column_config.Column(help="In its last training; high after much practice: read it again."),
        },
        key=f"examples.table.{st.session_state.setdefault(_ROUND, 0)}",  # a new key forgets the ticks
        height=min(38 + 35 * max(1, len(rows)), 400),
    )
    return [rows[i] for i in event.selection.rows if i < len(rows)]


def _decide(picked: Sequence[dict[str, Any]]) -> None:
    """What is done with the ticked rows: all of them or none."""
    waits = [e["example"] for e in picked if e["status"] == "quarantined"]
    used = [e["example"] for e in picked if e["status"] == "approved"]
    stands = waits + used
    with st.container(horizontal=True, vertical_alignment="bottom"):
        reason = ""
        if stands:
            reason = st.text_input("Why (optional)", key="examples.why", placeholder="kept in its history", width=260)
        if st.button(
            f"Approve {len(waits) or ''}", icon=":material/check:", disabled=not waits, key="examples.approve"
        ):
            with told():
                _done(f"{count(len(node().approve_examples(waits)), 'example')} approved.")
        if st.button(
            f"Hold back {len(used) or ''}",
            icon=":material/pause:",
            disabled=not used,
            key="examples.quarantine",
            help="Out of every mix until somebody approves it again.",
        ):
            with told():
                _done(f"{count(len(node().quarantine_examples(used, reason.strip())), 'example')} held back.")
        if st.button(
            f"Retire {len(stands) or ''}",
            icon=":material/block:",
            disabled=not stands,
            key="examples.retire",
            help="Out of use for good.",
        ):
            with told():
                _done(f"{count(len(node().retire_examples(stands, reason.strip())), 'example')} retired.")


def _done(said: str) -> None:
    """Say what was done, and forget the ticks."""
    st.session_state[_SAID] = said
    st.session_state[_ROUND] += 1
    st.rerun()
