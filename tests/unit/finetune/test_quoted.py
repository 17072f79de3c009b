"""Of a deleted document no name stays in what is kept of a verdict, whatever its name was when that was given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.quoted import QUOTED, Quoted, note
from finetune.tables import Run
from ingest.tables import Document
from kernel.database import Database
from kernel.tables import Job

LED = "refused: 4 questions are newly led to 'attack.md', which is wrong for them, 4 of which had the right document"
PULLED = "passed: questions whose most similar rows name 'other.md', which is wrong for them: -0.010 on 6 questions"
SLICE = "passed: old slice 'attack.md': +0.000 on 20 questions"
VERDICT = {"accepted": False, "reasons": [LED, PULLED, SLICE], "slices": []}
NAMES = {"doc-1": "attack.md", "doc-2": "other.md", "doc-3": "never quoted.md"}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'reprise.db'}")
    yield opened
    opened.close()


@pytest.fixture
def folder(db: Database, tmp_path: Path) -> Path:
    """Of a run that was judged twice, and whose job has ended."""
    (folder := tmp_path / "runs" / "run-1").mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"verdict": VERDICT, "metrics": {}, "earlier": [VERDICT]}))
    with db.write() as session:
        session.add(
            Run(
                id="run-1", kind="retriever", state="rejected", workspace=None, options={}, adapter=None, parent=None,
                epoch=1, metrics={}, verdict=VERDICT, error=None, created=0, finished=1,
            )
        )  # fmt: skip
        session.add(
            Job(
                id="job-1", serial=1, kind="retrain", keys=[], queue="train", args={"run": "run-1"}, state="done",
                attempt=1, attempts=3, cancel=0, progress={}, result={"run": "run-1", "verdict": VERDICT}, error=None,
                enqueued_by="", worker=None, heartbeat=None, created=0, started=0, finished=1,
            )
        )  # fmt: skip
        session.add_all(_document(id, "renamed.md" if id == "doc-1" else name) for id, name in NAMES.items())
    return folder


def test_the_name_that_a_verdict_quotes_goes_from_all_that_is_kept_of_it(db: Database, folder: Path) -> None:
    note(folder, NAMES, VERDICT["reasons"])  # type: ignore[arg-type]
    assert "never quoted" not in (folder / QUOTED).read_text()
    quoted = Quoted(db, folder.parent.parent)
    for _ in range(2):  # it may have died in between
        quoted.forget("doc-1")
        for told in _kept(db, folder):
            assert told[0].startswith("refused: 4 questions are newly led to 'doc-1' (deleted), which is wrong")
            assert told[1:] == [PULLED, SLICE]  # of another document, and a slice that somebody called so
    assert "attack.md" not in (folder / QUOTED).read_text()
    assert quoted.forget("doc-3") == []


def test_a_run_that_noted_no_names_is_asked_for_the_name_of_today(db: Database, folder: Path) -> None:
    quoted = Quoted(db, folder.parent.parent)
    assert quoted.forget("doc-1") == []  # it has another name by now, and nobody knows which it was
    assert quoted.forget("doc-2") == ["run-1"]
    assert {told[1].partition(",")[0] for told in _kept(db, folder)} == {
        "passed: questions whose most similar rows name 'doc-2' (deleted)"
    }
    assert quoted.forget("doc-2") == ["run-1"]  # so that its card is written, if somebody died before that


def test_what_was_deleted_while_a_run_was_judged_is_found_afterwards(db: Database, folder: Path) -> None:
    note(folder, NAMES, VERDICT["reasons"])  # type: ignore[arg-type]
    quoted = Quoted(db, folder.parent.parent)
    quoted.catch_up("run-1")
    assert _kept(db, folder) == [VERDICT["reasons"]] * 4
    with db.write() as session:
        session.get_one(Document, "doc-2").state = "deleting"
    quoted.catch_up("run-1")
    assert {told[1].partition(",")[0] for told in _kept(db, folder)} == {
        "passed: questions whose most similar rows name 'doc-2' (deleted)"
    }


def _kept(db: Database, folder: Path) -> list[list[str]]:
    """The reasons in the row, in the report, in the earlier verdict there and in the job's result."""
    report = json.loads((folder / "report.json").read_text())
    with db.read() as session:
        row, job = session.get_one(Run, "run-1"), session.get_one(Job, "job-1")
        verdicts: list[Any] = [row.verdict, report["verdict"], *report["earlier"], (job.result or {})["verdict"]]
    return [verdict["reasons"] for verdict in verdicts]


def _document(id: str, name: str) -> Document:
    return Document(id=id, name=name, workspace="default", state="live", title="", source="", created=0, updated=0)
