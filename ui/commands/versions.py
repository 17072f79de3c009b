"""Commands of old versions and copies: retention, and duplicates."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ui.door import Door, command, say, table

Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Only this workspace.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="How long old versions are kept.")
    app.add_typer(group, name="retention")

    @command(group)
    def show(
        door: Door,
        workspace: Annotated[str | None, typer.Argument(help="A workspace (default: all that have a rule).")] = None,
    ) -> None:
        """The rules; a workspace without one keeps all versions."""
        empty = "No rules: every workspace keeps all versions."
        door.out(door.platform.retention(workspace), lambda rules: table(rules, ["workspace", "policy"], empty))

    @command(group, "set")
    def set_(
        door: Door,
        workspace: str,
        versions: Annotated[int | None, typer.Option(help="Keep the newest so many versions of each document.")] = None,
        days: Annotated[int | None, typer.Option(help="Keep a version so many days after it was superseded.")] = None,
        everything: Annotated[bool, typer.Option("--all", help="Keep all versions, as without a rule.")] = False,
    ) -> None:
        """Say how long a workspace keeps old versions. The live version always stays."""
        from kernel.errors import UserError

        if (versions is not None) + (days is not None) + everything != 1:
            raise UserError(
                "one rule is needed",
                hint="give one of --versions N, --days D and --all",
                code="usage",
            )
        rule = door.platform.set_retention(workspace, versions=versions, days=days)
        door.out(rule, lambda r: say(f"{r['workspace']}: {r['policy']}"))

    @command(group)
    def apply(
        door: Door,
        workspace: Workspace = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would expire; touch nothing.")] = False,
    ) -> None:
        """Let go of what the rules no longer keep. A node does so by itself every hour."""
        door.out(door.platform.apply_retention(workspace, dry_run=dry_run), _people)

    @command(app)
    def duplicates(
        door: Door,
        workspace: Workspace = None,
        threshold: Annotated[float, typer.Option(help="Least similarity, .3 to 1.")] = 0.8,
    ) -> None:
        """Documents of a workspace that are copies of each other, or nearly."""
        door.out(door.platform.duplicates(workspace, threshold), _people_duplicates)


def _people(report: dict[str, Any]) -> None:
    for row in report["expired"]:
        say(f"{row['name']}  versions {', '.join(map(str, row['versions']))}")
    if not report["expired"]:
        say("Nothing is to expire." if report["dry_run"] else "Nothing expired.")
    elif report["dry_run"]:
        say("These would expire; nothing was touched.")
    else:
        counts = ", ".join(f"{report[name]} {name.replace('_', ' ')}" for name in ("points", "blobs", "examples"))
        say(f"Expired, with {counts}.")


def _people_duplicates(groups: list[dict[str, Any]]) -> None:
    for group in groups:
        say(f"{group['kind']} ({group['similarity']:.2f})")
        for one in group["documents"]:
            say(f"  {one['name']}  version {one['version']}  {one['document']}")
    if not groups:
        say("No two documents are alike.")
