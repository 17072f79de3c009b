"""The options that say where and when a command looks. `looking` gives them to a command, as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

Words = list[str] | None
InWorkspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Look in this workspace.")]
OPTIONS: dict[str, Any] = {
    "as_of": Annotated[
        str | None, typer.Option("--as-of", help="ISO time: answer from what counted in the world then.")
    ],
    "epoch": Annotated[int | None, typer.Option("--epoch", help="Answer from what the platform knew at this epoch.")],
    "document": Annotated[
        Words, typer.Option("--document", "-d", help="Look in this document only: its id, its name, a pattern with *.")
    ],
    "workspace": InWorkspace,
    "tags": Annotated[Words, typer.Option("--tag", help="Only documents with this tag; repeat it for more.")],
    "any_tags": Annotated[Words, typer.Option("--any-tag", help="Only documents with one of these tags.")],
    "languages": Annotated[
        Words, typer.Option("--language", help="Only documents in this language (ISO 639), or one of several.")
    ],
    "sources": Annotated[
        Words, typer.Option("--source", help="Only documents from this source, below it, or a pattern with *.")
    ],
    "media_types": Annotated[
        Words, typer.Option("--media-type", help="Only such files, e.g. application/pdf or text/*.")
    ],
    "since": Annotated[str | None, typer.Option("--since", help="Only what began to count at this ISO time or later.")],
    "until": Annotated[
        str | None, typer.Option("--until", help="Only what began to count at this ISO time or earlier.")
    ],
    "scope": Annotated[
        str | None,
        typer.Option(help="auto | off: whether the question itself may say which documents (REPRISE_SCOPE)."),
    ],
    "slice": Annotated[
        str | None, typer.Option("--slice", help="What this is about, where an adapter is routed to such questions.")
    ],
}
"""By parameter; the names from `tags` to `until` are those of `retrieval.filters.Filters`."""
NARROWING = ("tags", "any_tags", "languages", "sources", "media_types", "since", "until")


Command = Callable[..., None]


def looking(work: Command) -> Command:
    """Give a command `(door, …, where)` all of these options; `where` has them as a question takes them."""
    return _with(work, tuple(OPTIONS), "where", _where)


def narrowing(work: Command) -> Command:
    """Give a command `(door, …, filters)` those that are about documents; `filters` is None where none is given."""
    return _with(work, NARROWING, "filters", lambda given: {k: v for k, v in given.items() if v} or None)


def _with(work: Command, names: tuple[str, ...], into: str, made: Callable[[dict[str, Any]], Any]) -> Command:
    """`work` with the options `names` in place of its parameter `into`, which is made of what they are given."""
    signature = inspect.signature(work, eval_str=True)
    door, *own = (p for name, p in signature.parameters.items() if name != into)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=OPTIONS[name])
        for name in names
    ]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]

    @functools.wraps(work)
    def run(door: Any, **given: Any) -> None:
        chosen = {name: given.pop(name) for name in names}
        work(door, **given, **{into: made(chosen)})

    run.__signature__ = signature.replace(parameters=[door, *own, *more])  # type: ignore[attr-defined]
    return run


def _where(given: dict[str, Any]) -> dict[str, Any]:
    documents = given["document"] or []
    # A single one without a pattern also says in which workspace to look.
    alone = documents[0] if len(documents) == 1 and not set("*?") & set(documents[0]) else None
    narrowed = {name: given[name] for name in NARROWING if given[name]}
    if documents and alone is None:
        narrowed["documents"] = documents
    kept = {name: given[name] for name in ("as_of", "epoch", "workspace", "scope", "slice")}
    return kept | {"document": alone, "filters": narrowed or None}
