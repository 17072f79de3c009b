"""Retention: how long the old versions of a workspace are kept, and what the rules no longer keep."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kernel.errors import RepriseError
from ui.web import look
from ui.web.client import node, tell, told, workspaces
from ui.web.plain import count, escape, numbers

KEEP_ALL, NEWEST, DAYS = RULES = ("Keep all", "Keep the newest", "Keep for some days")
_REPORT = "retention.report"


def show(documents: list[dict[str, Any]]) -> None:
    """Draw the tab."""
    look.words(
        "A rule says how many old versions of each document stay, or for how long. What a rule no longer keeps "
        "expires: its text is gone for good, and a citation of it says so. The version that counts always stays."
    )
    rules = {rule["workspace"]: rule for rule in node().retention()}
    names = [*workspaces(documents), *sorted(rules.keys() - set(workspaces(documents)))]
    look.grid(
        ["Workspace", "Rule"],
        [[escape(name), escape(rules[name]["policy"] if name in rules else "keep all")] for name in names],
    )
    _set(names, rules)
    _apply(rules)


# --- the rule -----------------------------------------------------------------------------------


def _set(names: list[str], rules: dict[str, dict[str, Any]]) -> None:
    look.section("Set a rule")
    a, b, c, d = st.columns([2, 2, 1, 1], vertical_alignment="bottom")
    workspace = a.selectbox("Workspace", names, key="retention.workspace")
    rule = rules.get(workspace, {})
    now = NEWEST if rule.get("versions") else DAYS if rule.get("days") else KEEP_ALL
    kind = b.selectbox("Rule", RULES, index=RULES.index(now), key=f"retention.rule.{workspace}")
    amount = 0
    if kind != KEEP_ALL:
        given = rule.get("versions") if kind == NEWEST else rule.get("days")
        amount = c.number_input(
            "Versions" if kind == NEWEST else "Days",
            1,
            1_000_000,
            given or (5 if kind == NEWEST else 365),
            key=f"retention.amount.{workspace}.{kind}",
        )
    beside = c if kind == KEEP_ALL else d
    if beside.button("Set …" if kind != KEEP_ALL else "Set", type="primary", key="retention.set"):
        if kind == KEEP_ALL:
            with told():
                node().set_retention(workspace)
                st.session_state.pop(_REPORT, None)
                st.rerun()
        else:
            _confirm(workspace, kind, int(amount))


@st.dialog("Set this rule?", icon=":material/auto_delete:")
def _confirm(workspace: str, kind: str, amount: int) -> None:
    """A rule is applied by the node itself, at once: so it is asked before."""
    look.words(
        f"Workspace {workspace}: {words(kind, amount)}.\n\n"
        "The node applies it by itself from now on, every hour. Older versions than that go for good; they cannot be "
        "restored, compared or asked about any more."
    )
    if st.button("Set the rule", type="primary", key="retention.set.yes"):
        try:
            node().set_retention(
                workspace,
                versions=amount if kind == NEWEST else None,
                days=amount if kind == DAYS else None,
            )
        except RepriseError as error:
            tell(error)
            return
        st.session_state.pop(_REPORT, None)
        st.rerun()


def words(kind: str, amount: int) -> str:
    """A rule as people say it."""
    if kind == NEWEST:
        newest = "the newest version" if amount == 1 else f"the newest {amount:,} versions"
        return f"keep {newest} of each document"
    return f"keep a version for {count(amount, 'day')} after the next one replaced it"


# --- applying -----------------------------------------------------------------------------------


def _apply(rules: dict[str, dict[str, Any]]) -> None:
    if not rules:
        st.session_state.pop(_REPORT, None)
        return
    look.section("Apply the rules now")
    left, right = st.columns([1, 1])
    with left.container(horizontal=True):
        if st.button("What would go?", icon=":material/visibility:", key="retention.dry"):
            st.session_state[_REPORT] = node().apply_retention(dry_run=True)
        report = st.session_state.get(_REPORT)
        due = bool(report and report["dry_run"] and report["expired"])
        if st.button("Let them go", icon=":material/auto_delete:", disabled=not due, key="retention.apply"):
            with st.spinner("Removing …"):
                st.session_state[_REPORT] = node().apply_retention()
            st.rerun()
    right.empty()
    if report is not None:
        _report(report)


def _report(report: dict[str, Any]) -> None:
    expired = report["expired"]
    if not expired:
        look.empty(
            "Nothing is to go." if report["dry_run"] else "Nothing went.", "The rules keep every version that is there."
        )
        return
    versions = count(sum(len(row["versions"]) for row in expired), "version")
    if report["dry_run"]:
        st.info(f"{versions} of {count(len(expired), 'document')} would go. Nothing was touched.")
    else:
        st.success(f"{versions} of {count(len(expired), 'document')} went for good.")
        look.facts(
            [("Passages", report["points"]), ("Texts and files", report["blobs"]), ("Examples", report["examples"])]
        )
    look.grid(
        ["Document", "Workspace", "Versions"],
        [[escape(row["name"]), escape(row["workspace"]), escape(numbers(row["versions"]))] for row in expired],
    )
