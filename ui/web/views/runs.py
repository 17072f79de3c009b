"""Retrains: those under way with their progress, and each one's verdict, with what can be done about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from finetune.cost import size
from ui.web import look
from ui.web.client import node, problem, told
from ui.web.pages import go
from ui.web.plain import count, label, moment, sentence
from ui.web.views import promotion, verdict
from ui.web.views.mix import excluded, mix_table
from ui.web.watch import ACTIVE, KINDS, watch

RUN = "adapters.run"
UNDER_WAY = ("requested", "drawn", "trained", "evaluated")
_ENDED = ("accepted", "rejected", "failed", "declined")


def show(runs: list[dict[str, Any]], adapters: list[dict[str, Any]]) -> None:
    """Draw the tab."""
    if not runs:
        look.empty(
            "Nothing was trained yet; the base model serves.",
            "Look at the next mix on the Rehearsal page, and start a retrain there or with the button above.",
        )
        if st.button("See the next mix", type="primary", icon=":material/school:"):
            go("rehearsal", tab="Next mix")
        return
    _running(runs)
    known = {r["run"]: r for r in runs}
    if st.session_state.get(RUN) not in known:
        st.session_state[RUN] = runs[0]["run"]
    if len(runs) > 1:
        _table(runs)
    # Its labels must not change with time: a browser keeps those of what was chosen.
    run = known[st.selectbox("Run", list(known), key=RUN)]
    with st.container(border=True):
        _detail(run, adapters)


def _running(runs: list[dict[str, Any]]) -> None:
    jobs = [j["job"] for j in node().jobs(50) if j["kind"] in ("retrain", "rejudge") and j["state"] in ACTIVE]
    watch(jobs, lambda j: f"**{KINDS[j['kind']]}** {label(j['args'].get('run', ''))}", stages=True)
    if not jobs and any(r["state"] in UNDER_WAY for r in runs):
        _settling({r["run"]: r["state"] for r in runs})


@st.fragment(run_every=1.5)
def _settling(drawn: dict[str, str]) -> None:
    """For runs that ended between the looks at runs and at jobs, and would stand as they were for ever."""
    with told():
        if {r["run"]: r["state"] for r in node().runs()} != drawn:
            st.rerun()


def _table(runs: list[dict[str, Any]]) -> None:
    """The runs; a click on a row opens its run."""

    def clicked() -> None:
        row = look.chosen(st.session_state["adapters.runs"])
        if row is not None and row < len(runs):
            st.session_state[RUN] = runs[row]["run"]

    look.table(
        [
            {
                "Begun (UTC)": moment(r.get("created")),
                "State": r["state"],
                "Kind": r["kind"],
                "Gain": verdict.gain(r["verdict"]),
                "Examples": r["metrics"].get("examples"),
                "Policy": _policy(r["options"]),
                "Replay": f"{r['options'].get('rho', 0):.0%}",
                "Took": verdict.duration(r["seconds"]) if r["state"] in _ENDED else "",
                "Workspace": r["workspace"] or "all",
                "Run": r["run"],
            }
            for r in runs
        ],
        on_select=clicked,
        selection_mode="single-cell",
        key="adapters.runs",
        height=min(38 + 35 * len(runs), 213),
        column_config={"Gain": st.column_config.Column(help="Of all questions that were held out: new minus champion")},
    )


def _detail(run: dict[str, Any], adapters: list[dict[str, Any]]) -> None:
    verdict.state_line(run)
    if run["error"]:
        wrong = run["error"]
        st.error(problem(wrong["code"], wrong["message"], wrong.get("hint", "")))
    if run["state"] == "proposed" and st.button("See the mix and decide", type="primary"):
        go("rehearsal", tab="Waiting mixes")
    if run["beside"]:
        _beside(run)
    if run["verdict"]:
        verdict.show(run["verdict"])
    adapter = next((a for a in adapters if a["run"] == run["run"]), None)
    if adapter:
        promotion.show(adapter)
    verdict.facts(run)
    look.small(*_asked(run))
    if run["verdict"]:
        _export(run["run"])
    if run["manifest"] and run["state"] != "proposed":
        with st.expander("The mix it was trained on, with the reason of each row"):
            _mix(run["run"])


def _beside(run: dict[str, Any]) -> None:
    """The other challenger of the cycle, and which of the two is preferred."""
    with st.container(horizontal=True, vertical_alignment="center"):
        look.words(sentence(run["beside"]))
        if st.button("See the other", icon=":material/compare_arrows:", key=f"adapters.other.{run['run']}"):
            go("adapters", run=run["sibling"])


def _export(run: str) -> None:
    """The way out of the platform: a folder that reproduces the run's figures by itself."""
    with st.popover("Export", icon=":material/folder_zip:", key=f"adapters.export.{run}"):
        look.small("A folder from which it can be trained again and compared, without this platform.")
        folder = st.text_input(
            "Folder on the node's machine",
            key=f"adapters.export.folder.{run}",
            placeholder="/srv/exports/run",
            help="A path from / on, of a folder that is new or empty.",
        ).strip()
        with_base = st.checkbox("With the base model", key=f"adapters.export.base.{run}")
        if st.button(
            "Write it", type="primary", key=f"adapters.export.go.{run}", disabled=not Path(folder).is_absolute()
        ):
            with told():
                done = node().export_run(run, folder, with_base)
                st.success(f"{count(done['rows'], 'row')}, {size(done['bytes'])}: {label(done['folder'])}")
                for what, n in done["missing"].items():
                    look.small(f"no longer there, {what}: {n}")


def _asked(run: dict[str, Any]) -> list[str]:
    """What was asked of a run, in small print."""
    options = run["options"]
    return [
        f"policy {_policy(options)}",
        f"replay ratio {options.get('rho')}",
        f"seed {options.get('seed')}",
        f"method {options['method']}" if options.get("method") else "",
        f"starts from {options['start']}" if options.get("start") not in (None, "champion") else "",
        f"without {len(options['without'])} documents" if options.get("without") else "",
        f"compared with {run['parent'] or 'the base model'}",
        f"took {verdict.duration(run['seconds'])}" if run["state"] in _ENDED else "",
        "shuffled labels: a control that must be refused" if options.get("control") else "",
    ]


def _policy(options: dict[str, Any]) -> str:
    merged = options.get("merged")
    return f"merge of {len(merged)}" if merged else str(options.get("policy"))


def _mix(run: str) -> None:
    with told():
        mix = node().mix(run)
        look.small(
            f"drawn at epoch {mix['epoch']}",
            f"policy {mix['policy']}",
            f"replay ratio {mix['rho']}",
            f"seed {mix['seed']}",
        )
        mix_table(mix["rows"], key=f"adapters.mix.{run}")
        excluded(mix["excluded"])
