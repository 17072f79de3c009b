"""Adapters: runs and their verdicts, what serves, promote and roll back."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.web import look
from ui.web.client import node, problem, told
from ui.web.pages import asked, go
from ui.web.plain import count, escape, label, moment, number
from ui.web.views.rehearsal import excluded, mix_table
from ui.web.watch import ACTIVE, watch

STATES = {
    "requested": "It is in the ledger and waits for its turn.",
    "drawn": "The mix is drawn; training comes next or is under way.",
    "trained": "The adapter exists and is being measured.",
    "evaluated": "It is measured; the gate decides.",
    "accepted": "The gate lets it through.",
    "rejected": "The gate turned it down.",
    "failed": "It did not get to the end.",
}
UNDER_WAY = ("requested", "drawn", "trained", "evaluated")
_RUN, _SAID = "adapters.run", "adapters.said"


def show() -> None:
    """Draw the page."""
    wanted = asked("adapters")
    if wanted:
        st.session_state[_RUN] = wanted["run"]
    look.head(
        "Adapters",
        "An adapter serves only after a measured verdict, or with a reason that stands in the audit log.",
    )
    said = st.session_state.pop(_SAID, None)
    if said:
        st.success(said)
    runs, adapters = node().runs(), node().adapters()
    _serving(adapters)
    if not runs:
        look.empty(
            "No adapter was trained yet; the base model serves.",
            "Look at the next mix on the Rehearsal page and start a retrain there.",
        )
        if st.button("Go to Rehearsal", type="primary", icon=":material/school:"):
            go("rehearsal")
        return
    _running(runs)
    _runs(runs, adapters)
    if adapters:
        look.section("All adapters")
        look.table(
            [
                {
                    "Adapter": a["adapter"],
                    "State": a["state"],
                    "Accepted": "yes" if a.get("accepted") else "no",
                    "Share": f"{a['share']:.0%}",
                    "Parent": a["parent"] or "base",
                    "Run": a["run"],
                    "Created (UTC)": moment(a["created"]),
                }
                for a in adapters
            ],
            key="adapters.table",
        )


# --- what serves --------------------------------------------------------------------------------


def _serving(adapters: list[dict[str, Any]]) -> None:
    champion = next((a["adapter"] for a in adapters if a["state"] == "champion"), None)
    previous = next((a["adapter"] for a in adapters if a["state"] == "previous"), None)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", border=True):
        look.facts(
            [
                ("Serving now", champion or "base model"),
                ("Before it", previous or ("base model" if champion else "–")),
            ]
        )
        back = previous or "the base model"
        if champion and st.button(
            "Roll back",
            icon=":material/undo:",
            help=f"Serve {label(back)} again, at once.",
            key="adapters.rollback",
        ):
            with told():
                done = node().rollback("retriever")
                st.session_state[_SAID] = (
                    f"{label(done['champion'] or 'The base model')} serves again, after {done['ms']:.0f} ms."
                )
                st.rerun()


# --- runs ---------------------------------------------------------------------------------------


def _running(runs: list[dict[str, Any]]) -> None:
    alive = {r["run"] for r in runs if r["state"] in UNDER_WAY}
    if not alive:
        return
    jobs = [j["job"] for j in node().jobs(50) if j["kind"] == "retrain" and j["state"] in ACTIVE]
    watch(jobs, lambda j: f"**Retrain** {label(j['args'].get('run', ''))}", stages=True)


def _runs(runs: list[dict[str, Any]], adapters: list[dict[str, Any]]) -> None:
    known = {r["run"]: r for r in runs}
    if st.session_state.get(_RUN) not in known:
        st.session_state[_RUN] = runs[0]["run"]
    if len(runs) > 1:
        _table(runs)
    # Its labels must not change with time: a browser keeps those of what was chosen.
    run = known[st.selectbox("Run", list(known), key=_RUN)]
    options = run["options"]
    with st.container(border=True):
        _verdict_line(run)
        if run["error"]:
            wrong = run["error"]
            st.error(problem(wrong["code"], wrong["message"], wrong.get("hint", "")))
        if run["verdict"]:
            _verdict(run["verdict"])
        adapter = next((a for a in adapters if a["run"] == run["run"]), None)
        if adapter:
            _promote(adapter)
        _numbers(run)
        look.small(
            f"policy {options.get('policy')}",
            f"rho {options.get('rho')}",
            f"seed {options.get('seed')}",
            f"parent {run['parent'] or 'base'}",
            f"{run['seconds']:.0f} s" if run["state"] not in UNDER_WAY else "",
            "shuffled labels (a control that must be refused)" if options.get("control") else "",
        )
        if run["manifest"]:
            with st.expander("The mix it was trained on, with the reason of each row"):
                _mix(run["run"])


def _table(runs: list[dict[str, Any]]) -> None:
    """The runs; a click on a row opens its run."""

    def clicked() -> None:
        row = look.chosen(st.session_state["adapters.runs"])
        if row is not None and row < len(runs):
            st.session_state[_RUN] = runs[row]["run"]

    look.table(
        [
            {
                "Run": r["run"],
                "State": r["state"],
                "Examples": r["metrics"].get("examples"),
                "Policy": r["options"].get("policy"),
                "rho": r["options"].get("rho"),
                "Seed": r["options"].get("seed"),
                "Seconds": round(r["seconds"]),
            }
            for r in runs
        ],
        on_select=clicked,
        selection_mode="single-cell",
        key="adapters.runs",
        height=min(38 + 35 * len(runs), 178),
    )


def _verdict_line(run: dict[str, Any]) -> None:
    state = run["state"]
    tone = {"accepted": "good", "rejected": "warn", "failed": "bad"}.get(state, "")
    st.html(
        f'<div style="display:flex;gap:.7rem;align-items:center;flex-wrap:wrap">{look.tag(state, tone)}'
        f"<span>{escape(STATES.get(state, ''))}</span></div>"
    )


def _verdict(verdict: dict[str, Any]) -> None:
    reasons = "".join(f"<li>{_reason(r)}</li>" for r in verdict["reasons"])
    st.html(f'<ul style="margin:.2rem 0;padding-left:1.2rem">{reasons}</ul>')
    look.table(
        [
            {
                "Slice": s["slice"],
                "Questions": s["n"],
                "Measure": s["metric"],
                "Base": number(s["base"]),
                "Champion": number(s["champion"]),
                "Challenger": number(s["challenger"]),
                "Difference, 95 %": f"{_signed(s['low'])} to {_signed(s['high'])}" if s["low"] is not None else "–",
            }
            for s in verdict["slices"]
        ],
        key="adapters.slices",
    )
    look.small("Difference: challenger minus champion. If both ends are above zero, the gain is more than luck.")


def _reason(reason: str) -> str:
    """HTML of a reason; whether it speaks for or against the adapter shows."""
    verb, colon, rest = reason.partition(":")
    tone = {"passed": "good", "refused": "bad"}.get(verb)
    return f'<b class="rp-{tone}">{verb}</b>{colon}{escape(rest)}' if tone else escape(reason)


def _promote(adapter: dict[str, Any]) -> None:
    name = adapter["adapter"]
    if adapter["state"] == "champion":
        look.small(f"{name} is what serves now.")
        return
    reason: str | None = None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if not adapter.get("accepted"):
            reason = st.text_input(
                "Why promote it all the same?",
                key=f"adapters.why.{name}",
                placeholder="this reason is kept in the audit log",
                width=420,
            ).strip()
        go_on = st.button(
            "Promote" if adapter.get("accepted") else "Promote in spite of the gate",
            type="primary" if adapter.get("accepted") else "secondary",
            disabled=reason == "",
            icon=":material/arrow_upward:",
            key=f"adapters.promote.{name}",
            help="It serves every question from then on. You can roll back at any time.",
        )
    if go_on:
        with told():
            done = node().promote(name, reason or None)
            st.session_state[_SAID] = f"{label(done['champion'])} serves now, after {done['ms']:.0f} ms."
            st.rerun()


def _numbers(run: dict[str, Any]) -> None:
    m = run["metrics"]
    pairs: list[tuple[str, object]] = []
    if "examples" in m:
        pairs.append(("Trained on", count(m["examples"], "example")))
    if "held_out" in m:
        pairs.append(("Measured on", count(m["held_out"], "question")))
    if m.get("first_loss") is not None:
        pairs.append(("Loss", f"{m['first_loss']:.3f} → {m['last_loss']:.3f}"))
    if "train_seconds" in m:
        pairs.append(("Training", f"{m['train_seconds']:.0f} s"))
    if pairs:
        look.facts(pairs)


def _mix(run: str) -> None:
    with told():
        mix = node().mix(run)
        look.small(f"epoch {mix['epoch']}", f"policy {mix['policy']}", f"rho {mix['rho']}", f"seed {mix['seed']}")
        mix_table(mix["rows"], key=f"adapters.mix.{run}")
        excluded(mix["excluded"])


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
