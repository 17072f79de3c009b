"""Operations of examples: they come in, are made from documents, are decided about, edited, sorted, and looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select

from kernel.errors import UserError
from kernel.jobs import Running
from kernel.tables import Job
from kernel.types import Progress, silent
from rehearsal.generate import LIMIT
from rehearsal.rows import SPLITS
from ui.operations.seat import Seat

STATUSES = ("approved", "quarantined", "retired")
_GENERATE, _CLUSTER = "examples-generate", "examples-cluster"
_EVERY_SECONDS = 300.0


class Examples(Seat):
    _topics_looked = float("-inf")

    def import_examples(
        self, content: str, slice_name: str | None = None, workspace: str | None = None
    ) -> dict[str, Any]:
        return self.w.memory.import_rows(content, workspace or self.settings.workspace, slice_name)

    def export_examples(self) -> Iterator[str]:
        return self.w.memory.export_jsonl()

    def examples(
        self,
        status: str | None = None,
        workspace: str | None = None,
        *,
        slice_name: str | None = None,
        origin: str | None = None,
        split: str | None = None,
        cluster: str | None = None,
        text: str | None = None,
    ) -> list[dict[str, Any]]:
        if status is not None and status not in STATUSES:
            raise UserError(f"no status {status!r}", hint=f"there are: {', '.join(STATUSES)}")
        if split is not None and split not in SPLITS:
            raise UserError(f"no split {split!r}", hint=f"there are: {', '.join(SPLITS)}")
        return self.w.memory.listing(
            status, workspace, slice_name=slice_name, origin=origin, split=split, cluster=cluster, text=text
        )

    def example_history(self, example: str) -> list[dict[str, Any]]:
        return self.w.memory.history(example)

    def example_slices(self, workspace: str | None = None) -> list[dict[str, Any]]:
        """What examples are counted in: by workspace, slice or topic, and where they come from."""
        return self.w.topics.listing(workspace)

    # --- deciding --------------------------------------------------------------------------------

    def approve_examples(self, examples: Sequence[str]) -> list[dict[str, Any]]:
        return self.w.vetting.approve(examples)

    def quarantine_examples(self, examples: Sequence[str], reason: str = "") -> list[dict[str, Any]]:
        return self.w.vetting.quarantine(examples, reason)

    def retire_examples(self, examples: Sequence[str], reason: str = "") -> list[dict[str, Any]]:
        return self.w.vetting.retire(examples, reason)

    def retire_example(self, example: str) -> dict[str, Any]:
        return self.retire_examples([example])[0]

    def edit_example(self, example: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Fields as in an import row; only those that are given change."""
        return self.w.editing.edit(example, changes)

    # --- making and sorting ----------------------------------------------------------------------

    def generate_examples(
        self,
        documents: Sequence[str] = (),
        workspace: str | None = None,
        limit: int | None = None,
        hold: bool = False,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """Make examples from documents here and now."""
        where = workspace or self.settings.workspace
        most = LIMIT if limit is None else limit
        return self.w.generation.run(documents, where, most, hold=hold, progress=progress)

    def enqueue_generate(
        self,
        documents: Sequence[str] = (),
        workspace: str | None = None,
        limit: int | None = None,
        hold: bool = False,
        by: str = "person",
    ) -> dict[str, Any]:
        where = workspace or self.settings.workspace
        if limit is not None and limit < 1:
            raise UserError(f"limit is {limit}", hint="give the number of examples to make, 1 or more")
        self.w.generation.named(documents, where)  # or there is none of a name, which a job would say later
        args = {"documents": list(documents), "workspace": where, "limit": limit, "hold": hold}
        return self.job(self.w.ledger.enqueue(_GENERATE, args, keys=[f"{_GENERATE}:{where}"], by=by))

    def cluster_examples(self, workspace: str | None = None, progress: Progress = silent) -> dict[str, Any]:
        """Sort examples into topics, of one workspace or of each."""
        progress("sorting into topics", 0, 0)
        return self.w.topics.find(workspace)

    def enqueue_cluster(self, workspace: str | None = None, by: str = "person") -> dict[str, Any]:
        return self.job(self.w.ledger.enqueue(_CLUSTER, {"workspace": workspace}, keys=[_CLUSTER], by=by))

    # --- a node's part ---------------------------------------------------------------------------

    def _register_examples(self) -> None:
        self.w.ledger.register(_GENERATE, self._generate_job, "ingest")
        self.w.ledger.register(_CLUSTER, self._cluster_job, "ingest")

    def _tend_topics(self) -> dict[str, Any]:
        """What a tick of beat does: sort what came in since the last time and has no topic, where it is enough."""
        if time.monotonic() - self._topics_looked < _EVERY_SECONDS:
            return {}
        self._topics_looked = time.monotonic()
        with self.w.db.read() as session:
            last = session.scalar(select(func.max(Job.created)).where(Job.kind == _CLUSTER)) or 0
        jobs = [str(self.enqueue_cluster(workspace, "beat")["job"]) for workspace in self.w.topics.due(last)]
        return {"sort": jobs} if jobs else {}

    def _generate_job(self, running: Running) -> dict[str, Any]:
        return self.generate_examples(**running.args, progress=running.progress)

    def _cluster_job(self, running: Running) -> dict[str, Any]:
        return self.cluster_examples(running.args["workspace"], running.progress)
