"""Examples, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from kernel.types import Progress, silent
from ui.over_http.index import Index


class Examples(Index):
    def import_examples(
        self, content: str, slice_name: str | None = None, workspace: str | None = None
    ) -> dict[str, Any]:
        return self._call(
            "POST",
            "/v1/examples/import",
            json={"content": content, "slice": slice_name, "workspace": workspace},
        )

    def export_examples(self) -> Iterator[str]:
        lines = self._send("GET", "/v1/examples/export").text.split("\n")  # not splitlines: a text may hold U+2028
        yield from (f"{line}\n" for line in lines if line)

    def examples(
        self,
        status: str | None = None,
        workspace: str | None = None,
        *,
        slice_name: str | None = None,
        origin: str | None = None,
        split: str | None = None,
        cluster: str | None = None,
        text: str | None = None,
    ) -> list[dict[str, Any]]:
        narrowed = {"slice": slice_name, "origin": origin, "split": split, "cluster": cluster, "text": text}
        return self._get("/v1/examples", status=status, workspace=workspace, **narrowed)

    def example_history(self, example: str) -> list[dict[str, Any]]:
        return self._get(f"/v1/examples/{quote(example)}/history")

    def example_slices(self, workspace: str | None = None) -> list[dict[str, Any]]:
        return self._get("/v1/examples/slices", workspace=workspace)

    def approve_examples(self, examples: Sequence[str]) -> list[dict[str, Any]]:
        return self._call("POST", "/v1/examples/approve", json={"examples": list(examples)})

    def quarantine_examples(self, examples: Sequence[str], reason: str = "") -> list[dict[str, Any]]:
        return self._call("POST", "/v1/examples/quarantine", json={"examples": list(examples), "reason": reason})

    def retire_examples(self, examples: Sequence[str], reason: str = "") -> list[dict[str, Any]]:
        return self._call("POST", "/v1/examples/retire", json={"examples": list(examples), "reason": reason})

    def retire_example(self, example: str) -> dict[str, Any]:
        return self._call("DELETE", f"/v1/examples/{quote(example)}")

    def edit_example(self, example: str, changes: dict[str, Any]) -> dict[str, Any]:
        return self._call("PATCH", f"/v1/examples/{quote(example)}", json=changes)

    def enqueue_generate(
        self,
        documents: Sequence[str] = (),
        workspace: str | None = None,
        limit: int | None = None,
        hold: bool = False,
        by: str = "person",
    ) -> dict[str, Any]:
        asked = {"documents": list(documents), "workspace": workspace, "limit": limit, "hold": hold}
        return self._call("POST", "/v1/examples/generate", json=asked)

    def generate_examples(
        self,
        documents: Sequence[str] = (),
        workspace: str | None = None,
        limit: int | None = None,
        hold: bool = False,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """Start the making of examples and wait for its end."""
        return self._ended(self.enqueue_generate(documents, workspace, limit, hold), progress)

    def enqueue_cluster(self, workspace: str | None = None, by: str = "person") -> dict[str, Any]:
        return self._call("POST", "/v1/examples/cluster", json={"workspace": workspace})

    def cluster_examples(self, workspace: str | None = None, progress: Progress = silent) -> dict[str, Any]:
        """Start the sorting into topics and wait for its end."""
        return self._ended(self.enqueue_cluster(workspace), progress)
