"""Commands of runs: which retrains there were, and one of them with its mix. What a run came to, for people."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from finetune.cost import told
from ui.door import Door, command, say, table

Kind = Annotated[str | None, typer.Option("--kind", help="Only runs of this kind: retriever or generator.")]
COLUMNS = ["run", "kind", "state", "adapter", "policy", "rho", "workspace", "created", "seconds"]


def register(app: typer.Typer) -> None:
    @command(app)
    def runs(door: Door, kind: Kind = None) -> None:
        """List runs of retrains and merges, newest first."""
        door.out(door.platform.runs(kind), _people_runs)

    @command(app)
    def run(
        door: Door,
        run: Annotated[str, typer.Argument(help="A run, as `reprise runs` lists them.")],
        mix: Annotated[bool, typer.Option("--mix", help="Its mix instead: every row with its reason.")] = False,
    ) -> None:
        """Show one run: what was asked, what came of it, and what it cost."""
        if mix:
            door.out(door.platform.mix(run), _people_mix)
        else:
            door.out(door.platform.run(run), people_run)


def people_run(run: dict[str, Any]) -> None:
    say(f"{run['run']}: {run['state']}" + (f", adapter {run['adapter']}" if run["adapter"] else ""))
    if run.get("error"):
        say(f"  {run['error']['message']} — {run['error']['hint']}")
    if run.get("beside"):
        say(f"  {run['beside']}")
    if run["verdict"]:
        people_verdict(run["verdict"])
    spent = told(run["metrics"].get("cost") or {})
    if spent:
        say("cost: " + ", ".join(f"{name[:1].lower()}{name[1:]} {words}" for name, words in spent))


def people_verdict(verdict: dict[str, Any]) -> None:
    say("accepted" if verdict["accepted"] else "refused")
    for reason in verdict["reasons"]:
        say(f"  {reason}")
    table(
        verdict["slices"],
        ["slice", "part", "n", "metric", "base", "champion", "challenger", "low", "high"],
        "",
    )


def _people_runs(rows: list[dict[str, Any]]) -> None:
    shown = [row | {name: row["options"].get(name) for name in ("policy", "rho")} for row in rows]
    table(shown, COLUMNS, "Nothing was trained yet: the base model serves.")


def _people_mix(mix: dict[str, Any]) -> None:
    say(f"Drawn at epoch {mix['epoch']}: policy {mix['policy']}, rho {mix['rho']}, seed {mix['seed']}.")
    for reason, count in mix["excluded"].items():
        say(f"  left out, {reason}: {count}")
    done_without = ["left_out"] if any(row.get("left_out") for row in mix["rows"]) else []
    table(mix["rows"], ["part", *done_without, "example", "slice", "reason", "question"], "It has no rows.")
