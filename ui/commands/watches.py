"""Commands of what is followed: folders, pages and sitemaps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from kernel.errors import UserError
from ui.door import Door, command, say, table

COLUMNS = ["watch", "kind", "location", "workspace", "every", "paused", "last", "next", "documents", "state"]
COUNTS = ("created", "changed", "moved", "deleted", "unchanged", "failed", "waiting")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
Id = Annotated[str, typer.Argument(metavar="ID", help="A watch's id, as `reprise watch list` shows it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Folders, pages and sitemaps that are followed.", no_args_is_help=True)
    app.add_typer(group, name="watch")

    @command(group, "list")
    def list_watches(door: Door) -> None:
        """List what is watched, and how the last look at it went."""
        door.out(door.platform.watches(), _people_list)

    @command(group)
    def add(
        door: Door,
        location: Annotated[str, typer.Argument(help="A folder, or the URL of a page or a sitemap.")],
        every: Annotated[str, typer.Option(help="How often to look: 90s, 10m, 2h or 1d.")] = "10m",
        workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Workspace of its documents.")] = None,
    ) -> None:
        """Follow a folder, a page or a sitemap from now on. A running node looks; the first time at once."""
        if not location.startswith(("http://", "https://")):
            location = str(Path(location).absolute())  # a node may run in another folder
        door.out(door.platform.add_watch(location, workspace, seconds(every)), lambda row: _people_list([row]))

    @command(group)
    def remove(door: Door, watch_id: Id) -> None:
        """Follow it no longer. Its documents stay."""
        gone = "{watch} is not watched any more: {location}. Its {documents} document(s) stay."
        door.out(door.platform.remove_watch(watch_id), lambda row: say(gone.format(**row)))

    @command(group)
    def pause(door: Door, watch_id: Id) -> None:
        """Pause a watch, or let a paused one go on."""
        door.out(door.platform.pause_watch(watch_id), lambda row: _people_list([row]))

    @command(group)
    def look(door: Door, watch_id: Id) -> None:
        """Look now and follow what has changed. Also tries again what was refused."""
        outcome = door.platform.look(watch_id, door.progress())
        door.out(outcome, _people_outcome)
        if outcome["error"] or outcome["failed"]:
            door.exit_code = 1


def seconds(told: str) -> int:
    """How many seconds `90s`, `10m`, `2h` or `1d` are.

    Raises:
        UserError: it is none of these.
    """
    match = re.fullmatch(r"(\d{1,9})\s*([smhd]?)", told.strip().lower())
    if match is None:
        raise UserError(f"{told!r} is not how often", hint="give 90s, 10m, 2h or 1d", code="bad_interval")
    return int(match[1]) * _UNITS[match[2]]


def _people_list(rows: list[dict[str, Any]]) -> None:
    shown = [row | {"every": _span(row["every_seconds"]), "state": _state(row["outcome"])} for row in rows]
    table(shown, COLUMNS, "Nothing is watched. `reprise watch add FOLDER` follows a folder.")
    for row in rows:
        for failing in row["failing"]:
            say(f"  {failing['item']}: {failing['error']['message']} — {failing['error']['hint']}")


def _people_outcome(outcome: dict[str, Any]) -> None:
    say(_counted(outcome))
    if outcome["error"]:
        say(f"{outcome['error']['message']} — {outcome['error']['hint']}")
    elif outcome["failed"]:
        say("`reprise watch list` says what failed.")


def _state(outcome: dict[str, Any] | None) -> str:
    if outcome is None:
        return "not looked at yet"
    return outcome["error"]["message"] if outcome["error"] else _counted(outcome)


def _counted(outcome: dict[str, Any]) -> str:
    return ", ".join(f"{outcome[what]} {what}" for what in COUNTS if outcome[what]) or "nothing there"


def _span(every: int) -> str:
    unit = next(unit for unit in ("d", "h", "m", "s") if every % _UNITS[unit] == 0)
    return f"{every // _UNITS[unit]}{unit}"
