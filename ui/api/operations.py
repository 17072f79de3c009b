"""Routes of running the platform: jobs, status, audit, doctor, evaluation, backup."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from kernel.errors import NotFound
from kernel.ids import now_ms
from kernel.jobs import ACTIVE
from ui.api.access import Node, Number
from ui.platform import Platform

router = APIRouter(prefix="/v1", tags=["operations"])
_SOONEST_SECONDS, _LATEST_SECONDS = 0.25, 1.0
"""Between two looks at the ledger: while something changes, and while nothing does."""


class Suite(BaseModel):
    suite: str = Field(description="JSON lines, as for `reprise eval`")
    k: int = Field(10, ge=1, le=100)
    workspace: str | None = None


class BackupRequest(BaseModel):
    file: str = Field(description="path on the node's machine; it must not exist")


def _watched(node: Node, job: str) -> str:
    """A job that can be watched; asked before the stream begins, so that a wrong one is a plain 404."""
    node.job(job)
    return job


Watched = Annotated[str, Depends(_watched)]


@router.get("/jobs")
def jobs(node: Node, limit: Number = 100) -> list[dict[str, Any]]:
    """The ledger, newest first."""
    return node.jobs(limit)


@router.get("/jobs/events", response_class=EventSourceResponse)
async def all_job_events(node: Node, request: Request) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events of all jobs under way: `progress` when something changed, `end` when a job has ended."""
    known: dict[str, tuple[Any, ...]] = {}
    async for seen in _glances(node, request, None):
        for job in known.keys() - seen.keys():
            ended = await run_in_threadpool(_shown, node, job)
            if ended is not None:
                yield _event("progress" if ended["state"] in ACTIVE else "end", ended)
        for job, at in seen.items():
            shown = await run_in_threadpool(_shown, node, job) if known.get(job) != at else None
            if shown is not None:
                yield _event("progress", shown)
        known = seen


@router.get("/jobs/{job}/events", response_class=EventSourceResponse)
async def job_events(node: Node, request: Request, job: Watched) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events of a job: `progress` when something changed, then `end`. The data is the job."""
    known: tuple[Any, ...] = ()
    async for seen in _glances(node, request, job):
        if job not in seen:  # removed from the ledger
            return
        if seen[job] != known:
            known = seen[job]
            shown = await run_in_threadpool(_shown, node, job)
            over = shown is None or shown["state"] not in ACTIVE
            if shown is not None:
                yield _event("end" if over else "progress", shown)
            if over:
                return


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


@router.delete("/jobs/{job}")
def remove_job(node: Node, job: str) -> dict[str, Any]:
    """Take a job that ended out of the ledger, and what was kept for its retry; the job as it was."""
    return node.remove_job(job)


async def _glances(node: Platform, request: Request, job: str | None) -> AsyncIterator[dict[str, tuple[Any, ...]]]:
    """Look at the ledger again and again, until the client has gone or the server is about to."""
    pause, before = _SOONEST_SECONDS, None
    while not request.app.state.closing() and not await request.is_disconnected():
        seen = await run_in_threadpool(node.w.ledger.glance, job)
        yield seen
        pause = _SOONEST_SECONDS if seen != before else min(_LATEST_SECONDS, 1.5 * pause)
        before = seen
        await asyncio.sleep(pause)


def _shown(node: Platform, job: str) -> dict[str, Any] | None:
    try:
        return node.job(job)
    except NotFound:
        return None


def _event(name: str, shown: dict[str, Any]) -> ServerSentEvent:
    """The id is the time: each event tells all there is, so a client that comes back has missed nothing."""
    return ServerSentEvent(event=name, id=str(now_ms()), data=shown)


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
