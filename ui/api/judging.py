"""Routes of judging: the gate's policy, approvals, pinned suites, and what a line of adapters has forgotten."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from finetune.forgetting import MOST
from ui.api.access import Node, Person
from ui.api.adapters import Kind

router = APIRouter(prefix="/v1", tags=["adapters"])


class Thresholds(BaseModel):
    changes: dict[str, Any] = Field(description="thresholds by name, as `GET /v1/gate-policy` shows them")
    kind: Kind = "retriever"
    workspace: str | None = Field(None, description="of this workspace's runs alone")
    reset: bool = Field(False, description="all others take their defaults again")


class Why(BaseModel):
    reason: str | None = None


class NewSuite(BaseModel):
    name: str
    suite: str = Field(description="JSON lines, as for `reprise eval`")
    workspace: str | None = None


@router.get("/gate-policy")
def gate_policy(node: Node, kind: Kind = "retriever", workspace: str | None = None) -> dict[str, Any]:
    """How strict the gate is, and what of it was set."""
    return node.gate_policy(kind, workspace)


@router.put("/gate-policy")
def set_gate_policy(node: Node, user: Person, body: Thresholds) -> dict[str, Any]:
    """Change thresholds: all that are given, or none."""
    return node.set_gate_policy(body.changes, body.kind, body.workspace, body.reset, user)


@router.get("/approvals")
def approvals(node: Node) -> list[dict[str, Any]]:
    """Adapters that wait, or waited, for a person's approval."""
    return node.approvals()


@router.post("/adapters/{adapter}/approve")
def approve(node: Node, user: Person, adapter: str, body: Why) -> dict[str, Any]:
    """Let an accepted adapter serve; who did is recorded."""
    return node.approve(adapter, body.reason, user)


@router.get("/suites")
def suites(node: Node) -> list[dict[str, Any]]:
    """Pinned suites: every gate asks them."""
    return node.suites()


@router.post("/suites")
def pin_suite(node: Node, user: Person, body: NewSuite) -> dict[str, Any]:
    """Pin a suite under a new name."""
    return node.pin_suite(body.name, body.suite, body.workspace, user)


@router.delete("/suites/{name}")
def unpin_suite(node: Node, user: Person, name: str) -> list[dict[str, Any]]:
    """Let a suite go; those that are left."""
    return node.unpin_suite(name, user)


@router.get("/forgetting")
def forgetting(
    node: Node,
    kind: Kind = "retriever",
    workspace: str | None = None,
    served: bool = False,
    last: Annotated[int, Query(ge=1, le=MOST)] = 12,
    before: str | None = None,
    after: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The matrix of the champion's line, measured now, with its figures; cells of this epoch are not measured again."""
    return node.forgetting(kind, workspace, served, last, before, after, seed)
