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
        """Take examples away and what they were edited into, with the training rows that were made of them and of these
        turns; how many of either. Looked for again until there is no more: somebody may edit meanwhile."""
        wanted, taken = set(examples), set[str]()
        withdrawn, rows = 0, self.w.run_rows.withdraw([*turns])
        while more := self.w.memory.forms(wanted) - taken:
            rows += self.w.run_rows.withdraw(more)
            withdrawn += self.w.memory.withdraw(sorted(more), reason)
            taken |= more
        return withdrawn, rows

    def job(self, job: str) -> dict[str, Any]:
        return self.w.ledger.get(job)
