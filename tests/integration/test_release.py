"""A release of many files becomes visible together, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.tables import Version
from kernel.errors import RepriseError
from tests.house import House, incoming, page

pytestmark = pytest.mark.integration

MANY = 150
"""More than share a flip by themselves."""


def texts(number: int, word: str = "first") -> str:
    return page(f"Page {number}", {"Rule": f"The {word} rule of page {number} holds."})


def test_a_release_of_many_files_has_one_epoch(tmp_path: Path) -> None:
    with House(tmp_path / "home") as house:
        house.ingest.add([incoming(f"{n}.md", texts(n)) for n in range(MANY)])
        apart = house.epochs.committed()
        assert apart > 1, "so many files are several batches, or this test shows nothing"
        seen: list[int] = []
        house.ingest.step = lambda _name: seen.append(house.epochs.committed())
        files = [incoming(f"{n}.md", texts(n, "second")) for n in range(MANY)]
        result = house.ingest.add(files, together=True)
        assert {row["status"] for row in result["documents"]} == {"published"}
        assert [row["name"] for row in result["documents"]] == [f"{n}.md" for n in range(MANY)]
        assert set(seen) == {apart}, "part of the release was visible before the rest"
        assert result["epoch"] == apart + 1
        for row in result["documents"]:
            assert list(house.shown(row["document"])) == [2]


def test_a_refused_file_does_not_stop_a_release(tmp_path: Path) -> None:
    with House(tmp_path / "home") as house:
        files = [incoming("a.md", "# A\n\nGood."), incoming("b.md", b""), incoming("a.md", "# A\n\nTwice.")]
        rows = house.ingest.add([*files, incoming("c.md", "# C\n\nGood.")], together=True)["documents"]
        assert [row["status"] for row in rows] == ["published", "refused", "refused", "published"]
        assert [row["error"] and row["error"]["code"] for row in rows] == [None, "empty_file", "twice_in_release", None]
        assert house.epochs.committed() == 1


def test_a_release_that_loses_a_race_shows_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    with House(tmp_path / "home") as house:
        old = house.put("a.md", texts(1))
        twin = house.twin("another")
        raced: list[str] = []

        def race(name: str) -> None:
            if name == "inserted" and not raced:
                raced.append(name)
                twin.put("a.md", texts(1, "quicker"))

        house.ingest.step = race
        before = house.counts()
        rows = house.ingest.add([incoming("a.md", texts(1, "slower")), incoming("b.md", texts(2))], together=True)
        assert [row["status"] for row in rows["documents"]] == ["failed", "failed"]
        assert {row["error"]["code"] for row in rows["documents"]} == {"moved"}
        (shown,) = house.shown(old["document"]).values()
        assert [place.text for place in shown] == ["The quicker rule of page 1 holds."]
        house.ingest.step = lambda _name: None
        assert house.counts()["documents"] == before["documents"]
        assert house.rows(Version) == 2
        assert house.index.count() == house.counts()["chunks"]


def test_a_release_that_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    with House(tmp_path / "home") as house:
        done: list[str] = []

        def fail(name: str) -> None:
            done.append(name)
            if done.count("inserted") > 20:
                raise OSError("the cable was pulled")

        house.ingest.step = fail
        with pytest.raises((OSError, RepriseError)):
            house.ingest.add([incoming(f"{n}.md", texts(n)) for n in range(MANY)], together=True)
        house.ingest.step = lambda _name: None
        house.recover()
        counts = house.counts()
        assert (counts["documents"], counts["versions"], counts["points"], counts["epoch"]) == (0, 0, 0, 0)
