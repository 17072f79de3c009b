"""Operations of running the platform: jobs, health, measurement, backup, and the tick that beat calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.library import needed
from kernel import audit
from kernel.database import alone
from ui import doctor, transfer
from ui.operations.seat import Seat


class Upkeep(Seat):
    def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        return self.w.ledger.listing(limit)

    def cancel_job(self, job: str) -> dict[str, Any]:
        return self.w.ledger.cancel(job)

    def retry_job(self, job: str) -> dict[str, Any]:
        return self.w.ledger.retry(job)

    def remove_job(self, job: str) -> dict[str, Any]:
        """Take a job that ended out of the ledger, and the bytes that were kept for its retry; the job as it was."""
        removed = self.w.ledger.remove(job)
        with self.w.db.write() as session:
            alone(session, "library")  # nobody stages a version of them meanwhile
            for file in removed["args"].get("files", []):
                if not needed(session, file["blob"]):
                    self.w.blobs.delete(file["blob"])
        return removed

    def audit(self) -> dict[str, Any]:
        with self.w.db.read() as session:
            return {"entries": audit.entries(session), "intact": audit.intact(session)}

    def doctor(self) -> dict[str, Any]:
        return doctor.examine(self.w)

    def backup(self, file: str) -> dict[str, Any]:
        return transfer.backup(self.w, Path(file))

    def status(self) -> dict[str, Any]:
        """What the System page shows."""
        return {
            "epoch": self.w.epochs.committed(),
            "workspace": self.settings.workspace,
            **self.w.library.counts(),
            "examples": self.w.memory.counts(),
            "points": self.w.index.count(),
            "champion": self.w.live.champion(),
            "embedder": self.w.embedder.name,
            "generator": self.settings.generator,
            "profile": "embedded" if self.settings.embedded else "cluster",
            "trouble": self.w.lending.trouble,
        }
