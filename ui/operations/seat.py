"""What every group of operations stands on: the wired services of this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kernel.settings import Settings
from ui.wiring import Wired


class Seat:
    """A mixin's view of the platform it is part of."""

    w: Wired

    @property
    def settings(self) -> Settings:
        return self.w.settings

    def _take_back(self, examples: Iterable[str], reason: str, turns: Iterable[str] = ()) -> tuple[int, int]:
        """Take examples away, with the training rows that were made of them and of these turns; how many of either."""
        wanted = sorted(examples)
        rows = self.w.run_rows.withdraw([*wanted, *turns])
        return self.w.memory.withdraw(wanted, reason), rows

    def job(self, job: str) -> dict[str, Any]:
        return self.w.ledger.get(job)
