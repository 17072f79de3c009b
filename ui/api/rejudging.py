"""The route of judging again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["adapters"])


@router.post("/retrains/{run}/rejudge", status_code=202)
def rejudge(node: Node, run: str) -> dict[str, Any]:
    """Judge a run again, against the champion that serves today; a job and its run."""
    return node.enqueue_rejudge(run)
