"""System: what is there, what runs, whether everything is in order, and who did what."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, told
from ui.web.plain import escape, label, moment, told_in
from ui.web.views import index, jobs


def show() -> None:
    """Draw the page."""
    look.head("System", "Look here first when something seems slow or wrong.")
    with told():
        _status(node().status())
    draws = {"Jobs": jobs.show, "Index": index.show, "Checks": _checks, "Audit log": _audit}
    tabs = st.tabs(list(draws), key="system.tab", on_change="rerun")
    for tab, draw in zip(tabs, draws.values(), strict=True):
        if tab.open:
            with tab, told():
                draw()


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
                "Detail": told_in(e["detail"]),
            }
            for e in found["entries"][:1000]
        ],
        key="system.audit",
    )
