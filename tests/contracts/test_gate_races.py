"""What stands beside the gate is changed by one transaction at a time, on PostgreSQL as on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select

from finetune.approval import Approvals
from finetune.forgetting import Forgetting
from finetune.gate import Verdict
from finetune.judging import Judged
from finetune.policies import GatePolicies
from finetune.policy import GatePolicy
from finetune.rejudge import Rejudging
from finetune.runs import Runs
from finetune.suites import Suites
from finetune.tables import Adapter, Approval, Figure, PinnedSuite, Run
from kernel.database import Database
from kernel.types import silent
from tests.racing import meet

pytestmark = pytest.mark.cluster
Fake: Any = SimpleNamespace


@pytest.fixture
def db(fresh_postgres: Callable[[], str]) -> Iterator[Database]:
    opened = Database(fresh_postgres())
    yield opened
    opened.close()


def test_of_two_deletes_at_once_neither_brings_back_the_suite_rows_of_the_other(db: Database) -> None:
    rows = [{"question": name, "relevant": [{"document": name}]} for name in ("one", "two", "three")]
    with db.write() as session:
        session.add(PinnedSuite(name="contracts", workspace="w", rows=rows, by="", created=0))
    suites = Suites(db, Fake())
    meet(db, lambda: suites.erase("one", ()), "FROM suites", lambda: suites.erase("two", ()))
    with db.read() as session:
        assert [row["question"] for row in session.get_one(PinnedSuite, "contracts").rows] == ["three"]


def test_of_two_changes_of_a_policy_at_once_none_is_lost(db: Database) -> None:
    policies = GatePolicies(db)
    for _ in range(2):  # the first time there is no row
        meet(
            db,
            lambda: policies.set("retriever", {"tolerance": 0.02}),
            "FROM gate_policies",
            lambda: policies.set("retriever", {"led": 5}),
        )
        assert policies.show("retriever")["set"] == {"tolerance": 0.02, "led": 5}
        policies.set("retriever", {}, reset=True)


def test_two_who_ask_at_once_what_was_forgotten_are_both_answered(db: Database, tmp_path: Path) -> None:
    def matrix() -> dict[str, Any]:
        return Forgetting(db, Fake(committed=lambda: 1), Fake(lineage=lambda kind: []), tmp_path,
                          {"retriever": scorer}).show("retriever")  # fmt: skip

    asked = [Fake(example=f"e{n}", slice="general") for n in range(3)]
    figures = {"ndcg@10": {q.example: 0.5 for q in asked}}
    scorer = Fake(
        metric=lambda served: "ndcg@10",
        base=lambda: "base@1",
        questions=lambda workspace, when: asked,
        kept_as=lambda question, metric: metric,
        scored=lambda questions, models, when: iter([("base@1", figures)]),
    )
    meet(db, matrix, "DELETE FROM figures", matrix)
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(Figure)) == 3


def test_an_approval_of_the_old_verdict_does_not_survive_a_new_one(db: Database, tmp_path: Path) -> None:
    (folder := tmp_path / "runs" / "run-1").mkdir(parents=True)
    (folder / "manifest.json").write_text('{"rows": []}')
    old = {"accepted": True, "approval": True, "reasons": [], "slices": []}
    with db.write() as session:
        session.add(
            Run(
                id="run-1", kind="retriever", state="accepted", workspace=None, options={}, adapter="a", parent=None,
                epoch=1, metrics={}, verdict=old, error=None, created=0, finished=1,
            )
        )  # fmt: skip
        session.add(
            Adapter(
                name="a", kind="retriever", state="candidate", parent=None, run="run-1", path="a", accepted=1,
                share=0.0, created=0,
            )
        )  # fmt: skip
    verdict = Verdict(accepted=True, reasons=["passed: again"], slices=[], approval=True)
    judged = Judged(verdict=verdict, metrics={}, policy=GatePolicy())
    kinds = {"retriever": Fake(parent=lambda: None, finish=lambda run: None)}
    judge, cards = Fake(judge=lambda row, folder, progress: judged), Fake(write=lambda adapter: None)
    rejudging = Rejudging(db, Runs(db, tmp_path), kinds, judge, cards)
    approvals = Approvals(db, lambda session, adapter: None)

    meet(
        db,
        lambda: approvals.approve("a", None, "somebody"),
        "FROM adapters",
        lambda: rejudging.run("run-1", silent),
    )
    with db.read() as session:
        assert session.get_one(Run, "run-1").verdict["reasons"] == ["passed: again"]  # type: ignore[index]
        assert session.get(Approval, "a") is None
