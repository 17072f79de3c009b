"""Routes of questions: search, ask, turns, feedback. OpenAI's chat is in `completions`."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from ui.api import streaming
from ui.api.access import Node, Number, User, Where

router = APIRouter(prefix="/v1", tags=["questions"])


class Query(Where):
    query: str
    k: int = Field(10, ge=1, le=1000)
    explain: bool = Field(False, description="tell of every candidate how it came to its rank")
    diversity: float | None = Field(None, ge=0, le=1, description="how far passages that say the same stand back")
    expand: Literal["section", "neighbours"] | None = Field(None, description="what stands around each hit")
    adapter: str | None = Field(None, description="a retriever adapter to search with; `base` is none")


class Earlier(BaseModel):
    """One earlier turn of a conversation."""

    question: str
    answer: str


class Question(Where):
    question: str
    k: int | None = Field(None, ge=1, le=50)
    generator: str | None = None
    adapter: str | None = Field(
        None, description="adapters to answer with, one of each kind, with commas; `base` is none; default: what serves"
    )
    history: list[Earlier] | None = Field(None, description="earlier turns, oldest first")
    conversation: str | None = Field(None, description="a conversation's id, or `new`, which opens one")


class Vote(BaseModel):
    turn: str
    vote: str
    correction: str | None = None


@router.post("/search")
def search(node: Node, user: User, body: Query) -> dict[str, Any]:
    """The best passages for a query."""
    return node.search(**body.model_dump(), user=user)


@router.post("/ask")
def ask(node: Node, user: User, body: Question) -> dict[str, Any]:
    """A cited answer, or a refusal."""
    return node.ask(**body.model_dump(), user=user)


@router.post("/ask/stream", response_class=StreamingResponse)
def ask_stream(node: Node, user: User, body: Question) -> StreamingResponse:
    """The answer as server-sent events: `searched`, each `sentence` when it has passed its check, then `done`."""
    events = streaming.begun(node.ask_stream(**body.model_dump(), user=user))
    return StreamingResponse(streaming.told(events), media_type=streaming.MEDIA_TYPE, headers=streaming.HEADERS)


@router.get("/turns")
def turns(node: Node, limit: Number = 50) -> list[dict[str, Any]]:
    """Questions asked, newest first."""
    return node.turns(limit)


@router.post("/feedback")
def feedback(node: Node, body: Vote) -> dict[str, Any]:
    """A thumb or a correction on a turn."""
    return node.feedback(**body.model_dump())
