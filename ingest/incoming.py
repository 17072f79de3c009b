"""A file on its way in, and the row that says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from kernel.errors import RepriseError

Status = Literal["published", "unchanged", "refused", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One file. `explicit`: a person named the document (`--as`), so another source may continue it."""

    path: str
    name: str
    source: str
    workspace: str
    content: bytes
    at: int | None = None
    explicit: bool = False
    root: str | None = None
    """The folder that was named, when the file was found in one: what is no longer in it may have moved."""
    tags: tuple[str, ...] = ()
    """Given to the document beside those it has; in their one form (`ingest.tags`)."""


def row(
    file: Incoming,
    status: Status,
    document: str | None = None,
    version: int | None = None,
    *,
    new: int = 0,
    kept: int = 0,
    retired: int = 0,
) -> dict[str, Any]:
    """A row of `reprise ingest`."""
    return {
        "path": file.path,
        "name": file.name,
        "document": document,
        "version": version,
        "status": status,
        "chunks_total": new + kept,
        "chunks_new": new,
        "chunks_kept": kept,
        "chunks_retired": retired,
        "notes": [],
        "same_as": [],
        "error": None,
    }


def failure_row(file: Incoming, error: RepriseError) -> dict[str, Any]:
    """The row of a file that did not become a version: refused for its own sake, or failed for ours."""
    status: Status = "refused" if error.status < 500 else "failed"
    return row(file, status) | {"error": error.as_json()}


def failure(path: str, error: RepriseError) -> dict[str, Any]:
    """The row of a file that could not even be read."""
    return failure_row(Incoming(path=path, name=path, source=path, workspace="", content=b""), error)
