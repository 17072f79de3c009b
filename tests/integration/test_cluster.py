"""Several processes' publishing and deleting on PostgreSQL and one shared index, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from qdrant_client import QdrantClient
from sqlalchemy import select

from ingest.tables import Document, Version
from kernel.errors import NotFound
from kernel.index.server import ServerIndex
from kernel.jobs import Ledger
from tests.house import DIMENSION, House, incoming, page

pytestmark = [pytest.mark.integration, pytest.mark.cluster]

FOOD, SKIN = "The walrus eats clams.", "The skin is grey."


@pytest.fixture
def houses(fresh_postgres: Callable[[], str], tmp_path: Path) -> Iterator[list[House]]:
    """Three processes of a cluster."""
    index = ServerIndex(QdrantClient(":memory:"), "reprise", DIMENSION)
    url = fresh_postgres()
    first = House(tmp_path / "home", owner="p0", index=index, database_url=url)
    yield [first, first.twin("p1"), first.twin("p2")]
    first.close()


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    ready = Barrier(count)

    def start(number: int) -> Any:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def text(number: int) -> str:
    return page("Walrus", {"Food": FOOD, "Skin": SKIN, "Number": f"This is edition number {number}."})


def assert_whole(house: House) -> None:
    """Each document has one live version, all of it visible, its bytes there; every point has its row."""
    house.epochs.recover(orphaned=True)
    with house.db.read() as session:
        documents = list(session.scalars(select(Document.id).where(Document.state == "live")))
        versions = list(session.scalars(select(Version)))
    for document in documents:
        ((number, places),) = house.shown(document).items()
        assert {p.point for p in places} == house.positions(document, number)
        assert [v.number for v in versions if v.document == document and v.state == "live"] == [number]
    for version in versions:
        assert version.document in documents
        house.blobs.get(version.sha256)
        house.blobs.get(version.text_key)
    assert house.index.count() == house.counts()["chunks"]


def test_first_versions_of_one_name_become_one_document(houses: list[House]) -> None:
    rows = at_once(lambda n: houses[n].put("walrus.md", text(n)), 3)
    assert {row["status"] for row in rows} == {"published"}
    assert len({row["document"] for row in rows}) == 1
    assert_whole(houses[0])
    states = [v["state"] for v in houses[0].library.history("walrus.md")]
    assert states == ["live", "superseded", "superseded"]


def test_batches_of_several_processes_all_come_in(houses: list[House]) -> None:
    def work(number: int) -> list[dict[str, Any]]:
        files = [incoming(f"{i}.md", text(i), source="/same") for i in range(6)]
        return houses[number].ingest.add(files if number % 2 else files[::-1])["documents"]

    rows = [row for some in at_once(work, 3) for row in some]
    assert {row["status"] for row in rows} <= {"published", "unchanged"}
    assert [row["status"] for row in rows].count("published") == 6
    assert_whole(houses[0])
    assert houses[0].counts()["versions"] == 6


def test_publishes_and_deletes_of_several_processes_end_whole(houses: list[House]) -> None:
    """All documents share their bytes, so every delete could take another's."""

    def work(number: int) -> None:
        house = houses[number % 3]
        for round_ in range(4):
            house.put(f"{number}.md", text(round_ % 2), source="/same")
            if round_ % 2:
                with suppress(NotFound):
                    house.delete.delete(f"{number}.md")

    at_once(work, 6)
    assert_whole(houses[0])
    houses[0].put("last.md", text(0))
    assert_whole(houses[0])


def test_a_delete_takes_a_name_out_of_the_jobs_on_this_database_too(houses: list[House]) -> None:
    ledger = Ledger(houses[0].db, "p0", 30, 3)
    file = incoming("layoffs.md", text(0))
    ledger.register("ingest", lambda _running: houses[0].ingest.add([file]))
    job = ledger.enqueue("ingest", {"files": [{"name": file.name, "blob": houses[0].blobs.put(file.content)}]})
    ledger.run(job)
    receipt = houses[1].delete.delete("layoffs.md")
    assert (receipt["points"], receipt["blobs"], receipt["remaining"]) == (3, 1, 0)
    assert "layoffs" not in str(ledger.get(job))
