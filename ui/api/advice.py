"""Route of advice: where what is new belongs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["adapters"])


@router.get("/advice")
def advise(
    node: Node,
    document: str | None = None,
    slice_name: str | None = Query(None, alias="slice"),
    workspace: str | None = None,
) -> list[dict[str, Any]]:
    """Whether what is new belongs in the index, in an adapter or in neither, per document and slice, with the facts."""
    return node.advise(document, slice_name, workspace)
