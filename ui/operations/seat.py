"""What every group of operations stands on: the wired services of this process."""

from __future__ import annotations

from typing import Any

from kernel.settings import Settings
from ui.wiring import Wired


class Seat:
    """A mixin's view of the platform it is part of."""

    w: Wired

    @property
    def settings(self) -> Settings:
        return self.w.settings

    def job(self, job: str) -> dict[str, Any]:
        return self.w.ledger.get(job)
