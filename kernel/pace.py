"""How fast a long piece of work goes and when it may end, from what it reports: (stage, done, total).

The rate is measured over a sliding window, or since the count began where that is shorter. It knows nothing of jobs:
the ledger and the command line use it alike.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from kernel.ids import iso, now_ms

_WINDOW_SECONDS = 60.0
_SOONEST_SECONDS = 0.5
"""A rate measured over less than this says nothing."""


def unbegun(stage: str) -> dict[str, Any]:
    """The progress of something that has not begun."""
    return {"stage": stage, "done": 0, "total": 0, "rate": None, "eta_seconds": None, "started": None, "item": None}


class Pace:
    """One piece of work's progress. Not safe from several threads.

    `done` never falls while one thing is counted. A new stage that starts lower, with another total, counts another
    thing: then the measure begins anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: set[str] = set()
        self._done = self._total = 0
        self._seen: deque[tuple[float, int]] = deque()
        """(when, how many were done), at each change."""
        self._started = now_ms()

    def tell(self, stage: str, done: int, total: int, item: str | None = None) -> dict[str, Any]:
        """Take a report; progress as JSON: `rate` in items per second, `eta_seconds`, null while unknown."""
        if done < self._done and stage not in self._stages and total != self._total:
            self._begin()
        self._stages.add(stage)
        self._done, self._total = max(done, self._done), total
        now = self._clock()
        if not self._seen or self._done > self._seen[-1][1]:
            self._seen.append((now, self._done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW_SECONDS:
            self._seen.popleft()
        rate = self._rate(now)
        left = max(0, total - self._done)
        return {
            "stage": stage,
            "done": self._done,
            "total": total,
            "rate": None if rate is None else round(rate, 3),
            "eta_seconds": round(left / rate, 1) if rate and total else None,
            "started": iso(self._started),
            "item": item,
        }

    def _begin(self) -> None:
        self._done = self._total = 0
        self._seen.clear()
        self._started = now_ms()

    def _rate(self, now: float) -> float | None:
        first, before = self._seen[0]
        seconds = now - first  # up to now, not to the last change: a rate sinks while nothing gets done
        return (self._done - before) / seconds if self._done > before and seconds >= _SOONEST_SECONDS else None


def people(progress: dict[str, Any]) -> str:
    """Progress in one line: `embedding 12/80 · 3.1/s · 22 s left · handbook.pdf`."""
    done, total, rate, eta = (progress.get(name) for name in ("done", "total", "rate", "eta_seconds"))
    count = f"{progress['stage']} {done}/{total}" if total and done != total else f"{progress['stage']} {done or ''}"
    parts = [count.strip()]
    if rate:
        parts.append(f"{rate:.1f}/s" if rate >= 0.1 else f"{rate * 60:.1f}/min")
    if eta is not None and done != total:
        parts.append(f"{_duration(eta)} left")
    if progress.get("item"):
        parts.append(str(progress["item"]))
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    whole = math.ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
