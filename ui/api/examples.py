"""Routes of examples: what the platform remembers to practise."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1/examples", tags=["examples"])


class ExamplesFile(BaseModel):
    content: str = Field(description="JSON lines or a CSV, as for `reprise examples import`")
    slice: str | None = None
    workspace: str | None = None


class Named(BaseModel):
    examples: list[str] = Field(description="ids; all of them or none")


class Decided(Named):
    reason: str = Field("", description="kept with each of them, and in the audit log")


class Edit(BaseModel):
    """Fields of an import row. Only those that are given change; null takes a text away."""

    model_config = ConfigDict(extra="forbid")
    question: str | None = None
    answer: str | None = None
    preferred: str | None = None
    rejected: str | None = None
    slice: str | None = None
    licence: str | None = None
    pinned: bool | None = None
    document: str | None = None
    quote: str | None = None
    relevant: list[dict[str, Any]] | None = None
    standalone: bool | None = None


class Make(BaseModel):
    documents: list[str] = Field([], description="names or ids; none for all of the workspace")
    workspace: str | None = None
    limit: int | None = Field(None, ge=1, description="examples that are kept at most; default 200")
    hold: bool = Field(False, description="let them wait in quarantine for a person")


class Sort(BaseModel):
    workspace: str | None = Field(None, description="default: each workspace by itself")


@router.get("")
def examples(
    node: Node,
    status: str | None = None,
    workspace: str | None = None,
    slice: str | None = None,
    origin: str | None = None,
    split: Literal["train", "held-out"] | None = None,
    cluster: str | None = None,
    text: str | None = None,
) -> list[dict[str, Any]]:
    """What the platform remembers to practise, newest first."""
    return node.examples(status, workspace, slice_name=slice, origin=origin, split=split, cluster=cluster, text=text)


@router.post("/import")
def import_examples(node: Node, body: ExamplesFile) -> dict[str, Any]:
    """Add examples; what was wrong with which line."""
    return node.import_examples(body.content, body.slice, body.workspace)


@router.get("/export")
def export_examples(node: Node) -> StreamingResponse:
    """Approved examples as JSON lines."""
    return StreamingResponse(node.export_examples(), media_type="application/x-ndjson")


@router.get("/slices")
def slices(node: Node, workspace: str | None = None) -> list[dict[str, Any]]:
    """What examples are counted in, by workspace: slices that a person named, and topics."""
    return node.example_slices(workspace)


@router.post("/generate", status_code=202)
def generate(node: Node, body: Make) -> dict[str, Any]:
    """Make examples from documents; a job."""
    return node.enqueue_generate(body.documents, body.workspace, body.limit, body.hold)


@router.post("/cluster", status_code=202)
def cluster(node: Node, body: Sort) -> dict[str, Any]:
    """Sort examples into topics; a job."""
    return node.enqueue_cluster(body.workspace)


@router.post("/approve")
def approve(node: Node, body: Named) -> list[dict[str, Any]]:
    """Let quarantined examples be practised."""
    return node.approve_examples(body.examples)


@router.post("/quarantine")
def quarantine(node: Node, body: Decided) -> list[dict[str, Any]]:
    """Hold examples back from all mixes until they are approved."""
    return node.quarantine_examples(body.examples, body.reason)


@router.post("/retire")
def retire(node: Node, body: Decided) -> list[dict[str, Any]]:
    """Take examples out of use for good."""
    return node.retire_examples(body.examples, body.reason)


@router.patch("/{example}")
def edit(node: Node, example: str, body: Edit) -> dict[str, Any]:
    """Change an example. Other words make another example of it, which takes its place."""
    return node.edit_example(example, body.model_dump(exclude_unset=True))


@router.delete("/{example}")
def retire_example(node: Node, example: str) -> dict[str, Any]:
    """Take an example out of all future mixes."""
    return node.retire_example(example)


@router.get("/{example}/history")
def history(node: Node, example: str) -> list[dict[str, Any]]:
    """What happened to an example, oldest first, before it was edited too."""
    return node.example_history(example)
