"""What stands beside the gate is changed by one transaction at a time, on PostgreSQL as on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from finetune.suites import Suites
from finetune.tables import PinnedSuite
from kernel.database import Database
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
