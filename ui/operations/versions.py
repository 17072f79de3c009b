"""Operations on old versions and copies: retention, and duplicates."""

from __future__ import annotations

from typing import Any

from ui.operations.seat import Seat

SKETCH_SECONDS = 0.5
"""How long one tick of beat makes sketches for the report of duplicates."""


class Versions(Seat):
    def retention(self, workspace: str | None = None) -> list[dict[str, Any]]:
        """The rule of a workspace, or of every workspace that has one."""
        return [self.w.keeper.policy(workspace)] if workspace is not None else self.w.keeper.policies()

    def set_retention(self, workspace: str, *, versions: int | None = None, days: int | None = None) -> dict[str, Any]:
        return self.w.keeper.set(workspace, versions, days)

    def apply_retention(self, workspace: str | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        return self.w.keeper.apply(workspace, dry_run=dry_run)

    def duplicates(self, workspace: str | None = None, threshold: float = 0.8) -> list[dict[str, Any]]:
        return self.w.near.duplicates(workspace or self.settings.workspace, threshold)

    def _tend(self) -> dict[str, int]:
        """What a tick of beat does for versions."""
        return {"expired": self.w.keeper.tick(), "sketched": self.w.near.sketch(seconds=SKETCH_SECONDS)}
