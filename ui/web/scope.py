"""Where a question looked, in words, and how it would look elsewhere. It draws nothing.

A place to look is a dict of what `ask` and `search` take: workspace, as_of, filters, scope, slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ui.web.languages import either
from ui.web.plain import count, moment, shorten

Place = dict[str, Any]
_SHOWN = 3


def named(documents: Sequence[dict[str, str]], total: int | None = None) -> str:
    """Names of documents for a sentence: `“a.md”`, `“a.md” and “b.md”`, or the first few and how many more."""
    names = [f"“{shorten(d['name'], 60)}”" for d in documents]
    total = len(names) if total is None else total
    if total > _SHOWN:
        return f"{', '.join(names[:_SHOWN])} and {total - _SHOWN} more"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)


def looked(scope: dict[str, Any]) -> str:
    """Why a question looked where it did, if it or a person's preferences said so; else nothing."""
    inferred = scope.get("inferred")
    if inferred:
        where, because = named(inferred["documents"]), f"because you said “{shorten(inferred['phrase'], 60)}”"
        if scope["widened"]:
            return f"Looked in {where} first, {because}. That does not answer it, so all documents were searched."
        return f"Looked only in {where}, {because}."
    if scope.get("from") == "preferences":
        where = "with the tags " + ", ".join(scope["tags"]) if scope["tags"] else _listed(scope)
        return f"Looked {where}, from your preferences."
    return ""


def given(place: Place, names: dict[str, str]) -> str:
    """What somebody chose of where to look, in a few words; `names` are those of documents, by id."""
    filters = place.get("filters") or {}
    since, until = filters.get("since"), filters.get("until")
    documents = filters.get("documents") or []
    parts = (
        f"about “{place['slice']}”" if place.get("slice") else "",
        f"as of {moment(place['as_of'])} UTC" if place.get("as_of") else "",
        f"in {named([{'name': names.get(d, d)} for d in documents])}" if documents else "",
        f"with the {_tags(filters['tags'])}" if filters.get("tags") else "",
        f"in {either(filters['languages'])}" if filters.get("languages") else "",
        f"versions from {since}" if since else "",
        f"versions until {until}" if until else "",
    )
    return ", ".join(part for part in parts if part)


def everywhere(place: Place) -> Place:
    """The same place, whatever the question says of documents."""
    return {**place, "scope": "off"}


def only(place: Place, documents: Sequence[dict[str, str]]) -> Place:
    """The same place, and of it only these documents."""
    return {**place, "filters": {**(place.get("filters") or {}), "documents": [d["document"] for d in documents]}}


def of(shown: dict[str, Any]) -> Place:
    """Where an answer looked that was given earlier, as far as its scope tells it."""
    scope = shown.get("scope") or {}
    place: Place = {"workspace": shown["workspace"]}
    if shown.get("slice"):
        place["slice"] = shown["slice"]
    if scope.get("tags"):
        place["filters"] = {"tags": list(scope["tags"])}
    elif scope.get("from") and scope.get("documents") and not scope.get("inferred"):
        place["filters"] = {"documents": [d["document"] for d in scope["documents"]]}
    return place


def _listed(scope: dict[str, Any]) -> str:
    if scope["documents"]:
        return f"in {named(scope['documents'], scope['count'])}"
    return f"in workspace “{scope['workspace']}”"


def _tags(tags: Sequence[str]) -> str:
    return f"{'tag' if len(tags) == 1 else 'tags'} {', '.join(tags)}"


def searched(scope: dict[str, Any]) -> str:
    """Where was searched in the end, for a heading: the workspace, and how many of its documents."""
    documents = "all documents" if scope["count"] is None else count(scope["count"], "document")
    return f"{documents} of {scope['workspace']}"
