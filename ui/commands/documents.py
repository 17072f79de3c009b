"""Commands of documents: in, versions, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.commands.narrow import narrowing
from ui.door import Door, command, say, table

if TYPE_CHECKING:
    from kernel.errors import RepriseError

Doc = Annotated[str, typer.Argument(help="A document's id or name.")]
Workspace = Annotated[
    str | None,
    typer.Option("--workspace", "-w", help="Workspace (default: REPRISE_WORKSPACE, or `default`)."),
]


def register(app: typer.Typer) -> None:
    @command(app)
    def ingest(
        door: Door,
        paths: Annotated[list[str], typer.Argument(help="Files, folders, archives or URLs.", metavar="PATH…")],
        workspace: Workspace = None,
        as_name: Annotated[
            str | None, typer.Option("--as", help="The document's name; the same name is its next version.")
        ] = None,
        at: Annotated[
            str | None, typer.Option("--at", help="ISO time from which the version counts (default: now).")
        ] = None,
        together: Annotated[
            bool, typer.Option("--together", help="A release: all files become visible at once, in one epoch.")
        ] = False,
        tag: Annotated[
            list[str] | None, typer.Option("--tag", help="A tag for each document, beside those it has; repeat it.")
        ] = None,
    ) -> None:
        """Publish files as documents, or as new versions of documents."""
        from ingest import sources
        from ingest.incoming import failure
        from ingest.parse.limits import Limits
        from ingest.tags import normalised
        from kernel.ids import parse_time

        tags = normalised(tag or ())
        sources.check(paths, as_name)
        refused: list[tuple[str, RepriseError]] = []
        files = sources.read(
            paths,
            workspace=workspace or door.settings.workspace,
            as_name=as_name,
            at=parse_time(at) if at else None,
            refused=refused,
            limits=Limits.of(door.settings),
            tags=tags,
        )
        result = door.platform.ingest(files, door.progress(), together=together)
        result["documents"] += [failure(path, error) for path, error in refused]
        door.out(result, _people)
        if any(row["status"] in ("refused", "failed") for row in result["documents"]):
            door.exit_code = 1

    @command(app)
    @narrowing
    def documents(door: Door, filters: dict[str, Any] | None, workspace: Workspace = None) -> None:
        """List documents, all or those that fit."""
        columns = ["name", "workspace", "title", "tags", "language", "live_version", "versions", "chunks", "updated"]
        found = door.platform.documents(workspace, filters=filters)
        door.out(
            found if door.as_json else [row | {"tags": ", ".join(row["tags"])} for row in found],
            lambda rows: table(
                rows,
                [*columns, "document"],
                "No document fits." if filters else "No documents yet. `reprise ingest FILE` adds one.",
            ),
        )

    @command(app)
    def tag(
        door: Door,
        doc: Doc,
        add: Annotated[list[str] | None, typer.Option("--add", "-a", help="A tag to give it; repeat it.")] = None,
        remove: Annotated[list[str] | None, typer.Option("--remove", "-r", help="A tag to take away.")] = None,
    ) -> None:
        """A document's tags: change them, or only show them."""
        told = door.platform.tag(doc, add or (), remove or ())
        door.out(told, lambda told: say(", ".join(told["tags"]) or "No tags."))

    @command(app)
    def history(door: Door, doc: Doc) -> None:
        """A document's versions, newest first."""
        columns = ["version", "state", "pending", "at", "cause", "epoch", "chunks_new", "chunks_kept", "chunks_retired"]
        door.out(door.platform.history(doc), lambda rows: table(rows, columns, "No versions."))

    @command(app)
    def diff(door: Door, doc: Doc, a: int, b: int) -> None:
        """What changed between versions A and B, by passage."""
        door.out(door.platform.diff(doc, a, b), _people_diff)

    @command(app)
    def text(
        door: Door,
        doc: Doc,
        version: Annotated[int | None, typer.Option(help="A version (default: the one that counts now).")] = None,
    ) -> None:
        """The text that offsets and citations refer to."""
        door.out(door.platform.text(doc, version), lambda found: say(found["text"]))

    @command(app)
    def section(
        door: Door,
        doc: Doc,
        start: Annotated[int, typer.Argument(help="A character of the text: the `start` of a hit or a citation.")],
        version: Annotated[int | None, typer.Option(help="A version (default: the one that counts now).")] = None,
    ) -> None:
        """The whole section around a hit or a citation."""
        door.out(door.platform.section(doc, start, version), lambda found: say(found["text"]))

    @command(app)
    def restore(door: Door, doc: Doc, version: int) -> None:
        """Publish an older version again, as a new version."""
        row = door.platform.restore(doc, version)
        door.out(row, lambda row: _people({"documents": [row]}))
        if row["status"] in ("refused", "failed"):
            door.exit_code = 1

    @command(app)
    def delete(door: Door, doc: Doc) -> None:
        """Delete a document and every trace of it; prints the receipt."""
        door.out(door.platform.delete(doc), _people_receipt)

    @command(app)
    def changes(
        door: Door,
        since: Annotated[int, typer.Option(help="Only what came after this epoch.")] = 0,
        after: Annotated[int | None, typer.Option(help="Only what came after the row with this `seq`.")] = None,
        limit: Annotated[int | None, typer.Option(help="About so many rows (default: all).")] = None,
        follow: Annotated[bool, typer.Option("--follow", help="Go on with what happens, until interrupted.")] = False,
    ) -> None:
        """What happened to documents, oldest first."""
        columns = ["seq", "epoch", "at", "what", "cause", "name", "version", "document"]
        if follow:
            _follow(door, since, after)
            return
        rows = door.platform.changes(since, after=after, limit=limit)
        door.out(rows, lambda rows: table(rows, columns, "No changes."))


