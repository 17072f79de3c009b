"""Commands of lineage: cards of adapters, who saw a document, and runs that leave the platform whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.door import Door, command, say, table

Base = Annotated[Path | None, typer.Option("--base", help="Folder of the base model, where the export has none.")]


def register(app: typer.Typer) -> None:
    @command(app)
    def card(door: Door, adapter: str) -> None:
        """What an adapter was made of and how, why the gate said what it said, and what it cost."""
        door.out(door.platform.card(adapter), lambda found: say(found["markdown"].rstrip()))

    @command(app)
    def lineage(door: Door, doc: str) -> None:
        """Which adapters saw a document, directly or through their parents, and in which versions."""
        door.out(door.platform.lineage(doc), _people_lineage)

    @command(app, "export-run")
    def export_run(
        door: Door,
        run: str,
        folder: Annotated[Path, typer.Argument(help="A new or empty folder, on the platform's machine.")],
        with_base: Annotated[bool, typer.Option("--with-base", help="Copy the base model as well.")] = False,
    ) -> None:
        """Write a run to a folder that reproduces its metrics by itself."""
        door.out(door.platform.export_run(run, str(folder.absolute()), with_base), _people_export)

    @command(app)
    def reproduce(
        door: Door,
        folder: Annotated[Path, typer.Argument(help="A folder that `export-run` wrote.")],
        base: Base = None,
    ) -> None:
        """Train an exported run again, from its folder alone, and compare. Exit code 1 if it came out differently."""
        from finetune.reproduce import reproduce as again

        found = again(folder, base, door.progress())
        door.out(found, _people_reproduced)
        door.exit_code = 0 if found["reproduced"] else 1


def _people_lineage(found: dict[str, Any]) -> None:
    columns = ["adapter", "kind", "state", "how", "through", "versions", "examples", "contrasts"]
    named = found["name"] or found["document"]
    rows = [
        row | {"through": ", ".join(row["through"]), "versions": ", ".join(map(str, row["versions"]))}
        for row in found["adapters"]
    ]
    table(rows, columns, f"No adapter has seen {named}.")
    if found["clean"]:
        say(f"An adapter that has not: `{found['clean']}`.")


def _people_export(done: dict[str, Any]) -> None:
    say(f"{done['folder']}: {done['rows']} rows, {done['held_out']} held-out questions, {done['bytes']:,} bytes.")
    for what, count in done["missing"].items():
        say(f"  no longer there, {what}: {count}")


def _people_reproduced(found: dict[str, Any]) -> None:
    rows = [{"model": model, **figures} for model, figures in found["metrics"].items()]
    table(rows, ["model", "expected", "found", "difference"], "")
    same = "the same weights to the last bit" if found["identical"] else "weights that differ in rounding"
    say(f"Reproduced, with {same}." if found["reproduced"] else f"NOT reproduced: {found['reason']}.")
