"""Routes of the rollout: trials of adapters, and which adapter serves which workspace or slice."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["adapters"])


class NewRollout(BaseModel):
    adapter: str
    shadow: bool = Field(False, description="first unseen: both answer, the champion is shown")
    share: float | None = Field(None, description="the first share of those who ask; default .05")
    steps: list[float] | None = Field(None, description="shares in order; 1 is the champion's place")
    test: dict[str, float] | None = Field(
        None, description="figures of the sequential test that are not the usual ones"
    )
    override: str | None = Field(None, description="why, in spite of the gate; kept in the audit log")


class OfKind(BaseModel):
    kind: str | None = Field(None, description="which kind, where adapters of several are tried")


class NewRoute(BaseModel):
    adapter: str
    workspace: str
    slice: str | None = Field(None, description="only questions that are asked with this slice")
    override: str | None = Field(None, description="why, in spite of the gate; kept in the audit log")


@router.get("/rollouts")
def rollouts(node: Node) -> list[dict[str, Any]]:
    """Trials with their figures, newest first."""
    return node.rollouts()


@router.post("/rollouts")
def start(node: Node, body: NewRollout) -> dict[str, Any]:
    """Try an adapter on live questions; the trial."""
    return node.start_rollout(**body.model_dump())


@router.post("/rollouts/advance")
def advance(node: Node, body: OfKind) -> dict[str, Any]:
    """The next step now, whatever the figures say; the trial."""
    return node.advance_rollout(body.kind)


@router.post("/rollouts/stop")
def stop(node: Node, body: OfKind) -> dict[str, Any]:
    """End the trial; its adapter is a candidate again."""
    return node.stop_rollout(body.kind)


@router.get("/routes")
def routes(node: Node) -> list[dict[str, Any]]:
    """Which adapter serves which workspace or slice."""
    return node.routes()


@router.post("/routes")
def set_route(node: Node, body: NewRoute) -> list[dict[str, Any]]:
    """Let an adapter serve a workspace, or one slice of its questions; all routes."""
    return node.set_route(body.adapter, body.workspace, body.slice, body.override)


@router.delete("/routes")
def remove_route(node: Node, workspace: str, slice: str | None = None, kind: str = "retriever") -> list[dict[str, Any]]:
    """Let the champion serve there again; the routes that are left."""
    return node.remove_route(workspace, slice, kind)
