"""Operations of tuning how a workspace's searches are fused. A job of a running node, or done here and now."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select

from kernel.jobs import ACTIVE, Running
from kernel.tables import Job
from kernel.types import Progress, silent
from ui.operations.seat import Seat

_KIND = "tune"
_EVERY_SECONDS = 300.0


class Tuning(Seat):
    _tuning_looked = float("-inf")

    def tuning(self, workspace: str | None = None) -> dict[str, Any]:
        """What serves a workspace, and what it was chosen by."""
        return self.w.tuner.show(workspace or self.settings.workspace)

    def tune(self, workspace: str | None = None, progress: Progress = silent) -> dict[str, Any]:
        """Choose by the workspace's approved training examples, judge on others of them, adopt what does not lose."""
        return self.w.tuner.run(workspace or self.settings.workspace, progress)

    def enqueue_tune(self, workspace: str | None = None, by: str = "person") -> dict[str, Any]:
        """Accept a tuning; its job, or the one that is under way."""
        chosen = workspace or self.settings.workspace
        with self.w.db.read() as session:
            active = session.scalars(select(Job).where(Job.kind == _KIND, Job.state.in_(ACTIVE))).all()
        mine = next((job.id for job in active if job.args["workspace"] == chosen), None)
        keys = [f"tune:{chosen}"]
        return self.job(mine or self.w.ledger.enqueue(_KIND, {"workspace": chosen}, keys=keys, by=by))

    # --- a node's part ---------------------------------------------------------------------------

    def _register_tuning(self) -> None:
        self.w.ledger.register(_KIND, self._tune_job, "ingest")

    def _tune_job(self, running: Running) -> dict[str, Any]:
        return self.w.tuner.run(running.args["workspace"], running.progress)

    def _tend_tuning(self) -> dict[str, Any]:
        """What a tick of beat does: tune what was never tuned, or has grown a lot since."""
        if time.monotonic() - self._tuning_looked < _EVERY_SECONDS:
            return {}
        self._tuning_looked = time.monotonic()
        jobs = [str(self.enqueue_tune(workspace, "beat")["job"]) for workspace in self.w.tuner.due()]
        return {"tune": jobs} if jobs else {}
