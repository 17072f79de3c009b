"""Forgetting: what each adapter of the champion's line scores on each slice, and what later ones lost of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import figures, look
from ui.web.client import ALL, node, workspaces
from ui.web.figures import signed
from ui.web.later import forget, later
from ui.web.plain import count, escape, moment, number

_ANSWER = "forgetting.matrix"


def show(adapters: list[dict[str, Any]]) -> None:
    """Draw the tab."""
    if not any(a["state"] == "champion" for a in adapters):
        look.empty(
            "No adapter serves yet, so nothing can have been forgotten.",
            "Promote an adapter; from the second one on this table tells what each has kept.",
        )
        return
    a, b, c, d = st.columns([1.2, 1.4, 1, 1], vertical_alignment="bottom")
    kinds = sorted({x["kind"] for x in adapters if x["state"] == "champion"}, reverse=True)
    kind = a.selectbox("Adapters of", kinds, key="forgetting.kind")
    workspace = b.selectbox("Workspace", [ALL, *workspaces(node().documents())], key="forgetting.workspace")
    served = c.toggle(
        "As served",
        key="forgetting.served",
        help="With words, fusion and reranking, as a question is answered. Off: the adapter's own ranking.",
    )
    if d.button("Measure again", icon=":material/refresh:", key="forgetting.again"):
        forget(_ANSWER)
    options = {"kind": kind, "workspace": None if workspace == ALL else workspace, "served": served}
    with st.expander("Which adapters", key="forgetting.more"):
        options |= _which(_line(adapters, kind))
    remote = node()
    line = [x["adapter"] for x in adapters if x["state"] in ("champion", "previous")]
    told = later(_ANSWER, (options, line), lambda: remote.forgetting(**options), "Asking every adapter the same")
    if told is not None:
        _matrix(told)


def _line(adapters: list[dict[str, Any]], kind: str) -> list[str]:
    """The champion of a kind and the adapters it goes on from, the oldest first."""
    ours = {x["adapter"]: x for x in adapters if x["kind"] == kind}
    at: str | None = next((name for name, x in ours.items() if x["state"] == "champion"), None)
    line: list[str] = []
    while at is not None and at in ours and at not in line:
        line.insert(0, at)
        at = ours[at]["parent"]
    return line


def _which(known: list[str]) -> dict[str, Any]:
    """How much of the line is looked at, and which two of it are compared."""
    a, b, c = st.columns(3)
    last = a.number_input("The newest of the line", 1, 100, 12, key="forgetting.last")
    names = {"": "the one before the newest", "base": "the base model"}
    before = b.selectbox(
        "Compare from", [*names, *known], format_func=lambda m: names.get(m, m), key="forgetting.before"
    )
    after = c.selectbox(
        "to",
        ["", *known],
        format_func=lambda m: m or "the newest",
        key="forgetting.after",
        help="Question by question.",
    )
    return {"last": int(last), "before": before or None, "after": after or None}


def _matrix(told: dict[str, Any]) -> None:
    rows, slices = told["rows"], told["slices"]
    if not slices:
        look.empty("No question is held out here.", "One example in five is; import or correct some more.")
        return
    look.facts(
        [
            ("Average", number(told["average_accuracy"])),
            ("Moved since learnt", signed(told["backward_transfer"])),
            ("Forgotten", number(told["forgetting"])),
            ("Gained before learnt", signed(told["forward_transfer"])),
        ]
    )
    look.small(
        "Average: of the newest adapter over all slices. Moved since learnt (backward transfer): below zero is "
        "forgetting. Forgotten: loss against the best that any earlier adapter scored. Gained before learnt (forward "
        "transfer): on slices that no run had brought yet."
    )
    names = [s["slice"] for s in slices]
    at = {row["model"]: n for n, row in enumerate(rows)}
    st.html(
        figures.heat(
            [_called(row, n) for n, row in enumerate(rows)],
            [f"{s['slice']} ({s['n']})" for s in slices],
            told["R"],
            [at.get(s["learnt_by"]) if s["learnt_by"] else None for s in slices],
            [("forgotten", [number(s["forgotten"]) for s in slices])],
        )
    )
    metric = "nDCG@10" if told["metric"].startswith("ndcg") else told["metric"]
    look.small(
        f"{metric}; in brackets the held-out questions of each slice. A frame: the adapter that learnt the slice. All "
        f"of it on the documents of now (epoch {told['epoch']})",
        f"measured in {told['seconds']:g} s",
    )
    _origins(told)
    _changes(told, names)


def _origins(told: dict[str, Any]) -> None:
    """The same questions by where they come from, where they come from several places."""
    origins = told["origins"]
    if len(origins) < 2:
        return
    look.section("By where questions come from")
    look.grid(
        ["Model", *(f"{o['origin']} ({o['n']})" for o in origins)],
        [
            [escape(_called(row, n)), *(escape(number(o["figures"][n])) for o in origins)]
            for n, row in enumerate(told["rows"])
        ],
        numbers=range(1, 1 + len(origins)),
    )


def _changes(told: dict[str, Any], names: list[str]) -> None:
    """The last step, slice by slice, with what chance could have done."""
    changes = [c for c in told["changes"] if c["slice"] in names]
    if not changes:
        return
    at = {row["model"]: n for n, row in enumerate(told["rows"])}
    look.section("From " + " to ".join(_called(told["rows"][at[m]], at[m]) for m in (told["before"], told["after"])))
    scale = figures.scale_of([(c["low"], c["high"]) for c in changes])
    look.grid(
        ["Slice", "Questions", "Before", "After", "Change", "with 95 % confidence"],
        [
            [
                escape(c["slice"]),
                escape(c["n"]),
                escape(number(c["before"])),
                escape(number(c["after"])),
                escape(signed(c["mean"])),
                figures.interval(c["low"], c["high"], c["mean"], scale),
            ]
            for c in changes
        ],
        numbers=range(1, 5),
    )
    look.small(f"{count(len(changes), 'slice')}, question by question.")


def _called(row: dict[str, Any], n: int) -> str:
    """A model for people: the base, or an adapter by its place and time; its name stands in the list of adapters."""
    if row["run"] is None:
        return "base model"
    return f"{row['model']} ({moment(row['created'])})" if n else str(row["model"])
