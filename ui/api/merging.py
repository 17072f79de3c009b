"""The route of merging adapters."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["adapters"])


class Merge(BaseModel):
    adapters: list[str] = Field(description="two or more adapters of the retriever")
    method: Literal["cat", "ties", "dare"] = "cat"
    weights: list[float] | None = Field(None, description="one for each adapter; default: the same, adding up to 1")
    rank: int | None = Field(None, description="default: the largest among the adapters")
    density: float | None = Field(None, description="the share of entries that ties and dare keep; default .5")
    seed: int = 0
    workspace: str | None = None


@router.post("/adapters/merge", status_code=202)
def merge(node: Node, body: Merge) -> dict[str, Any]:
    """Start a merge; a job and its run, which ends with the gate's verdict as a retrain does."""
    asked = body.model_dump()
    return node.enqueue_merge(asked.pop("adapters"), **asked)
