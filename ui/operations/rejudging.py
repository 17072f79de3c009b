"""Operations of judging a run again, against what serves today. A job of a running node, or done here and now."""

from __future__ import annotations

from typing import Any

from kernel.jobs import Running
from kernel.types import Progress, silent
from ui.operations.seat import Seat

_KIND = "rejudge"


class Rejudging(Seat):
    def rejudge(self, run: str, progress: Progress = silent) -> dict[str, Any]:
        """Judge a run again here and now; the run with its new verdict."""
        return self.w.rejudging.run(run, progress)

    def enqueue_rejudge(self, run: str, by: str = "person") -> dict[str, Any]:
        """A job of it, and its run. One at a time with retrains, which evaluate as well."""
        self.w.rejudging.check(run)
        return self.job(self.w.ledger.enqueue(_KIND, {"run": run}, keys=["retrain"], by=by)) | {"run": run}

    # --- a node's part ---------------------------------------------------------------------------

    def _register_rejudging(self) -> None:
        self.w.ledger.register(_KIND, self._rejudge_job, "train")

    def _rejudge_job(self, running: Running) -> dict[str, Any]:
        return self.w.rejudging.run(running.args["run"], running.progress)
