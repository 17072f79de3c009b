"""Commands of retrains and adapters."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ui.commands.runs import people_run, people_verdict
from ui.door import Door, command, say, table
from ui.pairs import pairs

Kind = Annotated[str, typer.Option("--kind", help="retriever or generator")]
Policy = Annotated[str | None, typer.Option("--policy", help="How old examples are chosen (default: mixed).")]
Rho = Annotated[float | None, typer.Option("--rho", help="Replay ratio: share of old examples in the mix.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed and epoch give the same mix.")]
Method = Annotated[str | None, typer.Option("--method", help="Of a generator: sft, dpo or kto (default: sft).")]
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only this workspace's examples.")]
Start = Annotated[
    str | None, typer.Option("--start", help="champion (default), base, or the name of an adapter to go on from.")
]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="DOC", help="A document that the adapter must never have seen."),
]
ADAPTER_COLUMNS = ["adapter", "kind", "state", "accepted", "share", "parent", "run", "created"]


def register(app: typer.Typer) -> None:

    @command(app)
    def retrain(
        door: Door,
        kind: Kind = "retriever",
        policy: Policy = None,
        rho: Rho = None,
        seed: Seed = 0,
        workspace: Workspace = None,
        wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdict.")] = False,
        control: Annotated[str | None, typer.Option(help="`shuffled` labels: a run that the gate must refuse.")] = None,
        method: Method = None,
        settings: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="NAME=VALUE", help="A setting of the recipe; may be given several times."),
        ] = None,
        start: Start = None,
        without: Without = None,
    ) -> None:
        """Train an adapter on what is new and what must be practised again, and judge it."""
        options = {
            "kind": kind,
            "policy": policy,
            "rho": rho,
            "seed": seed,
            "workspace": workspace,
            "control": control,
            "method": method,
            "recipe": pairs(settings or (), "--set epochs=2"),
            "start": start,
            "without": without,
        }
        if door.remote and not wait:
            started = door.platform.enqueue_retrain(**options)
            door.out(door.platform.run(started["run"]) | {"job": started["job"]}, people_run)
        else:  # without a node nobody else would do it
            door.out(door.platform.retrain(door.progress(), **options), people_run)

    @command(app)
    def gate(door: Door, run: str) -> None:
        """The verdict on a run, from its stored report."""
        door.out(door.platform.gate(run), people_verdict)

    @command(app)
    def adapters(door: Door) -> None:
        """List adapters, newest first."""
        door.out(
            door.platform.adapters(),
            lambda rows: table(rows, ADAPTER_COLUMNS, "No adapters: the base model serves."),
        )

    @command(app)
    def promote(
        door: Door,
        adapter: str,
        override: Annotated[
            str | None, typer.Option(help="Why to promote what the gate refused; kept in the audit log.")
        ] = None,
    ) -> None:
        """Let an adapter serve. One that its gate refused needs --override REASON."""
        door.out(door.platform.promote(adapter, override), _people_pointer)

    @command(app)
    def rollback(door: Door, kind: Kind = "retriever") -> None:
        """Serve what served before."""
        door.out(door.platform.rollback(kind), _people_pointer)


def _people_pointer(moved: dict[str, Any]) -> None:
    now, before = moved["champion"] or "the base model", moved["previous"] or "the base model"
    say(f"{now} serves now ({moved['ms']:.1f} ms); before: {before}.")
