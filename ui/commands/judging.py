"""Commands of judging: the gate's policy, approvals, pinned suites, and what a line of adapters has forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from kernel.errors import UserError
from ui.commands.adapters import Kind
from ui.door import Door, command, say, table
from ui.pairs import pairs

Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Of this workspace's runs alone.")]
SUITE_COLUMNS = ["suite", "workspace", "questions", "unanswerable", "by", "created"]
APPROVAL_COLUMNS = ["adapter", "state", "by", "reason", "at", "run"]


def register(app: typer.Typer) -> None:
    _register_policy(app)
    _register_suites(app)

    @command(app)
    def approve(
        door: Door,
        adapter: str,
        reason: Annotated[str | None, typer.Option(help="Why; kept in the audit log.")] = None,
    ) -> None:
        """Let an accepted adapter serve whose policy asks for a person's approval."""
        door.out(
            door.platform.approve(adapter, reason, user=door.settings.user),
            lambda a: say(f"{a['by']} approved {a['adapter']}; `reprise promote {a['adapter']}` lets it serve."),
        )

    @command(app)
    def approvals(door: Door) -> None:
        """Adapters that wait, or waited, for a person's approval."""
        empty = "No adapter waits for approval. `reprise gate-policy set approval=true` makes them."
        door.out(door.platform.approvals(), lambda rows: table(rows, APPROVAL_COLUMNS, empty))

    @command(app)
    def forgetting(
        door: Door,
        kind: Kind = "retriever",
        workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only its questions.")] = None,
        served: Annotated[bool, typer.Option("--served", help="As served, not by the trained arm alone.")] = False,
        last: Annotated[int, typer.Option(help="Adapters of the line to look at, the newest.")] = 12,
        before: Annotated[str | None, typer.Option(help="Compare from this model (an adapter, or `base`).")] = None,
        after: Annotated[str | None, typer.Option(help="Compare to this model (default: the newest).")] = None,
        seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    ) -> None:
        """What every adapter of the champion's line scores on every slice now, and what was forgotten on the way."""
        found = door.platform.forgetting(kind, workspace, served, last, before, after, seed, door.progress())
        door.out(found, _people_matrix)


def _register_policy(app: typer.Typer) -> None:
    policy = typer.Typer(help="How strict the gate is.", no_args_is_help=True)
    app.add_typer(policy, name="gate-policy")

    @command(policy)
    def show(door: Door, kind: Kind = "retriever", workspace: Workspace = None) -> None:
        """The thresholds that runs are judged by."""
        door.out(door.platform.gate_policy(kind, workspace), _people_policy)

    @command(policy, "set")
    def set_thresholds(
        door: Door,
        thresholds: Annotated[
            list[str] | None, typer.Argument(metavar="NAME=VALUE…", help="As `show` names them.")
        ] = None,
        kind: Kind = "retriever",
        workspace: Workspace = None,
        reset: Annotated[bool, typer.Option("--reset", help="All others take their defaults again.")] = False,
    ) -> None:
        """Change thresholds: all that are given, or none."""
        changes = pairs(thresholds or (), "tolerance=0.01")
        if not changes and not reset:
            raise UserError("nothing to set", hint="give NAME=VALUE, e.g. tolerance=0.01, or --reset")
        set_to = door.platform.set_gate_policy(changes, kind, workspace, reset, user=door.settings.user)
        door.out(set_to, _people_policy)


def _register_suites(app: typer.Typer) -> None:
    suite = typer.Typer(help="Pinned suites: every gate asks them.", no_args_is_help=True)
    app.add_typer(suite, name="suite")
    empty = "No suite is pinned. `reprise eval SUITE.jsonl --pin NAME` pins one."

    @command(suite, "list")
    def list_suites(door: Door) -> None:
        """List pinned suites."""
        door.out(door.platform.suites(), lambda rows: table(rows, SUITE_COLUMNS, empty))

    @command(suite)
    def unpin(door: Door, name: str) -> None:
        """Let a suite go; lists the rest."""
        left = door.platform.unpin_suite(name, user=door.settings.user)
        door.out(left, lambda rows: table(rows, SUITE_COLUMNS, empty))


def _people_policy(found: dict[str, Any]) -> None:
    where = f" in workspace {found['workspace']!r}" if found["workspace"] else ""
    say(f"{found['kind']}{where}:")
    rows = [
        {"threshold": name, "value": json.dumps(value), "set": "here" if name in found["set"] else ""}
        for name, value in found["policy"].items()
    ]
    table(rows, ["threshold", "value", "set"], "")


def _table_of_models(found: dict[str, Any], names: list[str], figures: Iterable[Iterable[float | None]]) -> None:
    """A row of figures for each model of the line."""
    rows = [
        {"model": row["model"]} | {name: "" if v is None else f"{v:.3f}" for name, v in zip(names, values, strict=True)}
        for row, values in zip(found["rows"], figures, strict=True)
    ]
    table(rows, ["model", *names], "Nothing is held out.")


def _people_matrix(found: dict[str, Any]) -> None:
    say(f"{found['metric']} at epoch {found['epoch']}, each row a model, the newest last:")
    names = [s["slice"] for s in found["slices"]]
    _table_of_models(found, names, found["R"])
    if len(found["origins"]) > 1:
        say("By where the questions come from:")
        means = zip(*(o["figures"] for o in found["origins"]), strict=True)
        _table_of_models(found, [o["origin"] for o in found["origins"]], means)
    for name in ("average_accuracy", "backward_transfer", "forward_transfer", "forgetting"):
        value = found[name]
        say(f"{name.replace('_', ' ')}: {'cannot be told yet' if value is None else f'{value:+.4f}'}")
    if found["changes"]:
        say(f"From {found['before']} to {found['after']}:")
        table(found["changes"], ["slice", "n", "before", "after", "mean", "low", "high"], "")
