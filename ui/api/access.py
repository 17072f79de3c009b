"""How a route reaches the platform, and the query parameters many routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel, Field

from ui.platform import Platform


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


Node = Annotated[Platform, Depends(_platform)]


class Where(BaseModel):
    """Where and when a question looks."""

    as_of: str | None = Field(None, description="ISO 8601 time: what counted in the world then")
    epoch: int | None = Field(None, description="what the platform knew at that epoch")
    document: str | None = Field(None, description="a document's id or name")
    workspace: str | None = Field(None, description="default: the node's workspace")
