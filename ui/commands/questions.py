"""Commands of questions: search, ask, chat, feedback, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ui.commands.narrow import InWorkspace, looking
from ui.door import Door, command, say, table
from ui.lines import read_lines

With = Annotated[
    str | None, typer.Option(help="Adapters to use whatever serves, one of each kind, with commas; `base` is none.")
]
Which = Annotated[str | None, typer.Option(help="Which generator answers.")]
ABSTAINED = 3


def register(app: typer.Typer) -> None:
    @command(app)
    @looking
    def search(
        door: Door,
        where: dict[str, Any],
        query: str,
        k: Annotated[int, typer.Option("--k", help="Passages to return.")] = 10,
        explain: Annotated[bool, typer.Option("--explain", help="Show how each candidate came to its rank.")] = False,
        diversity: Annotated[
            float | None, typer.Option(help="0 to 1: how far passages that say the same stand back.")
        ] = None,
        expand: Annotated[str | None, typer.Option(help="Show what stands around: section or neighbours.")] = None,
        adapter: With = None,
    ) -> None:
        """The best passages for a query."""
        more = {"explain": explain, "diversity": diversity, "expand": expand, "adapter": adapter}
        more |= {"user": door.settings.user}
        door.out(door.platform.search(query, k, **more, **where), _people_hits)

    @command(app)
    @looking
    def ask(
        door: Door,
        where: dict[str, Any],
        question: str,
        k: Annotated[int | None, typer.Option("--k", help="Passages to answer from.")] = None,
        generator: Which = None,
        adapter: With = None,
        conversation: Annotated[
            str | None, typer.Option("--conversation", "-c", help="Ask in a conversation: its id, or `new`.")
        ] = None,
    ) -> None:
        """Answer with citations. Exit code 3 when nothing supports an answer."""
        shown = door.platform.ask(
            question,
            k,
            generator=generator,
            adapter=adapter,
            conversation=conversation,
            user=door.settings.user,
            **where,
        )
        door.out(shown, _people_answer)
        if shown["abstained"]:
            door.exit_code = ABSTAINED

    @command(app)
    @looking
    def chat(door: Door, where: dict[str, Any], generator: Which = None) -> None:
        """Hold a conversation: follow-ups are understood, `/help` lists the commands, Ctrl-D ends.

        With --json each question read from standard input is answered by one line of JSON.
        """
        from ui.chat import Chat

        Chat(door, where | {"generator": generator, "user": door.settings.user}).hold()

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
        pin: Annotated[str | None, typer.Option(help="Keep it under this name: every gate asks it.")] = None,
    ) -> None:
        """Measure retrieval, answers, citations and refusals on a suite of questions."""
        content = read_lines(suite)
        measured = door.platform.evaluate(content, k, workspace)
        if pin is not None:
            measured["pinned"] = door.platform.pin_suite(pin, content, workspace, user=door.settings.user)
        door.out(measured, _people_measures)


def _people_hits(found: dict[str, Any]) -> None:
    for hit in found["hits"]:
        page = f", page {hit['page']}" if hit["page"] else ""
        where = f"{hit['name']} version {hit['version']}{page}, {hit['start']}-{hit['end']}"
        say(f"{hit['rank']}. {where}  ({hit['score']:.3f})")
        if hit["heading"]:
            say(f"   {hit['heading']}")
        around = hit.get("around")
        say("   " + (" ".join(around["text"].split()) if around else " ".join(hit["text"].split())[:300]) + "\n")
    _say_scope(found.get("scope"))
    if "explain" in found:
        _people_explained(found)
    if not found["hits"]:
        say(f"Nothing in workspace {found['workspace']!r}. `reprise ingest FILE` adds documents.")


_EXPLAINED = 30
"""Candidates that are told to people; the JSON has all of them."""
_SENTENCES = 12
"""Likewise of the sentences that were read."""


def _people_explained(found: dict[str, Any]) -> None:
    told = found["explain"]
    source = "tuned on this workspace" if told["tuned"] else "the default"
    say(f"Words weigh {told['weight']:.2f}, meaning {1 - told['weight']:.2f} ({source}); reranker: {told['reranker']}")
    rows = [
        {
            "rank": c["rank"] if c["rank"] is not None else f"- ({c['dropped']})",
            "meaning": _arm(c["dense"]),
            "words": _arm(c["words"]),
            "fused": f"{c['fused']:.3f} (#{c['fused_rank']})",
            "rerank": "-" if c["rerank"] is None else f"{c['rerank']:.3f}",
            "score": f"{c['score']:.3f}",
            "document": c["name"] or "",
        }
        for c in told["candidates"][:_EXPLAINED]
    ]
    table(rows, ["rank", "meaning", "words", "fused", "rerank", "score", "document"], "No candidates.")
    verdict = "answers" if told["support"] >= told["threshold"] else "is refused"
    say(f"\nSupport {told['support']:.2f}, threshold {told['threshold']:.2f}: a question like this {verdict}.")
    shown = [{**s, "text": " ".join(s["text"].split())[:100]} for s in told["sentences"][:_SENTENCES]]
    table(shown, ["why", "score", "support", "rank", "text"], "No sentence was read.")


def _arm(standing: dict[str, Any] | None) -> str:
    """Score, score on the common scale, and rank in one arm."""
    return "-" if standing is None else f"{standing['score']:.3f} → {standing['normal']:.2f} (#{standing['rank']})"


def _people_answer(shown: dict[str, Any]) -> None:
    if shown["rewritten"]:
        say(f"Understood as: {shown['question']}")
    scope = shown["scope"]
    if scope.get("from") == "preferences":
        where = ", ".join(filter(None, [scope["workspace"], _named(scope), *scope["tags"]]))
        say(f"Looked in {where}, from your preferences.")
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
        where = f"{_named(inferred)}, because of “{inferred['phrase']}”"
        if scope["widened"]:
            say(f"Nothing was found in {where}: this is from all documents.")
        else:
            say(f"Looked in {where}; `--scope off` looks in all documents.")
    elif suggested:
        say(f"If you meant {_named(suggested, ' or ')}: `--document NAME` looks only there.")


def _named(scope: dict[str, Any], between: str = ", ") -> str:
    names = [d["name"] for d in scope["documents"] or ()]
    return between.join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _people_measures(measured: dict[str, Any]) -> None:
    hidden = ("slices", "pinned")
    rows = [{"measure": name, "value": value} for name, value in measured.items() if name not in hidden]
    table(rows, ["measure", "value"], "Nothing measured.")
