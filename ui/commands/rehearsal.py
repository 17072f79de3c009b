"""Commands of rehearsal: what a retrain would practise, mixes that wait for approval, the replay ratio."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ui.commands.adapters import Kind, Method, Policy, Rho, Seed, Start, Without, Workspace
from ui.commands.runs import people_run
from ui.door import Door, command, say, table

Proposal = Annotated[str, typer.Argument(help="A proposal, as `reprise rehearsal proposals` lists them.")]
COLUMNS = ["proposal", "kind", "workspace", "policy", "rho", "new", "recalled", "created"]


def register(app: typer.Typer) -> None:
    rehearsal = typer.Typer(help="What a retrain would practise.", no_args_is_help=True)
    app.add_typer(rehearsal, name="rehearsal")

    @command(rehearsal)
    def preview(
        door: Door,
        kind: Kind = "retriever",
        policy: Policy = None,
        rho: Rho = None,
        seed: Seed = 0,
        workspace: Workspace = None,
        measure: Annotated[
            bool, typer.Option("--measure", help="Measure what the new would hurt, in seconds.")
        ] = False,
        method: Method = None,
        start: Start = None,
        without: Without = None,
        save: Annotated[bool, typer.Option("--save", help="Keep this mix for somebody to approve.")] = False,
    ) -> None:
        """The mix of a retrain, every row with its reason, and what it would cost."""
        if save:
            options: dict[str, Any] = {"kind": kind, "policy": policy, "rho": rho, "seed": seed}
            options |= {"workspace": workspace, "method": method, "start": start, "without": without}
            door.out(door.platform.propose(door.progress(), **options), _people_proposal)
        else:
            found = door.platform.preview(kind, policy, rho, seed, workspace, measure, method, start, without)
            door.out(found, _people_preview)

    @command(rehearsal)
    def proposals(door: Door) -> None:
        """List mixes that wait for approval, newest first."""
        door.out(door.platform.proposals(), lambda rows: table(rows, COLUMNS, "No mix waits for approval."))

    @command(rehearsal)
    def approve(
        door: Door,
        proposal: Proposal,
        wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdict.")] = False,
    ) -> None:
        """Train on exactly this mix."""
        if door.remote and not wait:
            door.out(door.platform.enqueue_approved(proposal), _people_approved)
        else:  # without a node nobody else would do it
            door.out(door.platform.approve_mix(proposal, door.progress()), people_run)

    @command(rehearsal)
    def reject(
        door: Door,
        proposal: Proposal,
        reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "",
    ) -> None:
        """Train nothing on this mix."""
        door.out(door.platform.reject_mix(proposal, reason), lambda r: say(f"{r['proposal']} is declined."))

    @command(rehearsal)
    def rho(door: Door, kind: Kind = "retriever", workspace: Workspace = None) -> None:
        """The replay ratio of the next retrain, and why it is what it is."""
        door.out(door.platform.replay(kind, workspace), _people_rho)


def _people_preview(found: dict[str, Any]) -> None:
    cost = found["cost"]
    say(
        f"{found['new']} new and {found['recalled']} recalled examples (rho {found['rho']:.2f}); "
        f"about {cost['seconds_estimate']} s."
    )
    _people_mix(found)


def _people_proposal(found: dict[str, Any]) -> None:
    say(f"{found['proposal']}: {found['new']} new and {found['recalled']} recalled examples wait for approval.")
    say(f"  `reprise rehearsal approve {found['proposal']}` trains on exactly these.")
    _people_mix(found["mix"])


def _people_mix(mix: dict[str, Any]) -> None:
    for reason in mix["replay"].get("reasons", []):
        say(f"  {reason}")
    if mix["short"]:
        say(f"  {mix['short']} fewer recalled than asked for: there are no more that may be")
    for reason, count in mix["excluded"].items():
        say(f"  left out, {reason}: {count}")
    if mix["regrounded"]:
        say(f"  {len(mix['regrounded'])} stand on a newer version of their source since they were rehearsed")
    if mix["evicted"]:
        say(f"  {len(mix['evicted'])} went with a version of their source since the champion was trained")
    if mix["interference"]:
        table(mix["interference"], ["slice", "n", "mean_rise", "rising"], "")
    table(
        mix["rows"],
        ["part", "example", "slice", "reason"],
        "Nothing to train on: import examples or give feedback first.",
    )


def _people_approved(started: dict[str, Any]) -> None:
    gone = f", {len(started['gone'])} went away since it was drawn" if started["gone"] else ""
    say(f"{started['proposal']} is approved ({started['rows']} rows{gone}); {started['job']} trains it.")


def _people_rho(found: dict[str, Any]) -> None:
    for reason in found["reasons"]:
        say(reason)
    columns = ["run", "slice", "before", "after", "reason"]
    table([{**c, "slice": c["slice"] or "(all)"} for c in found["changes"]], columns, "")
