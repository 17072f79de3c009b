"""Routes of old versions and copies: retention, and duplicates."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node, Number

router = APIRouter(prefix="/v1", tags=["versions"])


class Rule(BaseModel):
    workspace: str = Field(min_length=1)
    versions: Number | None = Field(None, description="keep the newest so many versions of each document")
    days: Number | None = Field(None, description="keep a version for so many days after it was superseded")


class Apply(BaseModel):
    workspace: str | None = Field(None, description="only this one; default: all that have a rule")
    dry_run: bool = Field(False, description="say what would expire, and touch nothing")


@router.get("/retention")
def retention(node: Node, workspace: str | None = None) -> list[dict[str, Any]]:
    """The rule of a workspace, or of every workspace that has one. The others keep all."""
    return node.retention(workspace)


@router.put("/retention")
def set_retention(node: Node, body: Rule) -> dict[str, Any]:
    """Set the rule of a workspace; neither `versions` nor `days` keeps all."""
    return node.set_retention(body.workspace, versions=body.versions, days=body.days)


@router.post("/retention/apply")
def apply_retention(node: Node, body: Apply) -> dict[str, Any]:
    """Let go of what the rules no longer keep, now and not at the next full hour."""
    return node.apply_retention(body.workspace, dry_run=body.dry_run)


@router.get("/duplicates")
def duplicates(node: Node, workspace: str | None = None, threshold: float = 0.8) -> list[dict[str, Any]]:
    """Documents that are copies of each other, or nearly. Nothing is dropped."""
    return node.duplicates(workspace, threshold)
