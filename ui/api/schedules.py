"""Routes of schedules: when retrains start by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ui.api.access import Node

router = APIRouter(prefix="/v1", tags=["schedules"])
_WHEN = 'conditions, any of which starts it: "examples>=50", "drift>=0.05", "gate"'


class NewSchedule(BaseModel):
    cron: str | None = Field(None, description="five fields; with conditions the times at which they are looked at")
    kind: str = "retriever"
    workspace: str | None = None
    timezone: str = Field("UTC", description="IANA name of the zone that the times are in")
    when: list[str] = Field(default_factory=list, description=_WHEN)
    days: float | None = Field(None, description="length of a window of drift")
    turns: int | None = Field(None, description="least turns in each window of drift")
    cooldown: float | None = Field(
        None, description="seconds between two retrains; six hours where there are conditions"
    )
    policy: str | None = None
    rho: float | None = None
    method: str | None = Field(None, description="of a generator: sft, dpo or kto")


class ScheduleChanges(BaseModel):
    """What is left out stays; null clears."""

    model_config = ConfigDict(extra="forbid")
    cron: str | None = None
    timezone: str | None = None
    when: list[str] | None = Field(None, description=_WHEN)
    days: float | None = None
    turns: int | None = None
    cooldown: float | None = None
    kind: str = "retriever"
    workspace: str | None = None
    policy: str | None = None
    rho: float | None = None
    method: str | None = Field(None, description="of a generator: sft, dpo or kto")
    paused: bool = False


@router.get("/schedules")
def schedules(node: Node) -> list[dict[str, Any]]:
    """Schedules, each with what its last firing came to."""
    return node.schedules()


@router.post("/schedules")
def add_schedule(node: Node, body: NewSchedule) -> list[dict[str, Any]]:
    """Add a schedule of retrains; all schedules."""
    return node.add_schedule(**body.model_dump())


@router.patch("/schedules/{schedule}")
def edit_schedule(node: Node, schedule: str, body: ScheduleChanges) -> list[dict[str, Any]]:
    """Change a schedule; all schedules."""
    return node.edit_schedule(schedule, body.model_dump(exclude_unset=True))


@router.delete("/schedules/{schedule}")
def remove_schedule(node: Node, schedule: str) -> list[dict[str, Any]]:
    return node.remove_schedule(schedule)


@router.post("/schedules/{schedule}/pause")
def pause_schedule(node: Node, schedule: str) -> list[dict[str, Any]]:
    """Pause, or go on."""
    return node.pause_schedule(schedule)


@router.get("/schedules/{schedule}/history")
def schedule_history(node: Node, schedule: str, limit: int = 50) -> list[dict[str, Any]]:
    """What the firings of a schedule came to, newest first."""
    return node.schedule_history(schedule, limit)
