"""Leases: one owner at a time, and a dead owner's right passes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.database import Database
from kernel.leases import acquire, release


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'reprise.db'}")
    yield opened
    opened.close()


def test_a_lease_has_one_owner(db: Database) -> None:
    assert acquire(db, "beat", "one", 60)
    assert not acquire(db, "beat", "two", 60)
    assert acquire(db, "other", "two", 60)


def test_its_owner_renews_it(db: Database) -> None:
    assert acquire(db, "beat", "one", 60)
    assert acquire(db, "beat", "one", 60)
    assert not acquire(db, "beat", "two", 60)


def test_it_passes_on_when_it_is_given_back(db: Database) -> None:
    acquire(db, "beat", "one", 60)
    release(db, "beat", "one")
    assert acquire(db, "beat", "two", 60)


def test_it_passes_on_when_its_time_is_up_and_the_old_owner_has_lost_it(db: Database) -> None:
    acquire(db, "beat", "one", 0)
    assert acquire(db, "beat", "two", 60)
    assert not acquire(db, "beat", "one", 60)


def test_giving_back_what_is_not_ours_does_nothing(db: Database) -> None:
    acquire(db, "beat", "one", 60)
    release(db, "beat", "two")
    release(db, "nothing", "two")
    assert not acquire(db, "beat", "two", 60)
