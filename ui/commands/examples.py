"""Commands of examples: what the platform remembers to practise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.door import Door, command, say, table
from ui.lines import read_lines, write_lines

Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only this workspace's examples.")]
Ids = Annotated[list[str], typer.Argument(metavar="EXAMPLE…", help="One or more ids; all of them or none.")]
Reason = Annotated[str, typer.Option(help="Why; kept in its history.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end. Without a node there is nobody else to do it.")]
LISTED = ["example", "status", "counted_in", "split", "origin", "question", "reason"]
HISTORY = ["at", "what", "actor", "example", "question", "detail"]
SLICES = ["workspace", "slice", "named", "train", "held_out", "quarantined", "origins"]


def register(app: typer.Typer) -> None:
    examples = typer.Typer(help="What the platform remembers to practise.", no_args_is_help=True)
    app.add_typer(examples, name="examples")
    _register_files(examples)
    _register_decisions(examples)
    _register_making(examples)

    @command(examples, "list")
    def list_examples(
        door: Door,
        status: Annotated[str | None, typer.Option(help="approved, quarantined or retired")] = None,
        slice_name: Annotated[str | None, typer.Option("--slice", help="A named slice, or a topic.")] = None,
        origin: Annotated[str | None, typer.Option(help="correction, thumbs, import, document or replayed")] = None,
        split: Annotated[str | None, typer.Option(help="train or held-out")] = None,
        cluster: Annotated[str | None, typer.Option(help="A topic.")] = None,
        text: Annotated[str | None, typer.Option(help="Words of the question or the answer.")] = None,
        workspace: Workspace = None,
    ) -> None:
        """List examples, newest first."""
        found = door.platform.examples(
            status, workspace, slice_name=slice_name, origin=origin, split=split, cluster=cluster, text=text
        )
        door.out(found, lambda rows: table(rows, LISTED, "No such examples."))

    @command(examples)
    def history(door: Door, example: str) -> None:
        """Show what happened to an example, before it was edited too."""
        door.out(door.platform.example_history(example), lambda rows: table(rows, HISTORY, "Nothing."))

    @command(examples)
    def slices(door: Door, workspace: Workspace = None) -> None:
        """Show what examples are counted in: named slices and topics, and where they come from."""
        door.out(door.platform.example_slices(workspace), lambda rows: table(rows, SLICES, "No examples yet."))


def _register_files(examples: typer.Typer) -> None:
    @command(examples, "import")
    def import_file(
        door: Door,
        file: Annotated[Path, typer.Argument(help="JSON lines or CSV: a question each, and what grounds its answer.")],
        slice_name: Annotated[str | None, typer.Option("--slice", help="Slice for all rows.")] = None,
        workspace: Workspace = None,
    ) -> None:
        """Add examples from a file."""
        result = door.platform.import_examples(read_lines(file), slice_name, workspace)
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


def _register_decisions(examples: typer.Typer) -> None:
    @command(examples)
    def approve(door: Door, ids: Ids) -> None:
        """Let quarantined examples be practised."""
        _out(door, door.platform.approve_examples(ids))

    @command(examples)
    def quarantine(door: Door, ids: Ids, reason: Reason = "") -> None:
        """Hold examples back from all mixes until they are approved."""
        _out(door, door.platform.quarantine_examples(ids, reason))

    @command(examples)
    def retire(door: Door, ids: Ids, reason: Reason = "") -> None:
        """Take examples out of all future mixes."""
        _out(door, door.platform.retire_examples(ids, reason))

    @command(examples)
    def edit(
        door: Door,
        example: str,
        question: Annotated[str | None, typer.Option(help="Another question.")] = None,
        answer: Annotated[str | None, typer.Option(help="Another answer; empty takes it away.")] = None,
        preferred: Annotated[str | None, typer.Option(help="The better of two answers.")] = None,
        rejected: Annotated[str | None, typer.Option(help="The worse of two answers.")] = None,
        document: Annotated[str | None, typer.Option(help="The document that has the quote.")] = None,
        quote: Annotated[str | None, typer.Option(help="Exact words of its live version.")] = None,
        standalone: Annotated[bool, typer.Option("--standalone", help="It needs no passage.")] = False,
        slice_name: Annotated[str | None, typer.Option("--slice", help="Another slice.")] = None,
        licence: Annotated[str | None, typer.Option(help="Another licence.")] = None,
        pinned: Annotated[
            bool | None, typer.Option("--pin/--unpin", help="Never to be forgotten, or like others.")
        ] = None,
    ) -> None:
        """Change an example. Other words make another example of it, which takes its place."""
        given: dict[str, Any] = {
            "question": question,
            "answer": answer,
            "preferred": preferred,
            "rejected": rejected,
            "document": document,
            "quote": quote,
            "standalone": standalone or None,
            "slice": slice_name,
            "licence": licence,
            "pinned": pinned,
        }
        changes = {name: value if value != "" else None for name, value in given.items() if value is not None}
        door.out(door.platform.edit_example(example, changes), _people_edit)


def _register_making(examples: typer.Typer) -> None:
    @command(examples)
    def generate(
        door: Door,
        documents: Annotated[
            list[str] | None, typer.Argument(metavar="DOC…", help="Documents; none for all of the workspace.")
        ] = None,
        workspace: Workspace = None,
        limit: Annotated[int | None, typer.Option(help="Examples to keep at most (default: 200).")] = None,
        hold: Annotated[bool, typer.Option("--hold", help="Let them wait in quarantine for a person.")] = False,
        wait: Wait = False,
    ) -> None:
        """Make examples from documents: questions from which a search finds its way back."""
        asked = (documents or [], workspace, limit, hold)
        if door.remote and not wait:
            door.out(door.platform.enqueue_generate(*asked), _people_job)
        else:
            door.out(door.platform.generate_examples(*asked, door.progress()), _people_made)

    @command(examples)
    def cluster(door: Door, workspace: Workspace = None, wait: Wait = False) -> None:
        """Sort examples into topics; those in no named slice are counted in their topic."""
        if door.remote and not wait:
            door.out(door.platform.enqueue_cluster(workspace), _people_job)
        else:
            door.out(door.platform.cluster_examples(workspace, door.progress()), _people_sorted)


def _out(door: Door, rows: list[dict[str, Any]]) -> None:
    """A row for one example, a list of rows for several."""

    def people(_value: Any) -> None:
        for row in rows:
            say(f"{row['example']} is {row['status']}." + (f" ({row['reason']})" if row["reason"] else ""))

    door.out(rows[0] if len(rows) == 1 else rows, people)


def _people_import(result: dict[str, Any]) -> None:
    say(f"{result['imported']} imported, {result['skipped']} known already, {result['quarantined']} quarantined.")
    for name in ("duplicates", "replaced"):
        told = [one for one in result[name] if one["why"] != "the same question"]
        for one in told:
            say(f"  line {one['line']}: {'as' if name == 'duplicates' else 'instead of'} {one['of']} ({one['why']})")
    if result["ignored"]:
        say(f"  columns that no field has the name of: {', '.join(result['ignored'])}")
    for error in result["errors"]:
        say(f"  line {error['line']}: {error['message']}")


def _people_edit(result: dict[str, Any]) -> None:
    instead = f", instead of {result['replaces']}" if result["replaces"] else ""
    say(f"{result['example']} is {result['status']}{instead}." + (f" ({result['reason']})" if result["reason"] else ""))


def _people_made(result: dict[str, Any]) -> None:
    say(f"{result['kept']} of {result['proposed']} questions kept, from {result['documents']} documents.")
    for reason, count in result["dropped"].items():
        say(f"  dropped, {reason}: {count}")


def _people_sorted(result: dict[str, Any]) -> None:
    say(f"{result['examples']} examples, of which {result['moved']} changed their topic.")
    table(result["clusters"], SLICES, "No examples yet.")


def _people_job(job: dict[str, Any]) -> None:
    say(f"{job['job']} is {job['state']}; `reprise jobs` shows how far it is.")
