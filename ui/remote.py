"""The platform over HTTP: the same methods as `ui.platform.Platform`, for the command line and the web app."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import httpx

from kernel.errors import (
    Conflict,
    DiskFull,
    Failed,
    NotFound,
    Refused,
    RepriseError,
    TryAgain,
    Unauthorized,
    Upstream,
    UserError,
)
from kernel.types import Progress, silent

_BY_STATUS: dict[int, type[RepriseError]] = {
    401: Unauthorized,
    404: NotFound,
    409: Conflict,
    422: Refused,
    502: Upstream,
    503: TryAgain,
    507: DiskFull,
}
_UPLOAD_FILES, _UPLOAD_BYTES = 64, 32 * 2**20


class Remote:
    """A node's operations by URL. Raises the same errors the node raised."""

    def __init__(self, url: str, api_key: str | None = None, timeout: float = 600) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy set for the internet has no business between us and our node.
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False)
        self.url = url

    # --- documents -------------------------------------------------------------------------------

    def enqueue_ingest(self, files: Iterable[Any]) -> dict[str, Any]:
        """Upload files (objects with the fields of `ingest.add.Incoming`); the job."""
        batch = list(files)
        first = batch[0]
        form: dict[str, Any] = {"workspace": first.workspace, "source": [f.source for f in batch]}
        form["name"] = [f.name for f in batch]  # a multipart file name cannot say a quotation mark
        if first.explicit:
            form["as"] = first.name
        if first.at is not None:
            from kernel.ids import iso

            form["at"] = iso(first.at)
        # The file's own name tells what kind of file it is, also where `--as` gives the document another.
        parts = [("files", (_file_name(f), f.content, "application/octet-stream")) for f in batch]
        return self._call("POST", "/v1/documents", data=form, files=parts)

    def ingest(self, files: Iterable[Any], progress: Progress = silent, total: int = 0) -> dict[str, Any]:
        """Upload files in batches and wait for their jobs; the JSON of `reprise ingest`."""
        started = time.perf_counter()
        rows: list[dict[str, Any]] = []
        epoch = None
        for batch in _uploads(files):
            done = len(rows)
            job = self.wait_job(self.enqueue_ingest(batch)["job"], partial(_onward, progress, done, total))
            if job["state"] != "done":
                raise _as_error(500, job["error"] or {"message": f"the job was {job['state']}", "hint": "try again"})
            published = job["result"]["documents"]
            for row, file in zip(published, batch, strict=True):
                row["path"] = file.path  # as the person named it; the node knows only what it was sent
            rows += published
            epoch = job["result"]["epoch"]
            progress("published", len(rows), total)
        if epoch is None:  # nothing could be read
            epoch = self.status()["epoch"]
        return {"documents": rows, "seconds": round(time.perf_counter() - started, 3), "epoch": epoch}

    def documents(self, workspace: str | None = None) -> list[dict[str, Any]]:
        return self._get("/v1/documents", workspace=workspace)

    def history(self, doc: str) -> list[dict[str, Any]]:
        return self._get(f"/v1/documents/{quote(doc)}/history")

    def diff(self, doc: str, a: int, b: int) -> dict[str, Any]:
        return self._get(f"/v1/documents/{quote(doc)}/diff", a=a, b=b)

    def text(self, doc: str, version: int | None = None) -> dict[str, Any]:
        return self._get(f"/v1/documents/{quote(doc)}/text", version=version)

    def original(self, doc: str, version: int | None = None) -> bytes:
        return self._send("GET", f"/v1/documents/{quote(doc)}/original", params=_given(version=version)).content

    def restore(self, doc: str, version: int) -> dict[str, Any]:
        return self._call("POST", f"/v1/documents/{quote(doc)}/restore", json={"version": version})

    def delete(self, doc: str) -> dict[str, Any]:
        return self._call("DELETE", f"/v1/documents/{quote(doc)}")

    def changes(self, since: int) -> list[dict[str, Any]]:
        return self._get("/v1/changes", since=since)

    # --- questions -------------------------------------------------------------------------------

    def search(self, query: str, k: int = 10, **where: Any) -> dict[str, Any]:
        return self._call("POST", "/v1/search", json={"query": query, "k": k, **where})

    def ask(self, question: str, k: int | None = None, **where: Any) -> dict[str, Any]:
        return self._call("POST", "/v1/ask", json={"question": question, "k": k, **where})

    def turns(self, limit: int = 50) -> list[dict[str, Any]]:
        return self._get("/v1/turns", limit=limit)

    def feedback(self, turn: str, vote: str, correction: str | None = None) -> dict[str, Any]:
        return self._call("POST", "/v1/feedback", json={"turn": turn, "vote": vote, "correction": correction})

    # --- examples and rehearsal ------------------------------------------------------------------

    def import_examples(
        self, content: str, slice_name: str | None = None, workspace: str | None = None
    ) -> dict[str, Any]:
        return self._call(
            "POST",
            "/v1/examples/import",
            json={"content": content, "slice": slice_name, "workspace": workspace},
        )

    def examples(self, status: str | None = None, workspace: str | None = None) -> list[dict[str, Any]]:
        return self._get("/v1/examples", status=status, workspace=workspace)

    def export_examples(self) -> Iterator[str]:
        lines = self._send("GET", "/v1/examples/export").text.split("\n")  # not splitlines: a text may hold U+2028
        yield from (f"{line}\n" for line in lines if line)

    def retire_example(self, example: str) -> dict[str, Any]:
        return self._call("DELETE", f"/v1/examples/{quote(example)}")

    def preview(self, kind: str = "retriever", policy: str | None = None, rho: float | None = None, seed: int = 0,
                workspace: str | None = None) -> dict[str, Any]:  # fmt: skip
        return self._get("/v1/rehearsal/preview", kind=kind, policy=policy, rho=rho, seed=seed, workspace=workspace)

    # --- adapters --------------------------------------------------------------------------------

    def enqueue_retrain(self, **options: Any) -> dict[str, Any]:
        return self._call("POST", "/v1/retrains", json=options)

    def retrain(self, progress: Progress = silent, **options: Any) -> dict[str, Any]:
        """Start a retrain and wait for its verdict."""
        job = self.enqueue_retrain(**options)
        ended = self.wait_job(job["job"], progress)
        if ended["state"] != "done":
            raise _as_error(
                500, ended["error"] or {"message": f"the retrain was {ended['state']}", "hint": "try again"}
            )
        return self.run(job["run"])

    def run(self, run: str) -> dict[str, Any]:
        return self._get(f"/v1/retrains/{quote(run)}")

    def runs(self) -> list[dict[str, Any]]:
        return self._get("/v1/retrains")

    def mix(self, run: str) -> dict[str, Any]:
        return self._get(f"/v1/retrains/{quote(run)}/mix")

    def gate(self, run: str) -> dict[str, Any]:
        return self._get(f"/v1/retrains/{quote(run)}/verdict")

    def adapters(self) -> list[dict[str, Any]]:
        return self._get("/v1/adapters")

    def promote(self, adapter: str, override: str | None = None) -> dict[str, Any]:
        return self._call("POST", f"/v1/adapters/{quote(adapter)}/promote", json={"override": override})

    def rollback(self, kind: str = "retriever") -> dict[str, Any]:
        return self._call("POST", "/v1/adapters/rollback", json={"kind": kind})

    def schedules(self) -> list[dict[str, Any]]:
        return self._get("/v1/schedules")

    def add_schedule(self, cron: str, kind: str = "retriever", workspace: str | None = None) -> list[dict[str, Any]]:
        return self._call("POST", "/v1/schedules", json={"cron": cron, "kind": kind, "workspace": workspace})

    def remove_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self._call("DELETE", f"/v1/schedules/{quote(schedule)}")

    def pause_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self._call("POST", f"/v1/schedules/{quote(schedule)}/pause")

    # --- jobs, health, the rest ------------------------------------------------------------------

    def job(self, job: str) -> dict[str, Any]:
        return self._get(f"/v1/jobs/{quote(job)}")

    def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        return self._get("/v1/jobs", limit=limit)

    def cancel_job(self, job: str) -> dict[str, Any]:
        return self._call("POST", f"/v1/jobs/{quote(job)}/cancel")

    def retry_job(self, job: str) -> dict[str, Any]:
        return self._call("POST", f"/v1/jobs/{quote(job)}/retry")

    def wait_job(self, job: str, progress: Progress = silent) -> dict[str, Any]:
        """Poll a job to its end."""
        pause = 0.02
        while True:
            row = self.job(job)
            progress(row["progress"]["stage"], row["progress"]["done"], row["progress"]["total"])
            if row["state"] in ("done", "failed", "cancelled"):
                return row
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)

    def evaluate(self, suite: str, k: int = 10, workspace: str | None = None) -> dict[str, Any]:
        return self._call("POST", "/v1/eval", json={"suite": suite, "k": k, "workspace": workspace})

    def audit(self) -> dict[str, Any]:
        return self._get("/v1/audit")

    def doctor(self) -> dict[str, Any]:
        return self._get("/v1/doctor")

    def backup(self, file: str) -> dict[str, Any]:
        return self._call("POST", "/v1/backup", json={"file": file})

    def status(self) -> dict[str, Any]:
        return self._get("/v1/status")

    def ready(self) -> bool:
        """True once the node answers questions without waiting; False also when it does not answer."""
        try:
            return self._http.get("/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    # --- transport -------------------------------------------------------------------------------

    def _get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params=_given(**query))

    def _call(self, method: str, path: str, **sent: Any) -> Any:
        return self._send(method, path, **sent).json()

    def _send(self, method: str, path: str, **sent: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **sent)
        except httpx.HTTPError as error:
            raise Failed(
                f"the node at {self.url} does not answer: {error}",
                hint="start it with `reprise up`, or unset REPRISE_API to work without one",
                code="node_unreachable",
            ) from error
        if response.is_error:
            try:
                body = response.json().get("error")
            except (ValueError, AttributeError):
                body = None
            raise _as_error(response.status_code, body or {"message": response.text[:300]})
        return response


def _onward(progress: Progress, before: int, total: int, stage: str, done: int, _of: int) -> None:
    progress(stage, before + done, total)


def _given(**query: Any) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _as_error(status: int, body: dict[str, Any]) -> RepriseError:
    kind = _BY_STATUS.get(status, UserError if 400 <= status < 500 else Failed)
    if body.get("code") == "bad_request":
        kind = UserError
    return kind(body.get("message", "unknown error"), hint=body.get("hint", ""), code=body.get("code"))


def _file_name(file: Any) -> str:
    return PurePath(file.path).name.encode("utf-8", "replace").decode() or str(file.name)


def _uploads(files: Iterable[Any]) -> Iterator[list[Any]]:
    """Batches small enough for one request. A file with a name of its own (`--as`) goes alone."""
    batch: list[Any] = []
    size = 0
    for file in files:
        full = len(batch) >= _UPLOAD_FILES or size + len(file.content) > _UPLOAD_BYTES
        if batch and (full or file.explicit or batch[-1].explicit):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += len(file.content)
    if batch:
        yield batch
