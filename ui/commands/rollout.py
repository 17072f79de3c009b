"""Commands of the rollout: trials of adapters on live questions, and routes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kernel.errors import UserError
from ui.door import Door, command, say, table

COLUMNS = ["adapter", "kind", "state", "stage", "share", "against", "started", "ended"]
ROUTE_COLUMNS = ["workspace", "slice", "kind", "adapter", "reason"]
OfKind = Annotated[str | None, typer.Option("--kind", help="Which kind, where adapters of several are tried.")]
Workspace = Annotated[str, typer.Option("--workspace", "-w", help="The workspace.")]
Slice = Annotated[str | None, typer.Option("--slice", help="Only questions that are asked with this slice.")]
Override = Annotated[str | None, typer.Option(help="Why, in spite of the gate; kept in the audit log.")]


def register(app: typer.Typer) -> None:
    _register_routes(app)
    group = typer.Typer(help="Try an adapter on live questions before it serves everybody.", no_args_is_help=True)
    app.add_typer(group, name="rollout")

    @command(group)
    def start(
        door: Door,
        adapter: str,
        shadow: Annotated[
            bool, typer.Option("--shadow", help="First unseen: both answer, the champion is shown.")
        ] = False,
        share: Annotated[float | None, typer.Option(help="The first share of those who ask, such as .05.")] = None,
        steps: Annotated[
            str | None, typer.Option(help="Shares in order, with commas; 1 is the champion's place.")
        ] = None,
        test: Annotated[
            list[str] | None, typer.Option(help="A figure of the test, such as margin=.05; repeat it for more.")
        ] = None,
        override: Override = None,
    ) -> None:
        """Begin: a share of those who ask gets this adapter, always the same ones."""
        shares = [_number(part, "--steps") for part in steps.split(",")] if steps else None
        given = {"shadow": shadow, "share": share, "steps": shares, "test": _figures(test or []), "override": override}
        door.out(door.platform.start_rollout(adapter, **given), _people_trial)

    @command(group)
    def show(door: Door) -> None:
        """How the trials do, and how the last ones ended."""
        door.out(door.platform.rollouts(), _people_trials)

    @command(group)
    def advance(door: Door, kind: OfKind = None) -> None:
        """Take the next step now, whatever the figures say."""
        door.out(door.platform.advance_rollout(kind), _people_trial)

    @command(group)
    def stop(door: Door, kind: OfKind = None) -> None:
        """End the trial. The champion answers everybody; the adapter is a candidate again."""
        door.out(door.platform.stop_rollout(kind), _people_trial)


def _register_routes(app: typer.Typer) -> None:
    group = typer.Typer(help="Which adapter serves which workspace or slice.", no_args_is_help=True)
    app.add_typer(group, name="route")

    def people(rows: list[dict[str, Any]]) -> None:
        table(rows, ROUTE_COLUMNS, "No routes: the champion serves every workspace.")

    @command(group, "set")
    def set_route(
        door: Door, adapter: str, workspace: Workspace, slice_name: Slice = None, override: Override = None
    ) -> None:
        """Let an adapter serve a workspace, or one slice of its questions; lists all routes."""
        door.out(door.platform.set_route(adapter, workspace, slice_name, override), people)

    @command(group, "list")
    def list_routes(door: Door) -> None:
        """List routes."""
        door.out(door.platform.routes(), people)

    @command(group)
    def remove(
        door: Door,
        workspace: Workspace,
        slice_name: Slice = None,
        kind: Annotated[str, typer.Option("--kind", help="retriever or generator")] = "retriever",
    ) -> None:
        """Let the champion serve there again; lists the routes that are left."""
        door.out(door.platform.remove_route(workspace, slice_name, kind), people)


def _figures(told: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in told:
        name, sign, value = one.partition("=")
        if not sign:
            raise UserError(f"--test {one!r} has no value", hint="write it as margin=.05")
        number = _number(value, f"--test {name}")
        found[name.strip()] = int(number) if number.is_integer() and number >= 1 else number
    return found


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{what} has {text!r}, which is no number", hint="write .05 for five percent") from None


def _people_trials(trials: list[dict[str, Any]]) -> None:
    if not trials:
        say("No adapter was ever tried. `reprise rollout start ADAPTER` begins.")
    for trial in trials:
        _people_trial(trial)


def _people_trial(trial: dict[str, Any]) -> None:
    against = trial["against"] or "the base model"
    running = trial["state"] == "running"
    where = "in the shadow" if trial["stage"] == "shadow" else f"with {trial['share']:.0%} of those who ask"
    say(f"{trial['adapter']} against {against}, {where}: {trial['state']}")
    if trial["reason"]:
        say(f"  {trial['reason']}")
    if running and trial["steps"]:
        say("  still to come: " + ", ".join("champion" if s == 1 else f"{s:.0%}" for s in trial["steps"]))
    shadow = trial["shadow"]
    if shadow["compared"] or shadow["failed"] or shadow["dropped"]:
        alike = (
            ""
            if shadow["rbo"] is None
            else f", rank-biased overlap {shadow['rbo']:.2f}, overlap@10 {shadow['overlap@10']:.2f}"
        )
        say(
            f"  shadow: {shadow['compared']} questions{alike}, "
            f"first citation changed on {shadow['first_citation_changed']}"
        )
        say(f"    median {shadow['ms']} ms shown, {shadow['shadow_ms']} ms in the shadow")
        for code, count in shadow["failed"].items():
            say(f"    failed on {count}: {code}")
        if shadow["dropped"]:
            say(f"    left out, as the shadow was behind: {shadow['dropped']}")
    rows = [{"arm": arm, **figures} for arm, figures in trial["arms"].items()]
    if any(row["answers"] for row in rows):
        table(rows, ["arm", "votes", "good", "answers", "abstained", "ms"], "")
