"""The command that has a run judged again."""

from __future__ import annotations

from typing import Annotated

import typer

from ui.commands.runs import people_run
from ui.door import Door, command


def register(app: typer.Typer) -> None:
    @command(app)
    def rejudge(
        door: Door,
        run: str,
        wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdict.")] = False,
    ) -> None:
        """Judge a run again, against the champion that serves today and on the questions held out today."""
        if door.remote and not wait:
            started = door.platform.enqueue_rejudge(run)
            door.out(door.platform.run(run) | {"job": started["job"]}, people_run)
        else:
            door.out(door.platform.rejudge(run, door.progress()), people_run)
