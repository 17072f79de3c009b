"""The command that tunes how a workspace's searches are fused."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ui.door import Door, command, say

Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end. Without a node there is nobody else to do it.")]


def register(app: typer.Typer) -> None:
    @command(app)
    def tune(
        door: Door,
        workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Of this workspace.")] = None,
        show: Annotated[bool, typer.Option("--show", help="Only show what serves, and why.")] = False,
        wait: Wait = False,
    ) -> None:
        """Choose how meaning and words are weighed in a workspace, by its own examples."""
        if show:
            door.out(door.platform.tuning(workspace), _people_tuning)
        elif door.remote and not wait:
            door.out(door.platform.enqueue_tune(workspace), _people_job)
        else:
            door.out(door.platform.tune(workspace, door.progress()), _people_tuning)


def _people_job(job: dict[str, Any]) -> None:
    say(f"{job['job']} is {job['state']}; `reprise jobs` shows how far it is.")


def _people_tuning(shown: dict[str, Any]) -> None:
    reranked = ", reranked" if shown["rerank"] else ""
    say(f"{shown['workspace']}: {shown['weight']:.0%} words, {1 - shown['weight']:.0%} meaning{reranked}")
    if "adopted" in shown:
        say(("Adopted: " if shown["adopted"] else "Nothing changed: ") + shown["reason"])
    measured = shown["measured"]
    if measured is None:
        say("The default; nothing was measured here yet.")
        return
    say(f"Measured {measured['at']} on {measured['examples']} examples, nDCG@10 by weight of words:")
    say("  ".join(f"{weight} {value:.3f}" for weight, value in measured["ndcg"].items()))
