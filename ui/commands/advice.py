"""Command of advice: where what is new belongs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ui.door import Door, command, say


def register(app: typer.Typer) -> None:
    @command(app)
    def advise(
        door: Door,
        document: Annotated[str | None, typer.Option("--document", metavar="DOC", help="Of one document.")] = None,
        slice_name: Annotated[str | None, typer.Option("--slice", help="Of one slice of examples.")] = None,
        workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Of this workspace.")] = None,
    ) -> None:
        """Say whether what is new belongs in the index, in an adapter or in neither, and why."""
        door.out(door.platform.advise(document, slice_name, workspace), _people)


def _people(rows: list[dict[str, Any]]) -> None:
    if not rows:
        say("There are no documents and no examples to advise on.")
    for row in rows:
        say(f"{row['subject']} {row['name']}: {row['verdict']}{'' if row['ready'] else ' (not yet)'}")
        say(f"  {row['reason']}.")
