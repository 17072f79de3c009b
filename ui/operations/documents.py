"""Operations on documents: in, versions, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ingest.add import Incoming
from kernel.errors import NotFound, UserError
from kernel.jobs import Running
from kernel.types import Progress, silent
from ui.operations.seat import Seat

_NEVER = 2**63


class Documents(Seat):
    def ingest(self, files: Iterable[Incoming], progress: Progress = silent, total: int = 0) -> dict[str, Any]:
        return self.w.ingest.add(files, progress, total)

    def enqueue_ingest(self, files: Iterable[Incoming]) -> dict[str, Any]:
        """Accept files for a job: their bytes are safe, and the job in the ledger, when this returns."""
        taken = [_ticket(file) | {"blob": self.w.blobs.put(file.content)} for file in files]
        if not taken:
            raise UserError("no file was sent", hint="send at least one, as multipart field `files`")
        workspace = taken[0]["workspace"]
        return self.job(self.w.ledger.enqueue("ingest", {"files": taken}, key=f"ingest:{workspace}"))

    def documents(self, workspace: str | None = None) -> list[dict[str, Any]]:
        return self.w.library.documents(workspace)

    def history(self, doc: str) -> list[dict[str, Any]]:
        return self.w.library.history(doc)

    def diff(self, doc: str, a: int, b: int) -> dict[str, Any]:
        return self.w.library.diff(doc, _number(a), _number(b))

    def text(self, doc: str, version: int | None = None) -> dict[str, Any]:
        return self.w.library.text(doc, _number(version))

    def original(self, doc: str, version: int | None = None) -> tuple[str, str, bytes]:
        """(file name, media type, bytes) of a version as it came in."""
        document, found, content = self.w.library.original(doc, _number(version))
        return Path(document.name).name, found.media_type, content

    def restore(self, doc: str, version: int) -> dict[str, Any]:
        document, found, content = self.w.library.original(doc, _number(version))
        return self.w.ingest.restore(document, found, content)

    def delete(self, doc: str) -> dict[str, Any]:
        return self.w.delete.delete(doc)

    def changes(self, since: int) -> list[dict[str, Any]]:
        if not 0 <= since < _NEVER:
            raise UserError(f"epoch {since} is not one", hint="give 0 for everything, or an epoch seen before")
        return self.w.library.changes(since)

    def _ingest_job(self, running: Running) -> dict[str, Any]:
        tickets = running.args["files"]

        def files() -> Iterator[Incoming]:
            for ticket in tickets:
                fields = {name: value for name, value in ticket.items() if name != "blob"}
                yield Incoming(content=self.w.blobs.get(ticket["blob"]), **fields)

        return self.ingest(files(), running.progress, total=len(tickets))


def _number(version: int | None) -> Any:
    """A version's number as it came in. Zero is no version, and must not pass for `the live one`."""
    if version is not None and not 1 <= version < 2**31:
        raise NotFound(f"no version {version}", hint="versions count from 1; `reprise history DOC` lists them")
    return version


def _ticket(file: Incoming) -> dict[str, Any]:
    return {
        "path": file.path,
        "name": file.name,
        "source": file.source,
        "workspace": file.workspace,
        "at": file.at,
        "explicit": file.explicit,
    }
