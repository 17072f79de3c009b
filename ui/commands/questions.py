"""Commands of questions: search, ask, chat, feedback, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
        document: InDocument = None,
        workspace: InWorkspace = None,
    ) -> None:
        """The best passages for a query."""
        found = door.platform.search(query, k, as_of=as_of, epoch=epoch, document=document, workspace=workspace)
        door.out(found, _people_hits)

    @command(app)
    def ask(
        door: Door,
        question: str,
        k: Annotated[int | None, typer.Option("--k", help="Passages to answer from.")] = None,
        as_of: AsOf = None,
        epoch: Epoch = None,
        document: InDocument = None,
        workspace: InWorkspace = None,
        generator: Annotated[str | None, typer.Option(help="Which generator answers.")] = None,
    ) -> None:
        """Answer with citations. Exit code 3 when nothing supports an answer."""
        shown = door.platform.ask(
            question, k, as_of=as_of, epoch=epoch, document=document, workspace=workspace, generator=generator
        )
        door.out(shown, _people_answer)
        if shown["abstained"]:
            door.exit_code = ABSTAINED

    @command(app)
    def chat(
        door: Door,
        document: InDocument = None,
        workspace: InWorkspace = None,
        as_of: AsOf = None,
        generator: Annotated[str | None, typer.Option(help="Which generator answers.")] = None,
    ) -> None:
        """Hold a conversation: follow-ups are understood, `/help` lists the commands, Ctrl-D ends.

        With --json each question read from standard input is answered by one line of JSON.
        """
        from ui.chat import Chat

        where = {"document": document, "workspace": workspace, "as_of": as_of, "generator": generator}
        Chat(door, where).hold()

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
    if not found["hits"]:
        say(f"Nothing in workspace {found['workspace']!r}. `reprise ingest FILE` adds documents.")


def _people_answer(shown: dict[str, Any]) -> None:
    say(shown["answer"] + "\n")
    for c in shown["citations"]:
        page = f", page {c['page']}" if c["page"] else ""
        say(f"[{c['n']}] {c['name']} version {c['version']}{page}, characters {c['start']}-{c['end']}")
    say(f"\n{shown['turn']}  support {shown['support']:.2f}  epoch {shown['epoch']}  {shown['ms']['total']:.0f} ms")


def _people_measures(measured: dict[str, Any]) -> None:
    rows = [{"measure": name, "value": value} for name, value in measured.items() if name != "slices"]
    table(rows, ["measure", "value"], "Nothing measured.")
