"""Routes of running the platform: jobs, status, audit, doctor, evaluation, backup."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ui.api.access import Node, Number

router = APIRouter(prefix="/v1", tags=["operations"])


class Suite(BaseModel):
    suite: str = Field(description="JSON lines, as for `reprise eval`")
    k: int = Field(10, ge=1, le=100)
    workspace: str | None = None


class BackupRequest(BaseModel):
    file: str = Field(description="path on the node's machine; it must not exist")


@router.get("/jobs")
def jobs(node: Node, limit: Number = 100) -> list[dict[str, Any]]:
    """The ledger, newest first."""
    return node.jobs(limit)


@router.get("/jobs/{job}")
def job(node: Node, job: str) -> dict[str, Any]:
    """State, stage, progress, result and error of a job."""
    return node.job(job)


@router.post("/jobs/{job}/cancel")
def cancel_job(node: Node, job: str) -> dict[str, Any]:
    return node.cancel_job(job)


@router.post("/jobs/{job}/retry")
def retry_job(node: Node, job: str) -> dict[str, Any]:
    return node.retry_job(job)


@router.get("/status")
def status(node: Node) -> dict[str, Any]:
    """Counts and what serves."""
    return node.status()


@router.get("/audit")
def audit(node: Node) -> dict[str, Any]:
    """The audit log, and whether its chain is intact."""
    return node.audit()


@router.get("/doctor")
def doctor(node: Node) -> dict[str, Any]:
    """Checks of this installation, each with what to do."""
    return node.doctor()


@router.post("/eval")
def evaluate(node: Node, body: Suite) -> dict[str, Any]:
    """Measure retrieval, answers, citations and refusals on a suite."""
    return node.evaluate(body.suite, body.k, body.workspace)


@router.post("/backup")
def backup(node: Node, body: BackupRequest) -> dict[str, Any]:
    """Write everything to one file on the node's machine."""
    return node.backup(body.file)
