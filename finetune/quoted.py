"""The names of documents that the reasons of a run's verdicts quote, and how a delete takes them back.

Reasons are sentences with names, and a document may have another name by the time it is deleted. So the folder of a run
says under which name its verdicts quote which document. A delete puts the id in the place of the name wherever a
verdict is kept: in the run's row, in its report with the earlier ones, in the results of its jobs. Cards are written
anew from those.

    a delete comes               the name goes
    before the verdict is kept   when its card is written, which follows every verdict
    later                        at once

A run of a release that noted none may quote a document by the name that it has when it is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Text, cast, or_, select
from sqlalchemy.orm import Session

from finetune.files import add_lines, drop_lines, read_json, read_lines, write_json
from finetune.runs import RUNS
from finetune.tables import Run
from finetune.trial import one_move
from finetune.verdict import QUOTING
from ingest.tables import Document
from kernel.database import Database, listed
from kernel.tables import Job

QUOTED = "quoted.jsonl"
"""In a run's folder: each document that its verdicts quote, with the name."""
REPORT = "report.json"
_Change = Mapping[str, str]
"""What stands in a reason to what is to stand there."""


def note(folder: Path, names: Mapping[str, str], reasons: Sequence[str]) -> None:
    """Note which of the documents in `names` (id to name) the reasons quote, before anybody keeps these."""
    found = [
        {"document": document, "name": name}
        for document, name in sorted(names.items())
        if any(said in reason for said in _said(name) for reason in reasons)
    ]
    add_lines(folder / QUOTED, found)


class Quoted:
    """Takes the names of deleted documents out of what is kept of verdicts. Repeatable."""

    def __init__(self, db: Database, home: Path) -> None:
        self._db, self._home = db, home

    def forget(self, document: str) -> list[str]:
        """Take the name of a document out of all runs; those that had it."""
        with self._db.read() as session:  # one that is being judged for the first time is left to its card
            over = or_(Run.verdict.is_not(None), Run.finished.is_not(None))
            runs = list(session.scalars(select(Run.id).where(over).order_by(Run.id)))
            row = session.get(Document, document)
        names = {document: row.name} if row is not None and row.name != document else {}
        return [run for run in runs if self._forget(run, {document}, names)]

    def catch_up(self, run: str) -> None:
        """Take the names of documents out of a run that are not live any more: of one that was deleted while it was
        judged no delete found the name."""
        quoted = {line["document"] for line in _noted(self._home / RUNS / run) or ()}
        if not quoted:
            return
        with self._db.read() as session:
            live = Document.id.in_(listed(quoted)), Document.state == "live"
            gone = quoted - set(session.scalars(select(Document.id).where(*live)))
        if gone:
            self._forget(run, gone, {})

    def _forget(self, run: str, documents: Collection[str], names: Mapping[str, str]) -> bool:
        """Whether a run quotes one of these, or did. Of one that noted nothing, by these names."""
        folder = self._home / RUNS / run
        noted = _noted(folder)
        quoted = [(line["document"], line["name"]) for line in noted or () if line["document"] in documents]
        change = dict(
            pair
            for document, name in (quoted if noted is not None else names.items())
            for pair in zip(_said(name), _said(document, " (deleted)"), strict=True)
        )
        if not change or not (quoted or self._quotes(run, folder, change)):
            return False
        with self._db.write() as session:
            one_move(session)  # whoever judges a run again notes and writes as one move, too
            _replace(session, run, folder, change)
            drop_lines(folder / QUOTED, lambda line: line["document"] in documents)  # last: until then it is done again
        return True

    def _quotes(self, run: str, folder: Path, change: _Change) -> bool:
        """Whether something that is to change stands in a verdict, or did."""
        with self._db.read() as session:
            reasons = list(_reasons(session.get_one(Run, run).verdict, _report(folder)))
        return any(said in reason for of in change.items() for said in of for reason in reasons)


def _replace(session: Session, run: str, folder: Path, change: _Change) -> None:
    """Change what is kept of a run's verdicts, in the caller's transaction."""
    row = session.get_one(Run, run, with_for_update=True)
    row.verdict = _changed(row.verdict, change)
    if told := _report(folder):
        earlier = {"earlier": [_changed(v, change) for v in told["earlier"]]} if "earlier" in told else {}
        write_json(folder / REPORT, told | {"verdict": _changed(told["verdict"], change)} | earlier)
    for job in session.scalars(select(Job).where(cast(Job.result, Text).contains(run)).with_for_update()):
        if isinstance(job.result, dict) and "verdict" in job.result:
            job.result = job.result | {"verdict": _changed(job.result["verdict"], change)}


def _report(folder: Path) -> dict[str, Any]:
    file = folder / REPORT
    return dict(read_json(file)) if file.is_file() else {}


def _noted(folder: Path) -> list[dict[str, str]] | None:
    file = folder / QUOTED
    return read_lines(file) if file.is_file() else None


def _said(name: str, more: str = "") -> list[str]:
    """How reasons quote a name."""
    return [f"{before} {name!r}{more}" for before in QUOTING]


def _reasons(verdict: Any, report: Mapping[str, Any]) -> Iterator[str]:
    for told in (verdict, report.get("verdict"), *report.get("earlier", ())):
        yield from (told or {}).get("reasons", ())


def _changed(verdict: Any, change: _Change) -> Any:
    if not verdict:
        return verdict
    return verdict | {"reasons": [_reason(reason, change) for reason in verdict["reasons"]]}


def _reason(reason: str, change: _Change) -> str:
    for old, new in change.items():
        reason = reason.replace(old, new)
    return reason
