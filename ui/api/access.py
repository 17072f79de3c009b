"""How a route reaches the platform, and the query parameters many routes share."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import unquote

from fastapi import Depends, Header, Request
from pydantic import BaseModel, ConfigDict, Field

from kernel.errors import UserError
from rehearsal.rows import whole as holds_whole
from retrieval.preferences import NOBODY, user_name
from retrieval.turns import LOCAL
from ui.platform import Platform

_SUSPECT = re.compile(rb"\\u[dD]|\xed[\xa0-\xbf]|\x00")
"""What every JSON body with a half of a surrogate pair holds, in UTF-8 or in another encoding; most others do not."""


async def whole(request: Request) -> None:
    """Refuse a JSON body that holds half of a surrogate pair in any place: such a text can be neither kept nor found.

    A dependency of all routes, and not a type of each field: JSON has texts in keys and in free objects as well.

    Raises:
        UserError: it holds one.
    """
    if getattr(request.scope.get("route"), "body_field", None) is None or "json" not in _media_type(request):
        return
    if not _SUSPECT.search(await request.body()):
        return
    if not holds_whole(await request.json()):
        raise UserError(
            "the request holds half of a surrogate pair, which is no character",
            hint="send whole characters: an emoji cut in two is often the cause",
        )


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].lower()


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform


def _user(
    said: Annotated[
        str, Header(alias="X-Reprise-User", description="whose this is, percent-encoded: a name, not a login")
    ] = LOCAL,
) -> str:
    told = unquote(said)  # not `name`: FastAPI would take it from the path of a route that has one
    return NOBODY if told == NOBODY else user_name(told)


def _person(user: Annotated[str, Depends(_user)]) -> str:
    return user_name(user)


User = Annotated[str, Depends(_user)]
"""Who asks: the name in a header. Nothing proves it; what must be kept apart needs a proxy that sets the header."""
Person = Annotated[str, Depends(_person)]
"""The same where nobody, who asks to measure, has nothing: an empty header must not reach what is `local`'s."""
Node = Annotated[Platform, Depends(_platform)]
Number = Annotated[int, Field(ge=1, lt=2**31)]
"""A version's number, or how many of something."""
Offset = Annotated[int, Field(ge=0, lt=2**53)]
"""A character of a text."""
Epoch = Annotated[int, Field(ge=0, lt=2**63)]


class Narrow(BaseModel):
    """What a document must be to be looked in; see `retrieval.filters`."""

    model_config = ConfigDict(extra="forbid")

    documents: list[str] = Field([], description="ids, exact names, or patterns of names with * and ?")
    sources: list[str] = Field([], description="a source, what lies below it, or a pattern")
    tags: list[str] = Field([], description="it has all of them")
    any_tags: list[str] = Field([], description="it has one of them")
    languages: list[str] = Field([], description="ISO 639 codes, `und` where it could not be told")
    media_types: list[str] = Field([], description="such as application/pdf, or text/*")
    since: str | None = Field(None, description="ISO 8601: its version began to count then, or later")
    until: str | None = Field(None, description="ISO 8601, or earlier; a day counts whole")


class Where(BaseModel):
    """Where and when a question looks."""

    as_of: str | None = Field(None, description="ISO 8601 time: what counted in the world then")
    epoch: Epoch | None = Field(None, description="what the platform knew at that epoch")
    document: str | None = Field(None, description="a document's id or name")
    workspace: str | None = Field(None, description="default: the node's workspace")
    filters: Narrow | None = Field(None, description="look only in documents that fit all of this")
    scope: Literal["auto", "off"] | None = Field(None, description="off: not what the question itself names")
    slice: str | None = Field(None, description="what it is about, where an adapter is routed to such questions")
