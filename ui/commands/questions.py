"""Commands of questions: search, ask, chat, feedback, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.commands.narrow import (
    AnyTag,
    InDocuments,
    Language,
    MediaType,
    ScopeMode,
    Since,
    Source,
    Tag,
    Until,
    filters,
    one,
)
from ui.door import Door, command, read_lines, say, table

AsOf = Annotated[str | None, typer.Option("--as-of", help="ISO time: answer from what counted in the world then.")]
Epoch = Annotated[int | None, typer.Option("--epoch", help="Answer from what the platform knew at this epoch.")]
InDocument = Annotated[str | None, typer.Option("--document", "-d", help="Look in one document only: its id or name.")]
InWorkspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Look in this workspace.")]
ABSTAINED = 3


def register(app: typer.Typer) -> None:
    @command(app)
    def search(
        door: Door,
        query: str,
        k: Annotated[int, typer.Option("--k", help="Passages to return.")] = 10,
        as_of: AsOf = None,
        epoch: Epoch = None,
        document: InDocuments = None,
        workspace: InWorkspace = None,
        tag: Tag = None,
        any_tag: AnyTag = None,
        language: Language = None,
        source: Source = None,
        media_type: MediaType = None,
        since: Since = None,
        until: Until = None,
        scope: ScopeMode = None,
    ) -> None:
        """The best passages for a query."""
        alone, several = one(document)
        narrowed = filters(
            documents=several,
            tag=tag,
            any_tag=any_tag,
            language=language,
            source=source,
            media_type=media_type,
            since=since,
            until=until,
        )
        found = door.platform.search(
            query,
            k,
            as_of=as_of,
            epoch=epoch,
            document=alone,
            workspace=workspace,
            filters=narrowed,
            scope=scope,
        )
        door.out(found, _people_hits)

    @command(app)
    def ask(
        door: Door,
        question: str,
        k: Annotated[int | None, typer.Option("--k", help="Passages to answer from.")] = None,
        as_of: AsOf = None,
        epoch: Epoch = None,
        document: InDocuments = None,
        workspace: InWorkspace = None,
        generator: Annotated[str | None, typer.Option(help="Which generator answers.")] = None,
        tag: Tag = None,
        any_tag: AnyTag = None,
        language: Language = None,
        source: Source = None,
        media_type: MediaType = None,
        since: Since = None,
        until: Until = None,
        scope: ScopeMode = None,
    ) -> None:
        """Answer with citations. Exit code 3 when nothing supports an answer."""
        alone, several = one(document)
        narrowed = filters(
            documents=several,
            tag=tag,
            any_tag=any_tag,
            language=language,
            source=source,
            media_type=media_type,
            since=since,
            until=until,
        )
        shown = door.platform.ask(
            question,
            k,
            as_of=as_of,
            epoch=epoch,
            document=alone,
            workspace=workspace,
            generator=generator,
            filters=narrowed,
            scope=scope,
        )
        door.out(shown, _people_answer)
        if shown["abstained"]:
            door.exit_code = ABSTAINED

    @command(app)
    def chat(door: Door, document: InDocument = None, workspace: InWorkspace = None) -> None:
        """Ask one question after another; an empty line or Ctrl-D ends."""
        while True:
            try:
                question = input("> ").strip()
            except EOFError:
                break
            if not question:
                break
            shown = door.platform.ask(question, document=document, workspace=workspace)
            door.out(shown, _people_answer)

    @command(app)
    def feedback(
        door: Door,
        turn: Annotated[str, typer.Argument(help="The turn that `ask` printed.")],
        vote: Annotated[str, typer.Argument(help="up or down")],
        correction: Annotated[str | None, typer.Option(help="What the answer should have said.")] = None,
    ) -> None:
        """Say whether an answer was good, or what it should have said."""
        kept = door.platform.feedback(turn, vote, correction)
        door.out(
            kept,
            lambda k: say(f"Kept as {k['feedback']}" + (f", example {k['example']}." if k["example"] else ".")),
        )

    @command(app, "eval")
    def evaluate(
        door: Door,
        suite: Annotated[Path, typer.Argument(help="JSON lines with question and relevant, answer or unanswerable.")],
        k: Annotated[int, typer.Option("--k", help="Rank to measure at.")] = 10,
        workspace: InWorkspace = None,
    ) -> None:
        """Measure retrieval, answers, citations and refusals on a suite of questions."""
        content = read_lines(suite)
        door.out(door.platform.evaluate(content, k, workspace), _people_measures)


def _people_hits(found: dict[str, Any]) -> None:
    for hit in found["hits"]:
        page = f", page {hit['page']}" if hit["page"] else ""
        where = f"{hit['name']} version {hit['version']}{page}, {hit['start']}-{hit['end']}"
        say(f"{hit['rank']}. {where}  ({hit['score']:.3f})")
        if hit["heading"]:
            say(f"   {hit['heading']}")
        say("   " + " ".join(hit["text"].split())[:300] + "\n")
    _say_scope(found.get("scope"))
    if not found["hits"]:
        say(f"Nothing in workspace {found['workspace']!r}. `reprise ingest FILE` adds documents.")


def _people_answer(shown: dict[str, Any]) -> None:
    say(shown["answer"] + "\n")
    for c in shown["citations"]:
        page = f", page {c['page']}" if c["page"] else ""
        say(f"[{c['n']}] {c['name']} version {c['version']}{page}, characters {c['start']}-{c['end']}")
    _say_scope(shown.get("scope"))
    say(f"\n{shown['turn']}  support {shown['support']:.2f}  epoch {shown['epoch']}  {shown['ms']['total']:.0f} ms")


def _say_scope(scope: dict[str, Any] | None) -> None:
    """Where was looked because of the question's own words, and how to look elsewhere."""
    if scope is None:  # a node of an older release
        return
    inferred, suggested = scope["inferred"], scope["suggested"]
    if inferred:
        where = f"{', '.join(inferred['names'])}, because of “{inferred['phrase']}”"
        if scope["widened"]:
            say(f"Nothing was found in {where}: this is from all documents.")
        else:
            say(f"Looked in {where}; `--scope off` looks in all documents.")
    elif suggested:
        say(f"If you meant {' or '.join(suggested['names'])}: `--document NAME` looks only there.")


def _people_measures(measured: dict[str, Any]) -> None:
    rows = [{"measure": name, "value": value} for name, value in measured.items() if name != "slices"]
    table(rows, ["measure", "value"], "Nothing measured.")
