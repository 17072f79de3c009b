"""OpenAI's chat completions over the grounded answer, and the models it can be asked for.

Any chat program speaks this. What it says besides the conversation has no power here: a system message, a
temperature or tools would bend a model that writes freely, and this one may only say what the passages say. They are
accepted, and `reprise.ignored` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from kernel.ids import fresh, now_ms
from ui.api import models, streaming
from ui.api.access import Node, User, Where
from ui.api.errors import as_openai
from ui.spoken import MOST_EXCHANGES, exchange, spoken

router = APIRouter(prefix="/v1", tags=["OpenAI"])
_BESIDE = ("citations", "abstained", "support", "turn", "workspace", "scope", "adapters", "generator", "epoch", "as_of")
"""What of an answer stands under `reprise`, where the answer has it."""


class Message(BaseModel):
    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The words; pictures and sound are left out."""
        if isinstance(self.content, str):
            return self.content
        return " ".join(str(p.get("text", "")) for p in self.content or [] if p.get("type") == "text")


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(Where):
    model_config = ConfigDict(extra="allow")

    model: str = models.MODEL
    messages: list[Message]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=1, description="there is one answer to a question")

    @field_validator("messages")
    @classmethod
    def _something_is_asked(cls, messages: list[Message]) -> list[Message]:
        if not any(m.role == "user" for m in messages):
            raise ValueError("there is no user message: send at least one with role `user`")
        return messages


@router.get("/models")
def list_models(node: Node) -> dict[str, Any]:
    """The platform by each generator and adapter it has."""
    return {"object": "list", "data": models.offered(node)}


@router.get("/models/{model:path}")
def model(node: Node, model: str) -> dict[str, Any]:
    """One model."""
    return models.named(node, model)


@router.post("/chat/completions")
def completions(node: Node, user: User, body: ChatRequest) -> Any:
    """A cited answer in OpenAI's shape; `citations` stand beside the message, the rest under `reprise`."""
    choice = models.chosen(node, body.model)
    question, history = _conversation(body.messages)
    asked: dict[str, Any] = {"generator": choice.generator, "adapter": choice.adapter, "history": history, "user": user}
    asked |= body.model_dump(include=set(Where.model_fields), exclude_none=True)
    ignored = sorted(body.model_extra or {}) + [m.role for m in body.messages if m.role in ("system", "developer")][:1]
    head = {"created": now_ms() // 1000, "model": body.model}
    if body.stream:
        events = streaming.begun(node.ask_stream(question, **asked))
        counted = bool(body.stream_options and body.stream_options.include_usage)
        chunks = _chunks({"id": fresh("chatcmpl"), **head}, events, ignored, counted)
        return StreamingResponse(chunks, media_type=streaming.MEDIA_TYPE, headers=streaming.HEADERS)
    shown = node.ask(question, **asked)
    message = {"role": "assistant", "content": shown["answer"], "refusal": None, "citations": shown["citations"]}
    return {
        "id": f"chatcmpl-{shown['turn']}",
        "object": "chat.completion",
        **head,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _usage(shown),
        "reprise": _beside(shown, ignored),
    }


def _chunks(
    head: dict[str, Any], events: Iterator[dict[str, Any]], ignored: Sequence[str], counted: bool
) -> Iterator[str]:
    """OpenAI's chunks of an answer. Each sentence was checked before it came, so no word is ever taken back."""

    def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> str:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
        usage = {"usage": None} if counted else {}
        return streaming.data(head | {"object": "chat.completion.chunk", "choices": choices} | usage | more)

    try:
        yield chunk({"role": "assistant", "content": ""})
        for words, event in spoken(events):
            if words:
                yield chunk({"content": words})
            if event["type"] == "done":
                yield chunk({"citations": event["citations"]}, "stop", reprise=_beside(event, ignored))
                if counted:
                    yield chunk(None, usage=_usage(event))
    except Exception as error:
        yield streaming.data({"error": as_openai(*streaming.failure(error))})
        return
    yield "data: [DONE]\n\n"


def _conversation(messages: Sequence[Message]) -> tuple[str, list[dict[str, str]]]:
    """The last question, and the exchanges before it, oldest first, as far back as they are history."""
    said = [m for m in messages if m.role in ("user", "assistant")]
    while said[-1].role == "assistant":
        said.pop()  # some programs send the beginning of the answer they want
    history = [
        exchange(asked.text, answered.text)
        for asked, answered in pairwise(said)
        if (asked.role, answered.role) == ("user", "assistant") and asked.text.strip() and answered.text.strip()
    ]
    return said[-1].text, history[-MOST_EXCHANGES:]


def _usage(shown: dict[str, Any]) -> dict[str, int]:
    """Tokens as the generator counted them; none where no model wrote: quoting costs none."""
    given = shown.get("usage") or {}
    counts = {name: int(given.get(name, 0)) for name in ("prompt_tokens", "completion_tokens")}
    return counts | {"total_tokens": sum(counts.values())}


def _beside(shown: dict[str, Any], ignored: Sequence[str]) -> dict[str, Any]:
    return {name: shown[name] for name in _BESIDE if name in shown} | {"ignored": list(ignored)}
