"""Operations on documents, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from kernel.errors import UserError
from kernel.types import Progress, silent
from ui.over_http.connection import as_error, given
from ui.over_http.sending import LARGE_BYTES, Sending

_UPLOAD_FILES, _UPLOAD_BYTES = 64, 32 * 2**20
MOST_TOGETHER = 1000
"""Files that a multipart request may hold."""


class Documents(Sending):
    def enqueue_ingest(self, files: Iterable[Any], *, together: bool = False) -> dict[str, Any]:
        """Upload files (objects with the fields of `ingest.incoming.Incoming`); the job."""
        batch = list(files)
        first = batch[0]
        if len(batch) == 1 and len(first.content) > LARGE_BYTES and not together:
            job: dict[str, Any] = self.job(self._send_in_pieces(first))
            return job
        form: dict[str, Any] = {"workspace": first.workspace, "source": [f.source for f in batch]}
        form["name"] = [f.name for f in batch]  # a multipart file name cannot say a quotation mark
        form["root"] = [f.root or "" for f in batch]
        if together:
            form["together"] = "true"
        if first.explicit:
            form["as"] = first.name
        if first.tags:
            form["tag"] = list(first.tags)
        if first.at is not None:
            from kernel.ids import iso

            form["at"] = iso(first.at)
        # The file's own name tells what kind of file it is, also where `--as` gives the document another.
        parts = [("files", (_file_name(f), f.content, "application/octet-stream")) for f in batch]
        return self._call("POST", "/v1/documents", data=form, files=parts)

    def ingest(
        self, files: Iterable[Any], progress: Progress = silent, total: int = 0, *, together: bool = False
    ) -> dict[str, Any]:
        """Upload files in batches and wait for their jobs; the JSON of `reprise ingest`.

        `together` sends all of them in one request, since they are one job: 1,000 files at most.
        """
        started = time.perf_counter()
        rows: list[dict[str, Any]] = []
        epoch = None
        for batch in _whole(files) if together else _uploads(files):
            done = len(rows)
            accepted = self.enqueue_ingest(batch, together=together)
            job = self.wait_job(accepted["job"], partial(_onward, progress, done, total))
            if job["state"] != "done":
                raise as_error(500, job["error"] or {"message": f"the job was {job['state']}", "hint": "try again"})
            published = job["result"]["documents"]
            _as_named(published, batch)
            rows += published
            epoch = job["result"]["epoch"]
            progress("published", len(rows), total)
        if epoch is None:  # nothing could be read
            epoch = self.status()["epoch"]
        return {"documents": rows, "seconds": round(time.perf_counter() - started, 3), "epoch": epoch}

    def documents(self, workspace: str | None = None, *, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        return self._get("/v1/documents", workspace=workspace, **(filters or {}))

    def tag(self, doc: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> dict[str, Any]:
        sent = {"add": list(add), "remove": list(remove)}
        return self._call("POST", f"/v1/documents/{quote(doc)}/tags", json=sent)

    def history(self, doc: str) -> list[dict[str, Any]]:
        return self._get(f"/v1/documents/{quote(doc)}/history")

    def diff(self, doc: str, a: int, b: int) -> dict[str, Any]:
        return self._get(f"/v1/documents/{quote(doc)}/diff", a=a, b=b)

    def text(self, doc: str, version: int | None = None) -> dict[str, Any]:
        return self._get(f"/v1/documents/{quote(doc)}/text", version=version)

    def section(self, doc: str, start: int, version: int | None = None) -> dict[str, Any]:
        return self._get(f"/v1/documents/{quote(doc)}/section", start=start, version=version)

    def original(self, doc: str, version: int | None = None) -> bytes:
        return self._send("GET", f"/v1/documents/{quote(doc)}/original", params=given(version=version)).content

    def restore(self, doc: str, version: int) -> dict[str, Any]:
        return self._call("POST", f"/v1/documents/{quote(doc)}/restore", json={"version": version})

    def delete(self, doc: str) -> dict[str, Any]:
        return self._call("DELETE", f"/v1/documents/{quote(doc)}")

    def changes(self, since: int = 0, *, after: int | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        return self._get("/v1/changes", since=since, after=after, limit=limit)


def _as_named(rows: list[dict[str, Any]], batch: Sequence[Any]) -> None:
    """Give rows the path that the person named; the node knows only what it was sent. An archive has several rows."""
    if len(rows) == len(batch):
        paths = [file.path for file in batch]
    else:
        by_name = {file.name: file.path for file in batch}
        paths = [by_name.get(row["name"], row["path"]) for row in rows]
    for row, path in zip(rows, paths, strict=True):
        row["path"] = path


def _onward(progress: Progress, before: int, total: int, stage: str, done: int, _of: int) -> None:
    progress(stage, before + done, total)


def _file_name(file: Any) -> str:
    return PurePath(file.path).name.encode("utf-8", "replace").decode() or str(file.name)


def _whole(files: Iterable[Any]) -> Iterator[list[Any]]:
    """All files in one request, if there are any."""
    batch = list(files)
    if len(batch) > MOST_TOGETHER:
        raise UserError(
            f"{len(batch):,} files are too many for one release sent to a node, which takes {MOST_TOGETHER:,}",
            hint="send them as one archive: curl -F files=@release.zip -F together=true URL/v1/documents",
        )
    if batch:
        yield batch


def _uploads(files: Iterable[Any]) -> Iterator[list[Any]]:
    """Batches small enough for one request. A file with a name of its own (`--as`) goes alone."""
    batch: list[Any] = []
    size = 0
    for file in files:
        full = len(batch) >= _UPLOAD_FILES or size + len(file.content) > _UPLOAD_BYTES
        if batch and (full or _alone(file) or _alone(batch[-1])):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += len(file.content)
    if batch:
        yield batch


def _alone(file: Any) -> bool:
    return file.explicit or len(file.content) > LARGE_BYTES
