"""Operations on what the index is made of: its embedder, its chunks, its upkeep. Each is a job of a running node."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from kernel.blobs import require_room
from kernel.errors import Conflict
from kernel.index.replace import OPTIMIZE_FROM
from kernel.index.terms import TERMS
from kernel.jobs import ACTIVE, Running
from kernel.tables import Job
from kernel.types import Progress, silent
from ui.operations.seat import Seat
from ui.pairing import advice

_KEY = "index"
_GROWN, _DELETED = 0.5, 0.2
"""Shares of the index, since it was last maintained, that make it worth doing again."""
_EVERY_SECONDS = 60.0


class Index(Seat):
    _looked = float("-inf")
    _offered = False

    def embedder(self) -> dict[str, Any]:
        """What makes the vectors, and what is going on about that."""
        record, filling, job = self.w.replacer.serves(), self.w.replacer.filling(), self._active("reembed")
        return {
            **{key: record[key] for key in ("name", "fingerprint", "dimension", "collection")},
            "points": self.w.index.count(),
            "switching_to": filling["name"] if filling and filling["why"] == "switch" else None,
            "job": job.id if job else None,
            "progress": job.progress if job else None,
            "advice": advice(self.settings, record),
        }

    def switch_embedder(self, model: str, progress: Progress = silent) -> dict[str, Any]:
        """Make the index anew by another model, here and now; what was asked of a node before counts no more."""
        model = _named(model)
        embedder = self.w.pairing.make(model)
        _ = embedder.fingerprint  # says at once what is wrong with the model
        for kind in ("reembed", "maintain"):
            while (job := self._active(kind)) is not None:
                self.w.ledger.cancel(job.id)
        require_room(self.settings.home, self.settings.min_free_mb)
        done = self.w.replacer.run("switch", embedder, progress)
        self.w.rechunker.run(progress)  # another tokenizer cuts elsewhere, and another model may read less of a chunk
        return done

    def enqueue_switch(self, model: str) -> dict[str, Any]:
        """Accept a switch; its job.

        Raises:
            Conflict: a switch to another model is under way.
            UserError: there is no such model.
        """
        model = _named(model)
        _ = self.w.pairing.make(model).fingerprint
        active = self._active("reembed")
        if active is not None and active.args["model"] != model:
            raise Conflict(
                f"the embedder is being switched to {active.args['model']!r}",
                hint="wait for that, or `reprise embedder cancel`",
                code="switching",
            )
        job = active.id if active else self.w.ledger.enqueue("reembed", {"model": model}, keys=[_KEY])
        return self.job(job)

    def cancel_switch(self) -> dict[str, Any]:
        """Stop a switch; what was filled for it goes. What serves goes on serving."""
        cancelled: list[str] = []
        running = False
        while (job := self._active("reembed")) is not None and job.id not in cancelled:
            running |= job.state == "running"
            cancelled.append(job.id)
            self.w.ledger.cancel(job.id)
        filling = self.w.replacer.filling()
        if not running and filling is not None and filling["why"] == "switch":  # a running job drops it itself
            self.w.replacer.abandon()
        return {"cancelled": cancelled, "switching_to": filling["name"] if filling else None}

    def maintain(self, progress: Progress = silent) -> dict[str, Any]:
        """Make the index anew without what was deleted, with search structures, while it serves."""
        if not self.settings.embedded and not self._other_terms():
            return {"why": "maintain", "already": True} | self._shown()  # a server does this itself
        require_room(self.settings.home, self.settings.min_free_mb)
        return self.w.replacer.run("maintain", self.w.serving.current.embedder, progress)

    def enqueue_maintain(self, by: str = "person") -> dict[str, Any]:
        active = self._active("maintain")
        return self.job(active.id if active else self.w.ledger.enqueue("maintain", {}, keys=[_KEY], by=by))

    def rechunk(self, progress: Progress = silent) -> dict[str, Any]:
        """Publish again, with today's chunks, every document that was cut otherwise."""
        return self.w.rechunker.run(progress)

    def enqueue_rechunk(self, by: str = "person") -> dict[str, Any]:
        active = self._active("rechunk")
        return self.job(active.id if active else self.w.ledger.enqueue("rechunk", {}, keys=["rechunk"], by=by))

    # --- a node's part ---------------------------------------------------------------------------

    def _register_index(self) -> None:
        self.w.ledger.register("reembed", self._reembed_job, "ingest")
        self.w.ledger.register("maintain", self._maintain_job, "ingest")
        self.w.ledger.register("rechunk", self._rechunk_job, "ingest")

    def _reembed_job(self, running: Running) -> dict[str, Any]:
        embedder = self.w.pairing.make(running.args["model"])
        done = self.w.replacer.run("switch", embedder, running.progress, running.id)
        if self.w.rechunker.due():
            self.enqueue_rechunk("beat")
        return done

    def _maintain_job(self, running: Running) -> dict[str, Any]:
        if not self.settings.embedded and not self._other_terms():
            return self.maintain()
        return self.w.replacer.run("maintain", self.w.serving.current.embedder, running.progress, running.id)

    def _rechunk_job(self, running: Running) -> dict[str, Any]:
        return self.w.rechunker.run(running.progress)

    def _tend_index(self) -> dict[str, str]:
        """What a tick of beat does for the index: clear up after a switch, rechunk, maintain when it is worth it."""
        self.w.replacer.tidy()
        if time.monotonic() - self._looked < _EVERY_SECONDS or self._active() is not None:
            return {}
        self._looked = time.monotonic()
        if not self._offered:
            self._offered = True
            if self._other_terms():
                self._offered = False  # and look again after that, for chunks
                return {"maintain": str(self.enqueue_maintain("beat")["job"])}
            if self.w.rechunker.due():
                return {"rechunk": str(self.enqueue_rechunk("beat")["job"])}
        if self.settings.embedded and self._worth_it():
            return {"maintain": str(self.enqueue_maintain("beat")["job"])}
        return {}

    def _other_terms(self) -> bool:
        """True if the sparse vectors were made of other terms than questions ask for now."""
        return self.w.replacer.serves().get("terms") != TERMS and self.w.index.count() > 0

    def _worth_it(self) -> bool:
        points, before = self.w.index.count(), self.w.replacer.serves().get("points", 0)
        grown, deleted = points - before, self.w.index.deleted
        return points >= OPTIMIZE_FROM and (grown >= _GROWN * points or deleted >= _DELETED * points)

    def _shown(self) -> dict[str, Any]:
        record = self.w.replacer.serves()
        shown = {key: record.get(key) for key in ("name", "fingerprint", "dimension", "collection", "epoch")}
        return shown | {"points": self.w.index.count()}

    def _active(self, kind: str | None = None) -> Job | None:
        """The oldest job that is queued or running, of a kind or of any."""
        with self.w.db.read() as session:
            jobs = select(Job).where(Job.state.in_(ACTIVE)).order_by(Job.serial).limit(1)
            return session.scalars(jobs.where(Job.kind == kind) if kind else jobs).first()


def _named(model: str) -> str:
    """A model as every process of this platform finds it: a folder by its absolute path."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model
