"""Operations on documents: in, versions, out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ingest.incoming import Incoming
from ingest.section import section
from kernel.errors import NotFound, UserError
from kernel.types import Progress, silent
from retrieval.filters import Filters
from ui.operations.intake import Intake

_NEVER = 2**63


class Documents(Intake):
    def ingest(
        self, files: Iterable[Incoming], progress: Progress = silent, total: int = 0, *, together: bool = False
    ) -> dict[str, Any]:
        return self.w.ingest.add(files, progress, total, together=together)

    def documents(self, workspace: str | None = None, *, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Live documents; with filters those whose version that counts now fits them."""
        chosen = Filters.of(filters)
        fit = self.w.filtering.documents(chosen, workspace, self.w.search.when()) if chosen.given else None
        return [row for row in self.w.library.documents(workspace) if fit is None or row["document"] in fit]

    def tag(self, doc: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> dict[str, Any]:
        """Give a document tags and take others away; what it has then. Nothing given only tells."""
        return self.w.tags.change(doc, add, remove) if add or remove else self.w.tags.of(doc)

    def history(self, doc: str) -> list[dict[str, Any]]:
        return self.w.library.history(doc)

    def diff(self, doc: str, a: int, b: int) -> dict[str, Any]:
        return self.w.library.diff(doc, _number(a), _number(b))

    def text(self, doc: str, version: int | None = None) -> dict[str, Any]:
        return self.w.library.text(doc, _number(version))

    def section(self, doc: str, start: int, version: int | None = None) -> dict[str, Any]:
        """The whole section around a hit or a citation."""
        return section(self.w.db, self.w.library, doc, _number(version), start)

    def original(self, doc: str, version: int | None = None) -> tuple[str, str, bytes]:
        """(file name, media type, bytes) of a version as it came in."""
        document, found, content = self.w.library.original(doc, _number(version))
        return Path(document.name).name, found.media_type, content

    def restore(self, doc: str, version: int) -> dict[str, Any]:
        document, found, content = self.w.library.original(doc, _number(version))
        return self.w.ingest.again(document, found, content, "restore")

    def delete(self, doc: str) -> dict[str, Any]:
        return self.w.delete.delete(doc)

    def changes(self, since: int = 0, *, after: int | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """What happened after epoch `since`, or after the row whose `seq` is `after`; about `limit` rows of it."""
        if not 0 <= since < _NEVER:
            raise UserError(f"epoch {since} is not one", hint="give 0 for everything, or an epoch seen before")
        if after is not None and not 0 <= after < _NEVER:
            raise UserError(f"row {after} is not one", hint="give the `seq` of a row seen before")
        if limit is not None and not 1 <= limit < _NEVER:
            raise UserError(f"limit is {limit}", hint="give a number of rows from 1, or none for all")
        return self.w.library.changes(since, after, limit)


def _number(version: int | None) -> Any:
    """A version's number as it came in. Zero is no version, and must not pass for `the live one`."""
    if version is not None and not 1 <= version < 2**31:
        raise NotFound(f"no version {version}", hint="versions count from 1; `reprise history DOC` lists them")
    return version
