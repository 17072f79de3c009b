"""Routes of questions: search, ask, turns, feedback; and the OpenAI-compatible chat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from kernel.errors import NotFound, UserError
from kernel.ids import now_ms
from ui.api.access import Node, Number, Where

router = APIRouter(prefix="/v1", tags=["questions"])
MODEL = "reprise"


class Query(Where):
    query: str
    k: int = Field(10, ge=1, le=1000)
    explain: bool = Field(False, description="tell of every candidate how it came to its rank")
    diversity: float | None = Field(None, ge=0, le=1, description="how far passages that say the same stand back")
    expand: Literal["section", "neighbours"] | None = Field(None, description="what stands around each hit")


class Question(Where):
    question: str
    k: int | None = Field(None, ge=1, le=50)
    generator: str | None = None


class Vote(BaseModel):
    turn: str
    vote: str
    correction: str | None = None


class Message(BaseModel):
    role: str
    content: str | list[dict[str, Any]] | None = None


class ChatRequest(Where):
    model: str = MODEL
    messages: list[Message]
    stream: bool = False


@router.post("/search")
def search(node: Node, body: Query) -> dict[str, Any]:
    """The best passages for a query."""
    return node.search(**body.model_dump())


@router.post("/ask")
def ask(node: Node, body: Question) -> dict[str, Any]:
    """A cited answer, or a refusal."""
    return node.ask(**body.model_dump())


@router.get("/turns")
def turns(node: Node, limit: Number = 50) -> list[dict[str, Any]]:
    """Questions asked, newest first."""
    return node.turns(limit)


@router.post("/feedback")
def feedback(node: Node, body: Vote) -> dict[str, Any]:
    """A thumb or a correction on a turn."""
    return node.feedback(**body.model_dump())


@router.get("/models")
def models(node: Node) -> dict[str, Any]:
    """What `/v1/chat/completions` can be asked for: the platform, by each generator it has."""
    names = [MODEL, *(f"{MODEL}:{name}" for name in node.w.answerer.generators)]
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "reprise"} for name in names],
    }


@router.post("/chat/completions")
def completions(node: Node, body: ChatRequest) -> Any:
    """OpenAI's chat completions over the grounded answer; `citations` stand beside the message."""
    question = _last_question(body.messages)
    where = body.model_dump(include={"as_of", "epoch", "document", "workspace"})
    shown = node.ask(question, generator=_generator(body.model), **where)
    head = {"id": f"chatcmpl-{shown['turn']}", "created": now_ms() // 1000, "model": body.model}
    extra = {name: shown[name] for name in ("citations", "abstained", "support", "turn", "epoch")}
    if body.stream:
        return StreamingResponse(_events(head, shown["answer"], extra), media_type="text/event-stream")
    message = {"role": "assistant", "content": shown["answer"], "citations": shown["citations"]}
    words = {"prompt_tokens": len(question.split()), "completion_tokens": len(shown["answer"].split())}
    return head | {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": words | {"total_tokens": sum(words.values())},
        "reprise": extra,
    }


def _events(head: dict[str, Any], answer: str, extra: dict[str, Any]) -> Iterator[str]:
    """Server-sent events. The answer is checked before its first word leaves, so no mark is ever taken back."""

    def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return "data: " + json.dumps(head | {"object": "chat.completion.chunk", "choices": [choice]} | more) + "\n\n"

    yield event({"role": "assistant", "content": ""})
    for i, word in enumerate(answer.split(" ")):
        yield event({"content": word if i == 0 else f" {word}"})
    yield event({"citations": extra["citations"]}, "stop", reprise=extra)
    yield "data: [DONE]\n\n"


def _last_question(messages: list[Message]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            if isinstance(message.content, str):
                return message.content
            parts = message.content or []
            return " ".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
    raise UserError("there is no user message", hint="send at least one message with role `user`")


def _generator(model: str) -> str | None:
    if model == MODEL:
        return None
    if model.startswith(f"{MODEL}:"):
        return model.removeprefix(f"{MODEL}:")
    raise NotFound(f"no model {model!r}", hint="`GET /v1/models` lists them", code="model_not_found")
