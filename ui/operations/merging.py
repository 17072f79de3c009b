"""Operations of merging adapters: a run like a retrain, to the same verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune.kinds import Options
from finetune.merge import Merge
from kernel.types import Progress, silent
from ui.operations.learning import Learning, seed_of


class Merging(Learning):
    def merge(self, adapters: Sequence[str], progress: Progress = silent, **how: Any) -> dict[str, Any]:
        """Merge here and now, to the verdict."""
        return self.w.retrainer.run(self._request(adapters, **how), progress)

    def enqueue_merge(self, adapters: Sequence[str], by: str = "person", **how: Any) -> dict[str, Any]:
        """A job of it, and its run."""
        return self._enqueue_run(self._request(adapters, **how), by)

    def _request(
        self,
        adapters: Sequence[str],
        method: str | None = None,
        weights: Sequence[float] | None = None,
        rank: int | None = None,
        density: float | None = None,
        seed: int = 0,
        workspace: str | None = None,
    ) -> str:
        settings = {"weights": list(weights) if weights else None, "rank": rank, "density": density}
        given = {name: value for name, value in settings.items() if value is not None}
        options = Options(
            policy="mixed",
            rho=self.settings.rho,
            seed=seed_of(seed),
            method=method or "cat",
            merged=tuple(adapters),
            recipe=given,
        )
        Merge.of(options.merged, options.method, options.recipe, seed)  # what makes no sense is told before any name
        return self.w.retrainer.request(self.w.registry.kind_of(adapters), options, workspace)
