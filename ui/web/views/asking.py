"""What is asked of a retrain: policy, replay ratio, seed, workspace, where it starts from, by which method, without
which documents. The same fields to preview and to start one; what changes training alone stands beside the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from kernel.errors import UserError
from ui.pairs import pairs
from ui.web import look
from ui.web.client import ALL, node, tell, workspaces
from ui.web.figures import percent
from ui.web.plain import shorten

POLICIES = {
    "mixed": "the default; pinned, rare and once forgotten ones first, and the rest spread over all slices by size",
    "stratified": "a random sample of every slice, balanced by square root",
    "random": "any old examples",
    "balanced": "as many of each slice",
    "pinned": "pinned examples and rare slices first",
    "near": "those most like the new ones",
    "far": "those least like the new ones",
    "mir": "those whose loss a trial step on the new ones raises most",
    "surprise": "those the adapter knew worst the last time",
    "due": "those whose turn it is, as with spaced repetition",
    "generative": "a spread sample; where an answer may not be kept, the champion's own words stand in",
}
"""What each policy chooses, by its name."""
WAYS = {"sft": "learn the answers", "dpo": "prefer corrections", "kto": "learn from thumbs"}
"""How a generator may be trained."""
_STARTS = {"champion": "the champion", "base": "the base model"}
KINDS = {"retriever": "Search (retriever)", "generator": "Writing (generator)"}


def fields(key: str, *, kind: bool = True) -> dict[str, Any]:
    """Draw the fields; what was asked, as `preview` and `enqueue_retrain` take it. A `rho` of None is automatic."""
    a, b, c = st.columns([1.2, 1.2, 1.4], vertical_alignment="bottom")
    chosen = "retriever"
    if kind:
        chosen = a.selectbox(
            "What is trained", list(KINDS), format_func=lambda k: KINDS[k], key=f"{key}.kind",
            help="A retriever adapter changes what is found; a generator adapter changes how answers are written.",
        )  # fmt: skip
    where = b.selectbox("Workspace", [ALL, *workspaces(node().documents())], key=f"{key}.workspace")
    policy = c.selectbox(
        "Which old examples are practised",
        list(POLICIES),
        key=f"{key}.policy",
        help="Each policy in a few words stands below.",
    )
    a, b, c = st.columns([1.2, 1.2, 1.4], vertical_alignment="bottom")
    automatic = a.toggle(
        "Choose the replay ratio by itself",
        True,
        key=f"{key}.auto",
        help="From what the gate measured of earlier retrains: more after forgetting, less after clean passes.",
    )
    rho: float | None = None
    if not automatic:
        rho = b.slider(
            "Replay ratio", 0.0, 0.5, 0.3, 0.05, key=f"{key}.rho", help="Share of recalled old examples in the mix."
        )
    seed = c.number_input("Seed", 0, 2**31 - 1, 0, key=f"{key}.seed", help="The same seed and state give the same mix.")
    look.small(f"{policy}: {POLICIES[policy]}.")
    return {
        "kind": chosen,
        "policy": policy,
        "rho": rho,
        "seed": int(seed),
        "workspace": None if where == ALL else where,
    }


def more(key: str, kind: str, without: Sequence[str] = ()) -> dict[str, Any]:
    """Draw what is rarely asked for, and changes the mix as well; only what differs from the usual."""
    asked: dict[str, Any] = {}
    names: dict[str, str] = {d["document"]: d["name"] for d in node().documents()}
    chosen = st.multiselect(
        "Without these documents",
        list(names),
        [d for d in without if d in names],
        format_func=lambda d: shorten(names.get(d) or str(d), 60),
        key=f"{key}.without.{','.join(without)}",
        placeholder="none",
        help="Their examples stay out, and training starts from an adapter that has never seen them.",
    )
    if chosen:
        asked["without"] = chosen
    a, b = st.columns(2)
    if not chosen:
        others = [x["adapter"] for x in node().adapters() if x["kind"] == kind and x["state"] != "champion"]
        start = a.selectbox(
            "Training starts from", [*_STARTS, *others], format_func=lambda s: _STARTS.get(s, s), key=f"{key}.from"
        )
        if start != "champion":
            asked["start"] = start
    if kind == "generator":
        asked["method"] = b.selectbox(
            "Method", list(WAYS), format_func=lambda m: f"{m.upper()}: {WAYS[m]}", key=f"{key}.method"
        )
    return asked


def recipe(key: str) -> dict[str, Any] | None:
    """Draw the settings of the recipe that differ from its defaults; None, with the mistake told, where one is none."""
    written = st.text_area(
        "Settings of the recipe",
        key=f"{key}.recipe",
        placeholder="epochs=2",
        height=90,
        help="One NAME=VALUE a line. What is left out takes its default.",
    )
    try:
        return pairs(filter(str.strip, written.splitlines()), "epochs=2")
    except UserError as error:
        tell(error)
        return None


def replay(options: dict[str, Any]) -> None:
    """Say which replay ratio is chosen by itself, and why."""
    if options["rho"] is None:
        now = node().replay(options["kind"], options["workspace"])
        slices = ", ".join(f"{percent(rho)} for “{name}”" for name, rho in now["slices"].items())
        look.small(f"Replay ratio {percent(now['rho'])}: {_why(now)}", f"{slices} by its own record" if slices else "")


def _why(now: dict[str, Any]) -> str:
    """The controller's reason for the ratio overall, without the figure that stands before it already."""
    overall = next((said for said in now["reasons"] if " for '" not in said.partition(": ")[0]), "where it starts")
    return overall.partition(": ")[2] or overall
