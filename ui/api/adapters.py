"""Routes of retrains and adapters."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["adapters"])
Kind = Literal["retriever", "generator"]
Method = Literal["sft", "dpo", "kto"]


class RetrainRequest(BaseModel):
    kind: Kind = "retriever"
    policy: str | None = None
    rho: float | None = None
    seed: int = 0
    workspace: str | None = None
    control: Literal["shuffled"] | None = Field(None, description="shuffle the labels: a run the gate must refuse")
    method: Method | None = Field(None, description="how a generator is trained (default: sft)")
    recipe: dict[str, Any] = Field({}, description="settings of the recipe that differ from its defaults")
    start: str | None = Field(None, description="champion (default), base, or the name of an adapter")
    without: list[str] | None = Field(None, description="documents that the adapter must never have seen")
    hold: bool = Field(False, description="draw the mix and wait until a person approves it")


class Promote(BaseModel):
    override: str | None = Field(None, description="why to promote what the gate did not accept; kept in the audit log")


class Rollback(BaseModel):
    kind: Kind = "retriever"


@router.post("/retrains", status_code=202)
def retrain(node: Node, body: RetrainRequest) -> dict[str, Any]:
    """Start a retrain; a job and its run."""
    return node.enqueue_retrain(**body.model_dump())


@router.get("/retrains")
def runs(node: Node, kind: Kind | None = None) -> list[dict[str, Any]]:
    """Runs, newest first."""
    return node.runs(kind)


@router.get("/retrains/{run}")
def run(node: Node, run: str) -> dict[str, Any]:
    """A run with its metrics and verdict."""
    return node.run(run)


@router.get("/retrains/{run}/mix")
def mix(node: Node, run: str) -> dict[str, Any]:
    """The manifest of a run: every row with the reason why it was chosen."""
    return node.mix(run)


@router.get("/retrains/{run}/verdict")
def gate(node: Node, run: str) -> dict[str, Any]:
    """The gate's verdict, from the stored report."""
    return node.gate(run)


@router.get("/adapters")
def adapters(node: Node) -> list[dict[str, Any]]:
    """Adapters, newest first."""
    return node.adapters()


@router.post("/adapters/rollback")
def rollback(node: Node, body: Rollback) -> dict[str, Any]:
    """Serve what served before."""
    return node.rollback(body.kind)


@router.post("/adapters/{adapter}/promote")
def promote(node: Node, adapter: str, body: Promote) -> dict[str, Any]:
    """Make an adapter the champion."""
    return node.promote(adapter, body.override)
