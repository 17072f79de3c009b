"""A verdict for a person: what was decided and why, slice by slice, with what chance alone could have done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from finetune.cost import told
from finetune.verdict import rival_of
from ui.web import figures, look
from ui.web.figures import signed
from ui.web.plain import count, escape, number

STATES = {
    "requested": "It is in the ledger and waits for its turn.",
    "proposed": "The mix is drawn and waits for a person. It stands on the Rehearsal page.",
    "declined": "A person rejected the mix; nothing was trained.",
    "drawn": "The mix is drawn; training comes next or is under way.",
    "trained": "The adapter exists and is being measured.",
    "evaluated": "It is measured; the gate decides.",
    "accepted": "The gate lets it through.",
    "rejected": "The gate turned it down. What serves goes on serving.",
    "failed": "It did not get to the end.",
}
"""What a state of a run means."""
TONES = {"accepted": "good", "rejected": "warn", "failed": "bad"}
_ROWS = {
    "(all)": "All questions",
    "(all old)": "All old slices together",
    "(all new)": "All that is new together",
    "(small slices)": "Small slices together",
    "(small new slices)": "Small new slices together",
    "(pinned)": "Pinned questions",
    "(unseen)": "About passages that nobody practised",
}
_PARTS = {
    "new": "new",
    "old": "old",
    "pinned": "pinned",
    "suite": "suite",
    "leg": "as answered",
    "all": "",
    "origin": "by origin; nothing is refused by it",
}
_NDCG = "nDCG@10 tells how near the top the right passage stands: 1 is always first, 0 is never among the first ten."


def state_line(run: dict[str, Any]) -> None:
    """The state of a run, and what that means."""
    state = run["state"]
    waits = bool((run["verdict"] or {}).get("approval"))
    about = "The gate lets it through, and its policy asks for a person's approval." if waits else STATES.get(state, "")
    st.html(f'<div class="rp-line">{look.tag(state, TONES.get(state, ""))}<span>{escape(about)}</span></div>')


def show(verdict: dict[str, Any]) -> None:
    """Draw reasons and slices."""
    st.html(f'<ul class="rp-reasons">{"".join(map(reason, verdict["reasons"]))}</ul>')
    order = list(_PARTS)  # a part that a later release adds stands last
    slices = sorted(verdict["slices"], key=lambda s: order.index(s["part"]) if s.get("part") in order else len(order))
    if not slices:
        return
    slice_table(slices)
    against = "champion" if any(s["champion"] is not None for s in slices) else "base model"
    look.small(f"Difference: new adapter minus {against}; the line is where the true one lies with 95 % confidence.")
    allowed = (
        "The dotted mark is the loss that is let pass. " if any(s.get("allowed") is not None for s in slices) else ""
    )
    if any(s["metric"].startswith("ndcg") for s in slices):
        allowed += _NDCG
    if allowed:
        look.small(allowed)


def slice_table(slices: Sequence[dict[str, Any]]) -> None:
    """Rows of a verdict with their intervals, on one scale."""
    scale = figures.scale_of([(s["low"], s["high"]) for s in slices])
    rows = []
    for s in slices:
        rival = rival_of(s)
        gain = None if rival is None else s["challenger"] - rival
        metric = "" if s["metric"].startswith("ndcg") or s["metric"] == s["slice"] else f" · {s['metric']}"
        rows.append(
            [
                f"<div>{escape(_ROWS.get(s['slice'], s['slice']))}</div>"
                f'<div class="rp-about">{escape(_PARTS.get(s.get("part", ""), s.get("part", "")) + metric)}</div>',
                escape(s["n"]),
                escape(number(s["base"])),
                escape(number(s["champion"])),
                f"<b>{escape(number(s['challenger']))}</b>",
                escape(signed(gain)),
                figures.interval(s["low"], s["high"], gain or 0.0, scale, allowed=s.get("allowed")),
            ]
        )
    heads = ["Slice", "Questions", "Base", "Champion", "New adapter", "Difference", "with 95 % confidence"]
    look.grid(heads, rows, numbers=range(1, 6))


def reason(said: str) -> str:
    """HTML of a reason, as an item of a list; whether it speaks for or against the adapter shows."""
    verb, colon, rest = said.partition(": ")
    kind = {"passed": "for", "refused": "against"}.get(verb, "aside")
    text = (rest if colon and verb in ("passed", "refused", "note") else said).replace("ndcg@", "nDCG@")
    return f'<li class="rp-{kind}">{escape(text[:1].upper() + text[1:])}</li>'


def gain(verdict: dict[str, Any] | None) -> str:
    """What a verdict says of the new slices, in a few words for a list."""
    if not verdict:
        return ""
    row = next((s for s in verdict["slices"] if s["slice"] == "(all)"), None)
    if row is None:
        return ""
    rival = rival_of(row)
    return "" if rival is None else signed(row["challenger"] - rival)


def facts(run: dict[str, Any]) -> None:
    """What it was trained and measured on, and what it took."""
    m = run["metrics"]
    pairs: list[tuple[str, object]] = []
    if "examples" in m:
        pairs.append(("Trained on", count(m["examples"], "example")))
    if "held_out" in m:
        pairs.append(("Measured on", count(m["held_out"], "question")))
    if m.get("first_loss") is not None and m.get("last_loss") is not None:
        pairs.append(("Loss", f"{m['first_loss']:.3f} → {m['last_loss']:.3f}"))
    for some in (pairs, told(m.get("cost") or {"train_seconds": m.get("train_seconds")})):
        if some:
            look.facts(some)
    _halves(m)


def _halves(m: dict[str, Any]) -> None:
    """The two halves of the exam: passages that training asked about in other words, and passages it never saw."""
    said = []
    for name, words in (("seen", "about passages it practised"), ("unseen", "about passages it never saw")):
        half = m.get(name) or {}
        if half.get("n") and half.get("champion") is not None and half.get("challenger") is not None:
            change = signed(half["challenger"] - half["champion"])
            said.append(f"{change} on {count(half['n'], 'question')} {words}")
    if said:
        look.small("; ".join(said))


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
