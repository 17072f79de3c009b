"""Routes of a person's own things: conversations and preferences. Whose they are is what `X-Reprise-User` says."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from ui.api.access import Node, Person

router = APIRouter(prefix="/v1", tags=["people"])


class Title(BaseModel):
    title: str


class Changes(BaseModel):
    """Fields that are given are set; null, or an empty text or list, clears one."""

    model_config = ConfigDict(extra="forbid")

    language: str | None = Field(None, description="ISO 639-1 code of the language to be answered in")
    length: str | None = Field(None, description="short, normal or long")
    tone: str | None = Field(None, description="a few plain words")
    workspace: str | None = Field(None, description="where questions look that name nothing")
    documents: list[str] | None = Field(None, description="the documents they look in: ids or names")
    tags: list[str] | None = Field(None, description="the tags of the documents they look in")
    consent: bool | str | None = Field(None, description="history and preferences may become training examples")


@router.get("/conversations")
def conversations(node: Node, user: Person, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[dict[str, Any]]:
    """The user's conversations, the one that was last spoken in first."""
    return node.conversations(user, limit)


@router.get("/conversations/{conversation}")
def conversation(node: Node, user: Person, conversation: str) -> dict[str, Any]:
    """A conversation with its turns, oldest first."""
    return node.conversation(conversation, user)


@router.patch("/conversations/{conversation}")
def rename_conversation(node: Node, user: Person, conversation: str, body: Title) -> dict[str, Any]:
    """Give a conversation another title."""
    return node.rename_conversation(conversation, body.title, user)


@router.delete("/conversations/{conversation}")
def delete_conversation(node: Node, user: Person, conversation: str) -> dict[str, Any]:
    """Delete a conversation with its turns; the receipt."""
    return node.delete_conversation(conversation, user)


@router.get("/me")
def me(node: Node, user: Person) -> dict[str, Any]:
    """What the user prefers and consents to."""
    return node.me(user)


@router.patch("/me")
def set_me(node: Node, user: Person, body: Changes) -> dict[str, Any]:
    """Change what the user prefers; the whole of it afterwards."""
    return node.set_me(body.model_dump(exclude_unset=True), user)


@router.get("/me/export")
def export_me(node: Node, user: Person) -> dict[str, Any]:
    """Everything that is kept about the user."""
    return node.export_me(user)


@router.delete("/me")
def erase_me(node: Node, user: Person) -> dict[str, Any]:
    """Delete everything that is kept about the user; the receipt."""
    return node.erase_me(user)
