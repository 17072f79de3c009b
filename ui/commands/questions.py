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
        explain: Annotated[bool, typer.Option("--explain", help="Show how each candidate came to its rank.")] = False,
        diversity: Annotated[
            float | None, typer.Option(help="0 to 1: how far passages that say the same stand back.")
        ] = None,
        expand: Annotated[str | None, typer.Option(help="Show what stands around: section or neighbours.")] = None,
    ) -> None:
        """The best passages for a query."""
        found = door.platform.search(
            query,
            k,
            as_of=as_of,
            epoch=epoch,
            document=document,
            workspace=workspace,
            explain=explain,
            diversity=diversity,
            expand=expand,
        )
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
        around = hit.get("around")
        say("   " + (" ".join(around["text"].split()) if around else " ".join(hit["text"].split())[:300]) + "\n")
    if "explain" in found:
        _people_explained(found)
    if not found["hits"]:
        say(f"Nothing in workspace {found['workspace']!r}. `reprise ingest FILE` adds documents.")


_EXPLAINED = 30
"""Candidates that are told to people; the JSON has all of them."""


def _people_explained(found: dict[str, Any]) -> None:
    told = found["explain"]
    source = "tuned on this workspace" if told["tuned"] else "the default"
    say(f"Words weigh {told['weight']:.2f}, meaning {1 - told['weight']:.2f} ({source}); reranker: {told['reranker']}")
    names = {hit["chunk"]: hit["name"] for hit in found["hits"]}
    rows = [
        {
            "rank": c["rank"] if c["rank"] is not None else f"- ({c['dropped']})",
            "meaning": _arm(c["dense"]),
            "words": _arm(c["words"]),
            "fused": f"{c['fused']:.3f} (#{c['fused_rank']})",
            "rerank": "-" if c["rerank"] is None else f"{c['rerank']:.3f}",
            "score": f"{c['score']:.3f}",
            "document": names.get(c["chunk"], ""),
        }
        for c in told["candidates"][:_EXPLAINED]
    ]
    table(rows, ["rank", "meaning", "words", "fused", "rerank", "score", "document"], "No candidates.")


def _arm(standing: dict[str, Any] | None) -> str:
    """Score, score on the common scale, and rank in one arm."""
    return "-" if standing is None else f"{standing['score']:.3f} → {standing['normal']:.2f} (#{standing['rank']})"


def _people_answer(shown: dict[str, Any]) -> None:
    say(shown["answer"] + "\n")
    for c in shown["citations"]:
        page = f", page {c['page']}" if c["page"] else ""
        say(f"[{c['n']}] {c['name']} version {c['version']}{page}, characters {c['start']}-{c['end']}")
    say(f"\n{shown['turn']}  support {shown['support']:.2f}  epoch {shown['epoch']}  {shown['ms']['total']:.0f} ms")


def _people_measures(measured: dict[str, Any]) -> None:
    rows = [{"measure": name, "value": value} for name, value in measured.items() if name != "slices"]
    table(rows, ["measure", "value"], "Nothing measured.")
