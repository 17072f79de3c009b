"""The feed of changes: one row for each thing that happened, in one order, each seen exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from ingest.changes import happened
from ingest.tables import Version
from kernel.ids import now_ms
from tests.house import House, incoming, page

pytestmark = pytest.mark.integration

DAY = 86_400_000


@pytest.fixture
def house(quick_folder: Path) -> Iterator[House]:
    with House(quick_folder / "home") as opened:
        yield opened


def text(words: str) -> str:
    return page("Walrus", {"Food": words})


def told(rows: list[dict[str, Any]]) -> list[tuple[str, str, int | None, int]]:
    """What, name, version and epoch of rows; how a version came about, where that was not by an upload."""
    causes = {None: "", "ingest": ""}
    what = [f"{row['what']} {causes.get(row['cause'], row['cause'])}".strip() for row in rows]
    return [(w, row["name"], row["version"], row["epoch"]) for w, row in zip(what, rows, strict=True)]


def move(house: House, name: str) -> None:
    """What a watch notes when a file was renamed."""
    document = house.library.find(name).id
    with house.db.write() as session:
        happened(session, "move", document)


def everything_happens(house: House) -> Iterator[None]:
    """Publishes, a batch, an expiry, a move, a restore, a re-chunk, a delete, and stops after each."""
    house.put("a.md", text("One."))
    yield
    house.put("a.md", text("Two."))
    yield
    house.ingest.add([incoming(f"batch{n}.md", text(f"Batch {n}.")) for n in range(5)])
    yield
    house.keeper.set("default", versions=1)
    house.keeper.apply()
    yield
    move(house, "a.md")
    yield
    house.keeper.set("default")
    house.put("a.md", text("Three."))
    house.ingest.again(*house.library.original("a.md", 2), "restore")
    yield
    house.put("b.md", text("B."))
    house.put("b.md", text("B again."))
    with house.db.write() as session:
        document = house.library.find("b.md").id
        newest = (Version.document == document, Version.number == 2)
        session.execute(update(Version).where(*newest).values(cause="rechunk"))
    yield
    house.delete.delete("batch1.md")
    yield


def test_there_is_one_row_for_each_thing_that_happened(house: House) -> None:
    for _ in everything_happens(house):
        pass
    rows = house.library.changes(0)
    gone = next(row["document"] for row in rows if row["what"] == "deleted")
    batch = sorted((row["document"], row["name"]) for row in rows if row["epoch"] == 3 and row["what"] == "added")
    assert told(rows) == [
        ("added", "a.md", 1, 1),
        ("changed", "a.md", 2, 2),
        *(("added", name, 1, 3) for _, name in batch),
        ("expired", "a.md", 1, 3),
        ("moved", "a.md", None, 3),
        ("changed", "a.md", 3, 4),
        ("changed restore", "a.md", 4, 5),
        ("added", "b.md", 1, 6),
        ("changed rechunk", "b.md", 2, 7),
        ("deleted", gone, None, 8),
    ]
    assert [row["seq"] for row in rows] == sorted({row["seq"] for row in rows})
    assert all(row["seq"] < 2**53 for row in rows)


@pytest.mark.parametrize("limit", [1, 2, 3, None])
def test_a_reader_that_goes_on_from_the_last_row_sees_everything_once(house: House, limit: int | None) -> None:
    seen: list[dict[str, Any]] = []

    def read() -> None:
        while True:
            page_of_rows = house.library.changes(0, after=seen[-1]["seq"] if seen else None, limit=limit)
            seen.extend(page_of_rows)
            if not page_of_rows:
                return

    for _ in everything_happens(house):
        read()
    assert len({row["seq"] for row in seen}) == len(seen)
    now = house.library.changes(0)
    known = {row["seq"]: (row["what"], row["version"]) for row in seen}
    # What a delete took away since is no longer told to others; all that is told now was seen, as it was.
    assert len(seen) == len(now) + 1
    assert [known[row["seq"]] for row in now if row["epoch"] != 3] == [
        (row["what"], row["version"]) for row in now if row["epoch"] != 3
    ]


def test_a_page_never_divides_what_became_visible_together(house: House) -> None:
    house.ingest.add([incoming(f"batch{n}.md", text(f"Batch {n}.")) for n in range(5)])
    house.put("a.md", text("One."))
    assert len(house.library.changes(0, limit=2)) == 5
    last = house.library.changes(0, limit=2)[-1]["seq"]
    assert told(house.library.changes(0, after=last, limit=2)) == [("added", "a.md", 1, 2)]


def test_since_an_epoch_is_what_came_after_it(house: House) -> None:
    house.put("a.md", text("One."))
    house.put("a.md", text("Two."))
    house.keeper.set("default", versions=1)
    house.keeper.apply()
    assert told(house.library.changes(1)) == [("changed", "a.md", 2, 2), ("expired", "a.md", 1, 2)]
    assert house.library.changes(2) == []


# --- history and dates ------------------------------------------------------------------------------------


def test_history_and_documents_tell_which_version_counts_now(house: House) -> None:
    start = now_ms() - 10 * DAY
    house.put("a.md", text("One."), at=start)
    house.put("a.md", text("Two."), at=start + DAY)
    house.put("a.md", text("Three."), at=now_ms() + DAY)
    house.put("a.md", text("Four."), at=now_ms() + 2 * DAY)
    rows = house.library.history("a.md")
    assert [(r["version"], r["state"], r["pending"]) for r in rows] == [
        (4, "staged", True),
        (3, "staged", True),
        (2, "live", False),
        (1, "superseded", False),
    ]
    assert [r["until"] for r in rows] == [None, *[r["from"] for r in rows[:-1]]]
    assert all({"cause", "notes", "from", "until", "at", "sha256"} <= set(r) for r in rows)
    (document,) = house.library.documents()
    assert (document["live_version"], document["pending"], document["versions"]) == (2, True, 4)
    found = house.library.text("a.md")
    assert (found["version"], found["state"], found["text"]) == (2, "live", text("Two."))
    assert house.library.text("a.md", 4)["pending"] is True


def test_a_document_whose_first_version_is_to_come_says_when(house: House) -> None:
    house.put("a.md", text("One."), at=now_ms() + DAY)
    (document,) = house.library.documents()
    assert (document["live_version"], document["pending"]) == (None, True)
    with pytest.raises(LookupError, match="counts yet") as nothing:
        house.library.text("a.md")
    assert nothing.value.code == "pending"  # type: ignore[attr-defined]
    assert house.library.text("a.md", 1)["text"] == text("One.")
