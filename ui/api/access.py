"""How a route reaches the platform, and the query parameters many routes share."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Header, Request
from pydantic import BaseModel, Field

from retrieval.preferences import NOBODY, user_name
from retrieval.turns import LOCAL
from ui.platform import Platform


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


def _user(
    name: Annotated[
        str, Header(alias="X-Reprise-User", description="whose this is, percent-encoded: a name, not a login")
    ] = LOCAL,
) -> str:
    told = unquote(name)
    return NOBODY if told == NOBODY else user_name(told)


User = Annotated[str, Depends(_user)]
"""Who asks: the name in a header. Nothing proves it; what must be kept apart needs a proxy that sets the header."""
Node = Annotated[Platform, Depends(_platform)]
Number = Annotated[int, Field(ge=1, lt=2**31)]
"""A version's number, or how many of something."""
Offset = Annotated[int, Field(ge=0, lt=2**53)]
"""A character of a text."""
Epoch = Annotated[int, Field(ge=0, lt=2**63)]


class Where(BaseModel):
    """Where and when a question looks."""

    as_of: str | None = Field(None, description="ISO 8601 time: what counted in the world then")
    epoch: Epoch | None = Field(None, description="what the platform knew at that epoch")
    document: str | None = Field(None, description="a document's id or name")
    workspace: str | None = Field(None, description="default: the node's workspace")
