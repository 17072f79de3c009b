"""Routes of what is followed: folders, pages and sitemaps."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["watches"])


class NewWatch(BaseModel):
    location: str = Field(description="a folder's full path on the node's machine, or the URL of a page or a sitemap")
    workspace: str | None = Field(None, description="default: the node's workspace")
    every_seconds: int = Field(600, description="how often it is looked at, besides a folder's events")


@router.get("/watches")
def watches(node: Node) -> list[dict[str, Any]]:
    """What is watched, each with the outcome of its last look."""
    return node.watches()


@router.post("/watches")
def add_watch(node: Node, body: NewWatch) -> dict[str, Any]:
    """Watch a folder, a page or a sitemap; its row."""
    return node.add_watch(**body.model_dump())


@router.delete("/watches/{watch}")
def remove_watch(node: Node, watch: str) -> dict[str, Any]:
    """Watch it no longer; its documents stay."""
    return node.remove_watch(watch)


@router.post("/watches/{watch}/pause")
def pause_watch(node: Node, watch: str) -> dict[str, Any]:
    """Pause, or go on."""
    return node.pause_watch(watch)


@router.post("/watches/{watch}/look", status_code=202)
def look(node: Node, watch: str) -> dict[str, Any]:
    """Look now; a job whose result is the outcome."""
    return node.enqueue_look(watch)
