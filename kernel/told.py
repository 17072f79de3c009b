"""A job as JSON: what commands print, the API returns and the web app shows."""

from __future__ import annotations

from typing import Any

from kernel.ids import iso
from kernel.pace import unbegun
from kernel.tables import Job


def as_json(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "kind": job.kind,
        "state": job.state,
        "progress": unbegun("") | job.progress,
        "result": job.result,
        "error": job.error,
        "attempt": job.attempt,
        "enqueued_by": job.enqueued_by,
        "worker": job.worker,
        "created": iso(job.created),
        "started": iso(job.started),
        "finished": iso(job.finished),
        "args": job.args,
    }


def brief(job: Job) -> dict[str, Any]:
    """A job in a list: long arguments and results are counted, not told."""

    def short(values: dict[str, Any] | None) -> dict[str, Any] | None:
        return values and {k: len(v) if isinstance(v, list | dict) else v for k, v in values.items()}

    return as_json(job) | {"args": short(job.args), "result": short(job.result)}
