"""The next mix: what a retrain would practise, row by row with the reason, what it would hurt and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.web import figures, look
from ui.web.client import node, told
from ui.web.figures import percent, signed
from ui.web.later import forget, later
from ui.web.pages import go
from ui.web.plain import count, escape, shorten
from ui.web.views import asking
from ui.web.views.verdict import duration

_ANSWER = "rehearsal.preview"
_WHY = {
    "source superseded": "its source has another version, which does not say so any more",
    "source deleted": "its source was deleted",
    "source expired": "its source expired",
    "re-grounded": "its words stand in a newer version",
}
_SHOWN = 30
_LEFT_OUT = "left out"
_FIRST = (_LEFT_OUT, "recalled", "new")
"""Parts of a mix, those whose reasons are worth reading first."""


def show() -> None:
    """Draw the tab."""
    options = asking.fields("rehearsal")
    with told():
        with st.expander("More", key="rehearsal.more"):
            options |= asking.more("rehearsal", options["kind"])
        asking.replay(options)
        measure = _measured(options)
        said = "Taking a trial step, to see what it would hurt" if measure else "Drawing"
        remote = node()
        preview = later(
            _ANSWER,
            (options, measure),
            lambda: remote.preview(**options, measure=measure),
            said,
        )
        if preview is not None:
            _preview(preview, options)


def _measured(options: dict[str, Any]) -> bool:
    with st.container(horizontal=True, vertical_alignment="center"):
        measure = st.toggle(
            "Measure what it would hurt",
            key="rehearsal.measure",
            help="Takes a trial step on the new examples in a process of its own, which is thrown away.",
        )
        if st.button("Draw again", icon=":material/refresh:", key="rehearsal.again"):
            forget(_ANSWER)
    return measure


def _preview(preview: dict[str, Any], options: dict[str, Any]) -> None:
    cost = preview["cost"]
    whole = preview["new"] + preview["recalled"]
    look.facts(
        [
            ("New", f"{preview['new']:,}"),
            ("Recalled", f"{preview['recalled']:,}"),
            ("Share recalled", percent(preview["recalled"] / whole) if whole else "–"),
            ("Would take", duration(cost["seconds_estimate"])),
            ("Tokens", f"{cost['tokens']:,}"),
            ("Epoch", preview["epoch"]),
        ]
    )
    if not preview["new"]:
        look.empty(
            "There is nothing new to train on.",
            "What the champion has practised is not new. Correct some answers or import examples first.",
        )
        return
    if preview.get("short"):
        look.small(f"{count(preview['short'], 'old example')} fewer than the ratio asks for: there are no more.")
    _replay(preview.get("replay") or {})
    with st.container(horizontal=True):
        if st.button("Start the retrain", type="primary", icon=":material/play_arrow:", key="rehearsal.start"):
            go("adapters", run=node().enqueue_retrain(**options)["run"])
        if st.button(
            "Keep it for approval",
            icon=":material/approval:",
            key="rehearsal.hold",
            help="Draws this mix and waits: it is trained on when somebody approves it, and not before.",
        ):
            node().enqueue_retrain(**options, hold=True)
            go("rehearsal", tab="Waiting mixes")
    asked = {e["example"]: e["question"] for e in node().examples()}
    rows = [row | {"question": asked.get(row["example"])} for row in preview["rows"]]
    show_mix(preview | {"rows": rows}, key="rehearsal.mix")


def show_mix(mix: dict[str, Any], *, key: str) -> None:
    """A mix: what it would hurt, its rows, what versions did to examples, what was kept out."""
    interference(mix.get("interference") or [])
    look.section("Rows")
    mix_table(mix["rows"], key=key)
    excluded(mix["excluded"])
    moved(mix.get("regrounded") or [], "Old examples that stand on a newer version of their source by now")
    moved(mix.get("evicted") or [], "Examples that went with a version of their source")


def _replay(replay: dict[str, Any]) -> None:
    slices = replay.get("slices") or {}
    if slices:
        look.small("Slices with a ratio of their own: " + ", ".join(f"{s} {percent(r)}" for s, r in slices.items()))


def interference(rows: Sequence[dict[str, Any]]) -> None:
    """What a trial step did to the loss of old examples, by slice, the most endangered first."""
    if not rows:
        return
    look.section("What it would hurt")
    most = max(abs(r["mean_rise"]) for r in rows) or 1.0
    look.grid(
        ["Slice", "Examples measured", "Mean change of the loss", "", "Share that gets worse"],
        [
            [
                escape(r["slice"]),
                escape(r["n"]),
                escape(signed(r["mean_rise"])),
                figures.bar(max(0.0, r["mean_rise"]) / most, "compared with the worst slice", "warn"),
                escape(percent(r["rising"])),
            ]
            for r in sorted(rows, key=lambda r: -r["mean_rise"])
        ],
        numbers=(1, 2, 4),
    )
    look.small("Above zero it would be forgotten without practice; recalled rows come from there first.")


def mix_table(rows: list[dict[str, Any]], *, key: str) -> None:
    """The rows of a mix with the reason of each. What training did without is a part of its own, and says why."""
    shown = [r | _place(r) for r in rows]
    parts = Counter(r["part"] for r in shown)
    part = st.segmented_control(
        "Rows",
        ["all", *sorted(parts)],
        default="all",
        required=True,
        format_func=lambda p: f"{p} ({parts[p] if p != 'all' else len(rows)})",
        key=f"{key}.part.{len(rows)}.{parts['new']}",
        label_visibility="collapsed",
    )
    measured = any(r.get("rise") is not None for r in rows)
    look.table(
        [
            {
                "Part": r["part"],
                "Question": shorten(r.get("question") or "–", 160),
                "Reason": r["reason"],
                "Slice": r["slice"],
                **({"Rise of loss": None if r.get("rise") is None else signed(r["rise"])} if measured else {}),
                "Example": r["example"],
            }
            for r in sorted(shown, key=lambda r: _FIRST.index(r["part"]))
            if part in ("all", None, r["part"])
        ],
        key=f"{key}.rows",
        column_config={
            "Part": st.column_config.Column(width=80),
            "Question": st.column_config.Column(width=330),
            "Reason": st.column_config.Column(width=330),
        },
    )


def _place(row: dict[str, Any]) -> dict[str, str]:
    """The part that a row is shown in, and the reason."""
    if row.get("left_out") is None:
        return {"part": row["part"], "reason": row["reason"]}
    return {"part": _LEFT_OUT, "reason": f"{row['left_out']}; drawn as {row['reason']}"}


def moved(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Examples whose source has changed."""
    if not rows:
        return
    with st.expander(f"{title} ({len(rows)})"):
        look.grid(
            ["Example", "Why", "Document", "Epoch"],
            [
                [
                    f"<code>{escape(r['example'])}</code>",
                    f'<div class="rp-wide">{escape(_WHY.get(r["why"], r["why"]))}</div>',
                    escape(", ".join(_version(d) for d in r["documents"])),
                    escape(r["epoch"]),
                ]
                for r in rows[:_SHOWN]
            ],
            numbers=(3,),
        )
        if len(rows) > _SHOWN:
            look.small(f"and {len(rows) - _SHOWN} more")


def excluded(counts: dict[str, int]) -> None:
    """What was kept out of a mix, and why."""
    if counts:
        kept_out = "; ".join(f"{n:,} {why}" for why, n in counts.items())
        look.small(f"Not in the mix: {kept_out}")


def _version(document: dict[str, Any]) -> str:
    name = document.get("name") or document.get("document") or ""
    return f"{name}, version {document['version']}" if document.get("version") else str(name)
