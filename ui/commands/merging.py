"""The command that merges adapters."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kernel.errors import UserError
from ui.commands.adapters import Seed, Workspace
from ui.commands.runs import people_run
from ui.door import Door, command


def register(app: typer.Typer) -> None:
    @command(app)
    def merge(
        door: Door,
        adapters: Annotated[list[str], typer.Argument(help="Two or more adapters of one kind and one base model.")],
        method: Annotated[str, typer.Option(help="cat (weighted sum), ties or dare")] = "cat",
        weights: Annotated[str | None, typer.Option(help="One for each, e.g. 0.7,0.3 (default: the same).")] = None,
        rank: Annotated[int | None, typer.Option(help="Of the merged adapter (default: the largest).")] = None,
        density: Annotated[float | None, typer.Option(help="Share of entries that ties and dare keep.")] = None,
        seed: Seed = 0,
        workspace: Workspace = None,
        wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdict.")] = False,
    ) -> None:
        """Make one adapter of several, without training, and judge it as a retrain is judged."""
        how: dict[str, Any] = {
            "method": method,
            "weights": _numbers(weights),
            "rank": rank,
            "density": density,
            "seed": seed,
            "workspace": workspace,
        }
        if door.remote and not wait:
            started = door.platform.enqueue_merge(adapters, **how)
            door.out(door.platform.run(started["run"]) | {"job": started["job"]}, people_run)
        else:
            door.out(door.platform.merge(adapters, door.progress(), **how), people_run)


def _numbers(text: str | None) -> list[float] | None:
    try:
        return [float(part) for part in text.split(",")] if text else None
    except ValueError as error:
        raise UserError(f"weights are {text!r}", hint="give numbers with commas between them, e.g. 0.7,0.3") from error
