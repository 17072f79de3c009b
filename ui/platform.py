"""The platform's operations: one method for each thing a person can do, JSON in and out as docs/contract.md says.

The command line, HTTP and the demo call this class; `ui.remote.Remote` has the same methods over HTTP. It holds no
logic of its own: it finds things, calls a service, and shapes the answer. The operations themselves lie by subject in
`ui.operations`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from ui import evalsuite
from ui.operations.advice import Advice
from ui.operations.asking import GUIDE, MAX_PASSAGES
from ui.operations.documents import Documents
from ui.operations.examples import STATUSES, Examples
from ui.operations.index import Index
from ui.operations.intake import so_far
from ui.operations.judging import Judging
from ui.operations.learning import KINDS
from ui.operations.lineage import Lineage
from ui.operations.merging import Merging
from ui.operations.people import People
from ui.operations.questions import Questions
from ui.operations.rehearsal import Rehearsal
from ui.operations.rejudging import Rejudging
from ui.operations.rollout import Rollout
from ui.operations.schedules import Schedules
from ui.operations.tuning import Tuning
from ui.operations.upkeep import Upkeep
from ui.operations.versions import Versions
from ui.operations.watches import Watches
from ui.wiring import Wired

__all__ = ["GUIDE", "KINDS", "MAX_PASSAGES", "STATUSES", "Platform", "dumps", "wait_for"]

log = logging.getLogger(__name__)
_LANGUAGES = 200
"""Versions of before languages were told that a tick looks at: about a second's work."""


class Platform(
    Documents, Versions, Watches, Index, Tuning, Questions, People,
    Examples, Rehearsal, Schedules, Rollout, Lineage, Merging, Advice, Judging, Rejudging, Upkeep,
):  # fmt: skip
    """All operations of one process. Safe from several threads."""

    def __init__(self, wired: Wired) -> None:
        self.w = wired
        wired.ledger.register("ingest", self._ingest_job, "ingest", so_far)
        wired.uploads.accept = self._accept
        wired.ledger.register("retrain", self._retrain_job, "train")
        self._register_examples()
        self._register_index()
        self._register_tuning()
        self._register_watches()
        self._register_rejudging()

    def evaluate(self, suite: str, k: int = 10, workspace: str | None = None) -> dict[str, Any]:
        return evalsuite.evaluate(self, suite, k, workspace)

    def tick(self) -> dict[str, Any]:
        """Beat's tick: start what is due, find what died. A part that fails is logged and named under `failed`, if one
        does, and the others are done all the same."""
        parts: dict[str, Callable[[], Any]] = {
            "scheduled": lambda: self.w.schedules.fire(self._fire),
            "recovered": self.w.epochs.recover,
            "settled": lambda: self.w.runs.settle(orphaned=False),
            "erased": lambda: self.w.delete.finish_interrupted(silent_ms=self.settings.lease_seconds * 1000),
            "looks": self._fire_looks,
            "swept": self.w.ledger.sweep,
            "uploads_expired": self.w.uploads.sweep,
            "languages_told": lambda: self.w.languages.fill(_LANGUAGES),
            "versions": self._tend,
            "index": self._tend_index,
            "tuning": self._tend_tuning,
            "topics": self._tend_topics,
            "rollout": self._tend_rollout,
        }
        told: dict[str, Any] = {}
        failed: list[str] = []
        for name, part in parts.items():
            try:
                found = part()
            except Exception:
                log.exception("the tick's part %r failed", name)
                failed.append(name)
            else:
                told |= found if isinstance(found, dict) else {} if found is None else {name: found}
        return told | ({"failed": failed} if failed else {})


def wait_for(ask: Any, seconds: float, every: float = 0.1) -> Any:
    """Call `ask` until it returns something true; None after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(every)
    return None


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
