"""Commands of examples, rehearsal, retrains and adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.door import Door, command, read_lines, say, table, write_lines

Kind = Annotated[str, typer.Option("--kind", help="retriever or generator")]
Policy = Annotated[str | None, typer.Option("--policy", help="How old examples are chosen (default: mixed).")]
Rho = Annotated[float | None, typer.Option("--rho", help="Replay ratio: share of old examples in the mix.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed and epoch give the same mix.")]
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only this workspace's examples.")]
ADAPTER_COLUMNS = ["adapter", "kind", "state", "accepted", "share", "parent", "run", "created"]


def register(app: typer.Typer) -> None:
    _register_examples(app)

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
        start: Annotated[
            str | None, typer.Option(help="champion (default), base, or the name of an adapter to go on from.")
        ] = None,
        without: Annotated[
            list[str] | None,
            typer.Option("--without", metavar="DOC", help="A document that the adapter must never have seen."),
        ] = None,
    ) -> None:
        """Train an adapter on what is new and what must be practised again, and judge it."""
        options = {
            "kind": kind,
            "policy": policy,
            "rho": rho,
            "seed": seed,
            "workspace": workspace,
            "control": control,
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
        door.out(door.platform.gate(run), _people_verdict)

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


def _register_examples(app: typer.Typer) -> None:
    examples = typer.Typer(help="What the platform remembers to practise.", no_args_is_help=True)
    app.add_typer(examples, name="examples")

    @command(examples, "import")
    def import_file(
        door: Door,
        file: Annotated[Path, typer.Argument(help="JSON lines, each with a question and what grounds its answer.")],
        slice_name: Annotated[str | None, typer.Option("--slice", help="Slice for all rows.")] = None,
        workspace: Workspace = None,
    ) -> None:
        """Add examples from a file."""
        content = read_lines(file)
        result = door.platform.import_examples(content, slice_name, workspace)
        door.out(result, _people_import)
        if result["errors"]:
            door.exit_code = 1

    @command(examples, "export")
    def export_file(door: Door, file: Path) -> None:
        """Write approved examples to a file, as `import` takes them."""
        count = write_lines(file, door.platform.export_examples())
        door.out(
            {"file": str(file), "examples": count},
            lambda r: say(f"Wrote {r['examples']} examples to {r['file']}."),
        )

    @command(examples, "list")
    def list_examples(
        door: Door,
        status: Annotated[str | None, typer.Option(help="approved, quarantined or retired")] = None,
    ) -> None:
        """List examples, newest first."""
        columns = ["example", "status", "slice", "split", "origin", "question", "reason"]
        door.out(door.platform.examples(status), lambda rows: table(rows, columns, "No examples yet."))

    @command(examples)
    def retire(door: Door, example: str) -> None:
        """Take an example out of all future mixes."""
        door.out(door.platform.retire_example(example), lambda r: say(f"{r['example']} is retired."))


def people_run(run: dict[str, Any]) -> None:
    say(f"{run['run']}: {run['state']}" + (f", adapter {run['adapter']}" if run["adapter"] else ""))
    if run.get("error"):
        say(f"  {run['error']['message']} — {run['error']['hint']}")
    if run["verdict"]:
        _people_verdict(run["verdict"])


def _people_verdict(verdict: dict[str, Any]) -> None:
    say("accepted" if verdict["accepted"] else "refused")
    for reason in verdict["reasons"]:
        say(f"  {reason}")
    table(
        verdict["slices"],
        ["slice", "part", "n", "metric", "base", "champion", "challenger", "low", "high"],
        "",
    )


def _people_pointer(moved: dict[str, Any]) -> None:
    now, before = moved["champion"] or "the base model", moved["previous"] or "the base model"
    say(f"{now} serves now ({moved['ms']:.1f} ms); before: {before}.")


def _people_import(result: dict[str, Any]) -> None:
    say(f"{result['imported']} imported, {result['skipped']} known already, {result['quarantined']} quarantined.")
    for error in result["errors"]:
        say(f"  line {error['line']}: {error['message']}")
