"""Commands of schedules: when retrains start by themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kernel.errors import UserError
from ui.commands.watches import seconds
from ui.door import Door, command, say, table

Cron = Annotated[str | None, typer.Argument(help='Five fields, e.g. "0 3 * * 1"; not needed with --when.')]
Kind = Annotated[str | None, typer.Option("--kind", help="Kind of adapter (default: retriever).")]
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only this workspace's examples.")]
Zone = Annotated[str | None, typer.Option("--timezone", help="IANA name of the zone of the times (default: UTC).")]
When = Annotated[
    list[str] | None, typer.Option("--when", help='"examples>=50", "drift>=0.05" or "gate"; any of several starts it.')
]
Days = Annotated[float | None, typer.Option("--days", help="Length of a window of drift (default: 7).")]
Turns = Annotated[int | None, typer.Option("--turns", help="Least turns in each window of drift (default: 30).")]
Cooldown = Annotated[
    str | None, typer.Option("--cooldown", help="Never more often than this: 90m, 6h, 2d (default with --when: 6h).")
]
Policy = Annotated[str | None, typer.Option("--policy", help="How old examples are chosen (default: mixed).")]
Rho = Annotated[float | None, typer.Option("--rho", help="Replay ratio (default: that of the settings).")]
Method = Annotated[str | None, typer.Option("--method", help="Of a generator: sft (the default), dpo or kto.")]
Id = Annotated[str, typer.Argument(metavar="ID")]
COLUMNS = ["schedule", "cron", "timezone", "when", "kind", "workspace", "paused", "last", "next", "last_result"]


def register(app: typer.Typer) -> None:
    schedule = typer.Typer(help="When retrains start by themselves.", no_args_is_help=True)
    app.add_typer(schedule, name="schedule")

    @command(schedule, "list")
    def list_schedules(door: Door) -> None:
        """List schedules."""
        door.out(door.platform.schedules(), _people)

    @command(schedule)
    def add(
        door: Door,
        cron: Cron = None,
        kind: Kind = None,
        workspace: Workspace = None,
        timezone: Zone = None,
        when: When = None,
        days: Days = None,
        turns: Turns = None,
        cooldown: Cooldown = None,
        policy: Policy = None,
        rho: Rho = None,
        method: Method = None,
    ) -> None:
        """Add a schedule of times, of conditions, or of both; lists all."""
        options = {"when": when or [], "days": days, "turns": turns, "policy": policy, "rho": rho, "method": method}
        options |= {"timezone": timezone or "UTC", "cooldown": None if cooldown is None else seconds(cooldown)}
        door.out(door.platform.add_schedule(cron, kind or "retriever", workspace, **options), _people)

    @command(schedule)
    def edit(
        door: Door,
        schedule_id: Id,
        cron: Annotated[
            str | None, typer.Option("--cron", help="Other times; an empty one leaves the conditions.")
        ] = None,
        kind: Kind = None,
        workspace: Workspace = None,
        timezone: Zone = None,
        when: When = None,
        days: Days = None,
        turns: Turns = None,
        cooldown: Cooldown = None,
        policy: Policy = None,
        rho: Rho = None,
        method: Method = None,
        paused: Annotated[bool | None, typer.Option("--pause/--go-on", help="Pause it, or let it go on.")] = None,
    ) -> None:
        """Change what is named; an empty text clears. Lists all."""
        given: dict[str, Any] = {"kind": kind, "timezone": timezone, "days": days, "turns": turns, "rho": rho}
        given |= {"cron": cron, "workspace": workspace, "policy": policy, "when": when, "paused": paused}
        given |= {"method": method, "cooldown": None if cooldown is None else seconds(cooldown)}
        changes = {name: value if value != "" else None for name, value in given.items() if value is not None}
        if when == [""]:
            changes["when"] = []
        if not changes:
            raise UserError("nothing was named to change", hint="`reprise schedule edit --help` lists what can be")
        door.out(door.platform.edit_schedule(schedule_id, changes), _people)

    @command(schedule)
    def remove(door: Door, schedule_id: Id) -> None:
        """Remove a schedule with its history; lists the rest."""
        door.out(door.platform.remove_schedule(schedule_id), _people)

    @command(schedule)
    def pause(door: Door, schedule_id: Id) -> None:
        """Pause a schedule, or let a paused one go on; lists all."""
        door.out(door.platform.pause_schedule(schedule_id), _people)

    @command(schedule)
    def history(
        door: Door,
        schedule_id: Id,
        limit: Annotated[int, typer.Option("--limit", help="So many of the newest.")] = 50,
    ) -> None:
        """What the firings of a schedule came to, newest first."""
        columns = ["at", "due", "cause", "missed", "result", "message", "run"]
        rows = door.platform.schedule_history(schedule_id, limit)
        door.out(rows, lambda found: table(found, columns, "It has not been due yet."))


def _people(rows: list[dict[str, Any]]) -> None:
    shown = [row | {"when": " or ".join(row["when"])} for row in rows]
    table(shown, COLUMNS, 'No schedules. `reprise schedule add "0 3 * * 1"` adds Mondays at 03:00 UTC.')
    for row in rows:
        if row["when"] and "examples" in row["seen"]:
            say(f"{row['schedule']}: {row['seen']['examples']} new examples at its last look.")
