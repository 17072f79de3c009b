"""Options that narrow which documents a command looks at, and the filters they make."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Tag = Annotated[list[str] | None, typer.Option("--tag", help="Only documents with this tag; repeat it for more.")]
AnyTag = Annotated[list[str] | None, typer.Option("--any-tag", help="Only documents with one of these tags.")]
Language = Annotated[
    list[str] | None, typer.Option("--language", help="Only documents in this language (ISO 639), or one of several.")
]
Source = Annotated[
    list[str] | None,
    typer.Option("--source", help="Only documents from this source, below it, or a pattern with *."),
]
MediaType = Annotated[
    list[str] | None, typer.Option("--media-type", help="Only such files, e.g. application/pdf or text/*.")
]
Since = Annotated[str | None, typer.Option("--since", help="Only what began to count at this ISO time or later.")]
Until = Annotated[str | None, typer.Option("--until", help="Only what began to count at this ISO time or earlier.")]
InDocuments = Annotated[
    list[str] | None,
    typer.Option("--document", "-d", help="Look in this document only: its id, its name, or a pattern with *."),
]
ScopeMode = Annotated[
    str | None,
    typer.Option("--scope", help="auto | off: whether the question itself may say which documents (REPRISE_SCOPE)."),
]


def filters(
    *,
    documents: list[str] | None = None,
    tag: list[str] | None = None,
    any_tag: list[str] | None = None,
    language: list[str] | None = None,
    source: list[str] | None = None,
    media_type: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
) -> dict[str, Any] | None:
    """The filters as a request has them; None where nothing is given."""
    given = {
        "documents": documents,
        "tags": tag,
        "any_tags": any_tag,
        "languages": language,
        "sources": source,
        "media_types": media_type,
        "since": since,
        "until": until,
    }
    return {name: value for name, value in given.items() if value} or None


def one(documents: list[str] | None) -> tuple[str | None, list[str] | None]:
    """(document, documents): a single one without a pattern also says in which workspace to look."""
    if documents and len(documents) == 1 and not set("*?") & set(documents[0]):
        return documents[0], None
    return None, documents
