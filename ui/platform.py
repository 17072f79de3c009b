"""The platform's operations: one method for each thing a person can do, JSON in and out as docs/contract.md says.

The command line, HTTP and the demo call this class; `ui.remote.Remote` has the same methods over HTTP. It holds no
logic of its own: it finds things, calls a service, and shapes the answer.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ingest.add import Incoming
from kernel import audit
from kernel.errors import NotFound, UserError
from kernel.ids import parse_time
from kernel.jobs import Running
from kernel.settings import Settings
from kernel.types import Progress, silent
from retrieval.live import RETRIEVER
from retrieval.search import Scope
from ui import doctor, evalsuite, transfer
from ui.wiring import Wired

log = logging.getLogger(__name__)

GUIDE = "guide"
KINDS = ("retriever", "generator")
STATUSES = ("approved", "quarantined", "retired")
MAX_PASSAGES = 50
_NEVER = 2**63


class Platform:
    """All operations of one process. Safe from several threads."""

    def __init__(self, wired: Wired) -> None:
        self.w = wired
        wired.ledger.register("ingest", self._ingest_job, "ingest")
        wired.ledger.register("retrain", self._retrain_job, "train")

    @property
    def settings(self) -> Settings:
        return self.w.settings

    # --- documents -------------------------------------------------------------------------------

    def ingest(self, files: Iterable[Incoming], progress: Progress = silent, total: int = 0) -> dict[str, Any]:
        return self.w.ingest.add(files, progress, total)

    def enqueue_ingest(self, files: Iterable[Incoming]) -> dict[str, Any]:
        """Accept files for a job: their bytes are safe, and the job in the ledger, when this returns."""
        taken = [_ticket(file) | {"blob": self.w.blobs.put(file.content)} for file in files]
        if not taken:
            raise UserError("no file was sent", hint="send at least one, as multipart field `files`")
        workspace = taken[0]["workspace"]
        return self.job(self.w.ledger.enqueue("ingest", {"files": taken}, key=f"ingest:{workspace}"))

    def documents(self, workspace: str | None = None) -> list[dict[str, Any]]:
        return self.w.library.documents(workspace)

    def history(self, doc: str) -> list[dict[str, Any]]:
        return self.w.library.history(doc)

    def diff(self, doc: str, a: int, b: int) -> dict[str, Any]:
        return self.w.library.diff(doc, _number(a), _number(b))

    def text(self, doc: str, version: int | None = None) -> dict[str, Any]:
        return self.w.library.text(doc, _number(version))

    def original(self, doc: str, version: int | None = None) -> tuple[str, str, bytes]:
        """(file name, media type, bytes) of a version as it came in."""
        document, found, content = self.w.library.original(doc, _number(version))
        return Path(document.name).name, found.media_type, content

    def restore(self, doc: str, version: int) -> dict[str, Any]:
        document, found, content = self.w.library.original(doc, _number(version))
        return self.w.ingest.restore(document, found, content)

    def delete(self, doc: str) -> dict[str, Any]:
        return self.w.delete.delete(doc)

    def changes(self, since: int) -> list[dict[str, Any]]:
        if not 0 <= since < _NEVER:
            raise UserError(f"epoch {since} is not one", hint="give 0 for everything, or an epoch seen before")
        return self.w.library.changes(since)

    # --- questions -------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        as_of: str | None = None,
        epoch: int | None = None,
        document: str | None = None,
        workspace: str | None = None,
    ) -> dict[str, Any]:
        scope, workspace = self._scope(as_of, epoch, document, workspace)
        found = self.w.search.search(query, k, scope)
        hits = [
            {
                "rank": p.rank,
                "score": p.score,
                "chunk": p.chunk,
                "document": p.document,
                "name": p.name,
                "title": p.title,
                "version": p.version,
                "page": p.page,
                "heading": p.heading,
                "start": p.start,
                "end": p.end,
                "text": p.text,
            }
            for p in found.passages
        ]
        return {
            "hits": hits,
            "epoch": found.when.epoch,
            "workspace": workspace,
            "adapter": found.adapter,
            "ms": found.ms,
        }

    def ask(
        self,
        question: str,
        k: int | None = None,
        *,
        as_of: str | None = None,
        epoch: int | None = None,
        document: str | None = None,
        workspace: str | None = None,
        generator: str | None = None,
    ) -> dict[str, Any]:
        if k is not None and not 1 <= k <= MAX_PASSAGES:
            raise UserError(f"k is {k}", hint=f"give 1 to {MAX_PASSAGES}: passages an answer is made from")
        scope, workspace = self._scope(as_of, epoch, document, workspace)
        return self.w.answerer.ask(question, scope, workspace=workspace, k=k, generator=generator)

    def turns(self, limit: int = 50) -> list[dict[str, Any]]:
        return self.w.turns.listing(limit)

    def feedback(self, turn: str, vote: str, correction: str | None = None) -> dict[str, Any]:
        found = self.w.turns.get(turn)
        feedback = self.w.turns.vote(turn, vote, correction)
        example = self.w.memory.from_turn(found, vote, correction)
        return {"feedback": feedback, "example": example, "status": self.w.memory.status(example) if example else None}

    # --- examples and rehearsal ------------------------------------------------------------------

    def import_examples(
        self, content: str, slice_name: str | None = None, workspace: str | None = None
    ) -> dict[str, Any]:
        return self.w.memory.import_jsonl(content, workspace or self.settings.workspace, slice_name)

    def examples(self, status: str | None = None, workspace: str | None = None) -> list[dict[str, Any]]:
        if status is not None and status not in STATUSES:
            raise UserError(f"no status {status!r}", hint=f"there are: {', '.join(STATUSES)}")
        return self.w.memory.listing(status, workspace)

    def export_examples(self) -> Iterator[str]:
        return self.w.memory.export_jsonl()

    def retire_example(self, example: str) -> dict[str, Any]:
        return self.w.memory.retire(example)

    def preview(
        self,
        kind: str = RETRIEVER,
        policy: str | None = None,
        rho: float | None = None,
        seed: int = 0,
        workspace: str | None = None,
    ) -> dict[str, Any]:
        return self.w.retrainer.preview(
            kind, policy=policy or "mixed", rho=self._rho(rho), seed=seed, workspace=workspace
        )

    # --- adapters --------------------------------------------------------------------------------

    def retrain(self, progress: Progress = silent, **options: Any) -> dict[str, Any]:
        """Run a retrain here and now, to its verdict."""
        return self.w.retrainer.run(self.request_run(**options), progress)

    def enqueue_retrain(self, by: str = "person", **options: Any) -> dict[str, Any]:
        run = self.request_run(**options)
        return self.job(self.w.ledger.enqueue("retrain", {"run": run}, key="retrain", by=by)) | {"run": run}

    def request_run(
        self,
        kind: str = RETRIEVER,
        policy: str | None = None,
        rho: float | None = None,
        seed: int = 0,
        workspace: str | None = None,
        control: str | None = None,
    ) -> str:
        return self.w.retrainer.request(
            kind,
            policy=policy or "mixed",
            rho=self._rho(rho),
            seed=seed,
            workspace=workspace,
            control=control,
        )

    def run(self, run: str) -> dict[str, Any]:
        return self.w.runs.result(run)

    def runs(self) -> list[dict[str, Any]]:
        return self.w.runs.listing()

    def mix(self, run: str) -> dict[str, Any]:
        return self.w.runs.manifest(run)

    def gate(self, run: str) -> dict[str, Any]:
        return self.w.runs.verdict(run)

    def adapters(self) -> list[dict[str, Any]]:
        return self.w.registry.listing()

    def promote(self, adapter: str, override: str | None = None) -> dict[str, Any]:
        return self.w.registry.promote(adapter, override=override)

    def rollback(self, kind: str = RETRIEVER) -> dict[str, Any]:
        return self.w.registry.rollback(_kind(kind))

    def schedules(self) -> list[dict[str, Any]]:
        return self.w.schedules.listing()

    def add_schedule(self, cron: str, kind: str = RETRIEVER, workspace: str | None = None) -> list[dict[str, Any]]:
        return self.w.schedules.add(cron, _kind(kind), workspace)

    def remove_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self.w.schedules.remove(schedule)

    def pause_schedule(self, schedule: str) -> list[dict[str, Any]]:
        return self.w.schedules.pause(schedule)

    # --- jobs, health, the rest ------------------------------------------------------------------

    def job(self, job: str) -> dict[str, Any]:
        return self.w.ledger.get(job)

    def jobs(self, limit: int = 100) -> list[dict[str, Any]]:
        return self.w.ledger.listing(limit)

    def cancel_job(self, job: str) -> dict[str, Any]:
        return self.w.ledger.cancel(job)

    def retry_job(self, job: str) -> dict[str, Any]:
        return self.w.ledger.retry(job)

    def evaluate(self, suite: str, k: int = 10, workspace: str | None = None) -> dict[str, Any]:
        return evalsuite.evaluate(self, suite, k, workspace)

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
            "embedder": self.settings.embedder,
            "generator": self.settings.generator,
            "profile": "embedded" if self.settings.embedded else "cluster",
            "trouble": self.w.live.trouble,
        }

    # --- what workers do -------------------------------------------------------------------------

    def tick(self) -> dict[str, Any]:
        """Beat's tick: start what is due, find what died."""
        jobs = self.w.schedules.fire(self._fire)
        recovered = self.w.epochs.recover()
        return {"scheduled": [job for job in jobs if job], "swept": self.w.ledger.sweep(), **recovered}

    def _fire(self, schedule: Any) -> str:
        """Start what a schedule asks for; its job, or nothing where there is nothing to train on: others wait too."""
        try:
            asked = self.enqueue_retrain("beat", kind=schedule.kind, workspace=schedule.workspace, **schedule.options)
        except UserError as error:
            log.warning("schedule %s starts nothing: %s", schedule.id, error.message)
            return ""
        return str(asked["job"])

    def _ingest_job(self, running: Running) -> dict[str, Any]:
        tickets = running.args["files"]

        def files() -> Iterator[Incoming]:
            for ticket in tickets:
                fields = {name: value for name, value in ticket.items() if name != "blob"}
                yield Incoming(content=self.w.blobs.get(ticket["blob"]), **fields)

        return self.ingest(files(), running.progress, total=len(tickets))

    def _retrain_job(self, running: Running) -> dict[str, Any]:
        return self.w.retrainer.run(running.args["run"], running.progress)

    def _scope(
        self, as_of: str | None, epoch: int | None, document: str | None, workspace: str | None
    ) -> tuple[Scope, str]:
        if as_of is not None and epoch is not None:
            raise UserError("both --as-of and --epoch were given", hint="give one: a time in the world, or an epoch")
        chosen = workspace or self._default_workspace()
        doc = None
        if document is not None:
            found = self.w.library.find(document, workspace)
            doc, chosen = found.id, found.workspace
        when = None
        if as_of is not None or epoch is not None:
            when = self.w.search.when(parse_time(as_of) if as_of else None, epoch)
        return Scope(workspace=chosen, document=doc, when=when), chosen

    def _default_workspace(self) -> str:
        """The settings' workspace; while that is empty, the guide, so that a first question has something to find."""
        mine = self.settings.workspace
        return GUIDE if self.w.library.empty(mine) and not self.w.library.empty(GUIDE) else mine

    def _rho(self, rho: float | None) -> float:
        rho = self.settings.rho if rho is None else rho
        if not 0 <= rho <= 0.9:
            raise UserError(f"rho is {rho}", hint="the replay ratio is a share from 0 to 0.9; .2 is usual")
        return rho


def _number(version: int | None) -> Any:
    """A version's number as it came in. Zero is no version, and must not pass for `the live one`."""
    if version is not None and not 1 <= version < 2**31:
        raise NotFound(f"no version {version}", hint="versions count from 1; `reprise history DOC` lists them")
    return version


def _kind(kind: str) -> str:
    if kind not in KINDS:
        raise UserError(f"no kind {kind!r}", hint=f"give {' or '.join(KINDS)}")
    return kind


def _ticket(file: Incoming) -> dict[str, Any]:
    return {
        "path": file.path,
        "name": file.name,
        "source": file.source,
        "workspace": file.workspace,
        "at": file.at,
        "explicit": file.explicit,
    }


def wait_for(ask: Any, seconds: float, every: float = 0.1) -> Any:
    """Call `ask` until it returns something true; None after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(every)
    return None


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
