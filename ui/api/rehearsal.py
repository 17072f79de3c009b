"""Routes of rehearsal: previews, mixes that wait for approval, the replay ratio."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ui.api.access import Node
from ui.api.adapters import Kind, Method

router = APIRouter(prefix="/v1/rehearsal", tags=["rehearsal"])


class Rejection(BaseModel):
    reason: str = Field("", description="why; kept in the audit log")


@router.get("/preview")
def preview(
    node: Node,
    kind: Kind = "retriever",
    policy: str | None = None,
    rho: float | None = None,
    seed: int = 0,
    workspace: str | None = None,
    measure: bool = False,
    method: Method | None = None,
    start: str | None = None,
    without: Annotated[list[str] | None, Query()] = None,
) -> dict[str, Any]:
    """What a retrain would train on, each row with its reason, and what it would cost. `measure` takes a virtual step
    to see what it would hurt, which takes some seconds."""
    return node.preview(kind, policy, rho, seed, workspace, measure, method, start, without)


@router.get("/rho")
def replay(node: Node, kind: Kind = "retriever", workspace: str | None = None) -> dict[str, Any]:
    """The replay ratio of the next retrain, overall and per slice, and how it came to be."""
    return node.replay(kind, workspace)


@router.get("/proposals")
def proposals(node: Node) -> list[dict[str, Any]]:
    """Mixes that wait for approval, newest first. `POST /v1/retrains` with `hold` makes one."""
    return node.proposals()


@router.get("/proposals/{proposal}")
def proposal(node: Node, proposal: str) -> dict[str, Any]:
    """A proposal with its mix."""
    return node.proposal(proposal)


@router.post("/proposals/{proposal}/approve", status_code=202)
def approve(node: Node, proposal: str) -> dict[str, Any]:
    """Train on exactly this mix; the job. Examples that went away since are dropped and named."""
    return node.enqueue_approved(proposal)


@router.post("/proposals/{proposal}/reject")
def reject(node: Node, proposal: str, body: Rejection) -> dict[str, Any]:
    """Train nothing on this mix."""
    return node.reject_mix(proposal, body.reason)
