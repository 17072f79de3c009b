"""Routes of how a workspace's searches are fused."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["index"])


class Tune(BaseModel):
    workspace: str | None = Field(None, description="default: the node's workspace")


@router.get("/tuning")
def tuning(node: Node, workspace: str | None = None) -> dict[str, Any]:
    """What serves a workspace, and what it was chosen by."""
    return node.tuning(workspace)


@router.post("/tuning", status_code=202)
def tune(node: Node, body: Tune) -> dict[str, Any]:
    """Measure anew on the workspace's approved training examples, and adopt what does not lose; a job."""
    return node.enqueue_tune(body.workspace)
