"""Routes of what the index is made of: its embedder, its chunks, its upkeep."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["index"])


class Switch(BaseModel):
    model: str = Field(description="the packaged model's name, a sentence-transformers name, or a folder on the node")


@router.get("/embedder")
def embedder(node: Node) -> dict[str, Any]:
    """What makes the vectors, and whether that is being switched."""
    return node.embedder()


@router.post("/embedder/switch", status_code=202)
def switch(node: Node, body: Switch) -> dict[str, Any]:
    """Make the index anew by another model, while this one serves; a job."""
    return node.enqueue_switch(body.model)


@router.post("/embedder/cancel")
def cancel(node: Node) -> dict[str, Any]:
    """Stop a switch; what serves goes on serving."""
    return node.cancel_switch()


@router.post("/index/maintain", status_code=202)
def maintain(node: Node) -> dict[str, Any]:
    """Make the index anew without what was deleted, while it serves; a job."""
    return node.enqueue_maintain()


@router.post("/index/rechunk", status_code=202)
def rechunk(node: Node) -> dict[str, Any]:
    """Publish again, with today's chunks, every document that was cut otherwise; a job."""
    return node.enqueue_rechunk()
