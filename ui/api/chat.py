"""Routes of questions: search, ask, turns, feedback. OpenAI's chat is in `completions`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from ui.api import streaming
from ui.api.access import Node, Number, Where

router = APIRouter(prefix="/v1", tags=["questions"])
Words = Annotated[str, Field(max_length=20_000)]


class Said(BaseModel):
    """An earlier question of a conversation, and what was answered."""

    question: Words
    answer: Words


class Query(Where):
    query: str
    k: int = Field(10, ge=1, le=1000)


class Question(Where):
    question: str
    k: int | None = Field(None, ge=1, le=50)
    generator: str | None = None
    history: list[Said] = Field([], max_length=100, description="earlier exchanges, oldest first")
    adapter: str | None = Field(None, description="a pinned adapter; default: the one that serves")
    stream: bool = Field(False, description="server-sent events: `searched`, each `sentence`, then `done`")


class Vote(BaseModel):
    turn: str
    vote: str
    correction: str | None = None


@router.post("/search")
def search(node: Node, body: Query) -> dict[str, Any]:
    """The best passages for a query."""
    return node.search(**body.model_dump())


@router.post("/ask")
def ask(node: Node, body: Question) -> Any:
    """A cited answer, or a refusal; with `stream` as server-sent events, each sentence as soon as it is checked."""
    asked = body.model_dump(exclude={"stream"})
    if body.stream:
        events = streaming.told(streaming.begun(node.ask_stream(**asked)))
        return StreamingResponse(events, media_type=streaming.MEDIA_TYPE, headers=streaming.HEADERS)
    return node.ask(**asked)


@router.get("/turns")
def turns(node: Node, limit: Number = 50) -> list[dict[str, Any]]:
    """Questions asked, newest first."""
    return node.turns(limit)


@router.post("/feedback")
def feedback(node: Node, body: Vote) -> dict[str, Any]:
    """A thumb or a correction on a turn."""
    return node.feedback(**body.model_dump())
