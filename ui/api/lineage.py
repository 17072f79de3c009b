"""Routes of lineage: cards of adapters, who saw a document, and runs that leave the platform whole."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["adapters"])


class Export(BaseModel):
    folder: str = Field(description="on the node's machine; new or empty")
    with_base: bool = Field(False, description="copy the base model as well")


@router.get("/adapters/{adapter}/card")
def card(node: Node, adapter: str) -> dict[str, Any]:
    """What an adapter was made of and how, why the gate said what it said, what it cost; `markdown` for people."""
    return node.card(adapter)


@router.get("/documents/{doc:path}/lineage")
def lineage(node: Node, doc: str) -> dict[str, Any]:
    """The adapters that saw a document, directly or through those they go on from."""
    return node.lineage(doc)


@router.post("/retrains/{run}/export")
def export_run(node: Node, run: str, body: Export) -> dict[str, Any]:
    """Write a run to a folder that reproduces its metrics by itself."""
    return node.export_run(run, body.folder, body.with_base)