def _follow(door: Door, since: int, after: int | None, every: float = 1.0) -> None:
    """One line for each thing, JSON under `--json`, until somebody interrupts it."""
    import json
    import time

    while True:
        for row in door.platform.changes(since, after=after):
            after = row["seq"]
            version = f"  version {row['version']}" if row["version"] else ""
            say(
                json.dumps(row, ensure_ascii=False)
                if door.as_json
                else f"{row['at']}  {row['what']}  {row['name']}{version}"
            )
        time.sleep(every)


def _people(result: dict[str, Any]) -> None:
    for row in result["documents"]:
        line = f"{row['status']:<9}  {row['path']}"
        if row["status"] == "published":
            counts = ", ".join(f"{row[f'chunks_{what}']} {what}" for what in ("new", "kept", "retired"))
            line += f"  version {row['version']}: {counts}"
        if row["error"]:
            line += f"  {row['error']['message']} — {row['error']['hint']}"
        say(line)
    if not result["documents"]:
        say("Nothing to ingest: no file was found there.")


def _people_diff(found: dict[str, Any]) -> None:
    for pair in found["changed"]:
        old, new = pair["headings"]
        say(f"~ {old} → {new}" if old != new else f"~ {new}".rstrip())
        _say_words(pair["words"])
        say("")
    for name, sign in (("removed", "-"), ("added", "+")):
        for passage in found[name]:
            say(f"{sign} {passage}\n")
    if not any(found.values()):
        say("The passages are the same.")


def _say_words(words: list[list[str]]) -> None:
    """A passage with what went and what came in it: in colours on a terminal, else as [-went-]{+came+}."""
    import sys

    if not sys.stdout.isatty():
        marks = {"=": "{}", "-": "[-{}-]", "+": "{{+{}+}}"}
        say("".join(marks[op].format(text) for op, text in words))
        return
    from rich.console import Console
    from rich.text import Text

    styles = {"=": "", "-": "red strike", "+": "green"}
    Console(highlight=False, markup=False).print(Text.assemble(*((text, styles[op]) for op, text in words)))


_RECEIPT = (
    "points",
    "blobs",
    "examples",
    "cache_entries",
    "turns_redacted",
    "training_rows_redacted",
    "sketches",
    "watch_items",
    "tags",
)


def _people_receipt(receipt: dict[str, Any]) -> None:
    say(f"Deleted {receipt['document']}. Left of it in the index and the database: {receipt['remaining']}.")
    for name in _RECEIPT:
        say(f"  {name.replace('_', ' ')}: {receipt.get(name, 0)}")
    trained = receipt["adapters_trained_on_it"]
    say(f"  adapters trained on it: {', '.join(trained) if trained else 'none'}")
    say(f"  out of reach: {'; '.join(receipt['unreachable'])}")
