"""How schedules and their firings are told, as JSON values. It reads rows that others found, and writes none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune.tables import Firing, Run, Schedule
from finetune.triggers import Triggers
from kernel.ids import iso

OPTIONS = ("policy", "rho", "method")
"""What a schedule may ask of its runs; what it leaves open is decided when it fires."""


def schedule_json(s: Schedule, newest: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A schedule with the newest of its firings, if there is one."""
    triggers = Triggers.from_json(s.triggers)
    return {
        "schedule": s.id,
        "cron": s.cron or None,
        "timezone": s.timezone,
        "when": triggers.conditions,
        "days": triggers.days if triggers.drift is not None else None,
        "turns": triggers.turns if triggers.drift is not None else None,
        "cooldown": s.cooldown / 1000,
        "kind": s.kind,
        "workspace": s.workspace,
        **{name: s.options.get(name) for name in OPTIONS},
        "paused": bool(s.paused),
        "last": iso(s.last),
        "next": None if s.paused or not s.cron else iso(s.next),
        "last_result": newest[0]["result"] if newest else None,
        "last_run": newest[0]["run"] if newest else None,
        "seen": s.seen,
    }


def firing_json(firing: Firing, run: Run | None) -> dict[str, Any]:
    """A firing as history tells it; once its run has ended, by how that ended, and while its mix waits, by that."""
    result, message = firing.result or "starting", firing.message
    if run is not None and result == "started":
        error = run.error or {}
        ended = run.state in ("accepted", "rejected", "failed", "declined")
        told = ended or run.state == "proposed"
        result = "nothing new" if error.get("code") == "nothing_new" else run.state if told else result
        message = error.get("message") or next(iter((run.verdict or {}).get("reasons", ())), "") if ended else message
    return {
        "at": iso(firing.created),
        "due": iso(firing.due),
        "cause": firing.cause,
        "missed": firing.missed,
        "result": result,
        "message": message,
        "options": firing.options,
        "evidence": firing.evidence,
        "job": firing.job,
        "run": firing.run,
    }
