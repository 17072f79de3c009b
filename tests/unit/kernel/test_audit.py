"""The audit log: a chain that shows when somebody touched it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from kernel.audit import entries, intact, record
from kernel.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'reprise.db'}")
    for number in range(5):
        with opened.write() as session:
            record(session, "promote", f"adapter-{number}", "ada", reason="better", gain=0.5, rows=[1, None])
    yield opened
    opened.close()


def is_intact(db: Database) -> bool:
    with db.read() as session:
        return intact(session)


def test_entries_come_newest_first_and_whole(db: Database) -> None:
    with db.read() as session:
        found = entries(session, 2)
    assert [e["seq"] for e in found] == [5, 4]
    assert found[0]["subject"] == "adapter-4"
    assert found[0]["detail"] == {"reason": "better", "gain": 0.5, "rows": [1, None]}
    assert is_intact(db)


def test_an_entry_stands_exactly_if_what_it_reports_was_committed(db: Database) -> None:
    def fail() -> None:
        with db.write() as session:
            record(session, "promote", "never")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    with db.read() as session:
        assert len(entries(session)) == 5
    assert is_intact(db)


@pytest.mark.parametrize(
    "touch",
    [
        "UPDATE audit SET subject = 'adapter-9' WHERE seq = 3",
        "UPDATE audit SET at = at + 1 WHERE seq = 1",
        "UPDATE audit SET actor = 'eve' WHERE seq = 5",
        "UPDATE audit SET detail = '{}' WHERE seq = 2",
        "UPDATE audit SET hash = previous WHERE seq = 4",
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 3",
        "UPDATE audit SET seq = 9 WHERE seq = 5",
    ],
)
def test_tampering_shows(db: Database, touch: str) -> None:
    with db.write() as session:
        session.execute(text(touch))
    assert not is_intact(db)


def test_an_empty_log_is_intact(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'other.db'}")
    assert is_intact(empty)
    empty.close()
