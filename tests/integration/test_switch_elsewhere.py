"""A replacement as the other processes of a cluster live through it: they learn of it from the epoch they read.

Each `Process` has what a process has of its own, on one database and one server; the server is the client's in-memory
mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient
from sqlalchemy.orm import Session

from kernel.database import Database
from kernel.epochs import Epochs, Plan
from kernel.errors import TryAgain
from kernel.index.replace import Replacer
from kernel.index.server import ServerIndex
from kernel.serving import EMBEDDER, Pair, Serving
from kernel.tables import Change, Fact
from kernel.types import silent
from tests.house import DIMENSION, point, visible_points
from tests.switching import LARGE, SMALL, LetterEmbedder, embedder

pytestmark = pytest.mark.integration


class Shared(ServerIndex):
    """One process's way to the server that all of them use."""

    def close(self) -> None:
        """The others go on using it."""


class Server:
    """Collections in memory, with the methods of `kernel.index.physical.Collections`."""

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:")
        self._names = iter("abcdefgh")

    def another(self) -> str:
        return f"reprise-{next(self._names)}"

    def folder(self, _collection: str) -> Path | None:
        return None

    def open(self, collection: str, dimension: int) -> Shared:
        return Shared(self.client, collection, dimension)

    def exists(self, collection: str) -> bool:
        return self.client.collection_exists(collection)

    def remove(self, collection: str) -> None:
        self.client.delete_collection(collection)


class Note:
    """A change whose points are born, and nothing else."""

    kind = "note"

    def settle(self, session: Session, change: Change, epoch: int) -> Plan:
        return Plan(births=tuple(change.points))

    def commit(self, session: Session, change: Change, epoch: int, at: int) -> None:
        """There are no rows."""

    def sweep(self, session: Session, change: Change) -> None:
        """There are no rows."""


class Process:
    """What one process has of its own."""

    def __init__(self, db: Database, server: Server, owner: str, grace_ms: int = 0) -> None:
        self.db, self.server = db, server
        with db.read() as session:
            record = session.get_one(Fact, EMBEDDER).value
        self.serving = Serving(db, self.open(record), self.open)
        self.epochs = Epochs(db, self.serving.index, owner, 60, serving=self.serving)
        self.epochs.register(Note())
        collections: Any = server
        self.replacer = Replacer(db, self.serving, self.epochs, collections, _texts, grace_ms=grace_ms)

    def open(self, record: dict[str, Any]) -> Pair:
        made = embedder(record["name"])
        index = self.server.open(record["collection"], made.dimension)
        return Pair(serial=record["serial"], collection=record["collection"], index=index, embedder=made)

    def stage(self, name: str) -> str:
        """Steps 1 and 2: one point, with a vector by the embedder that serves here."""
        made = point(name)
        with self.db.write() as session:
            change = self.epochs.stage(session, "note", name, [str(made.id)], {})
        self.serving.index.insert([embedded(self, name)])
        return change

    def publish(self, name: str) -> None:
        self.epochs.flip([self.stage(name)])

    def seen(self) -> set[str]:
        when = self.when()
        return visible_points(self.serving.index, when)

    def when(self) -> Any:
        from kernel.types import When

        return When(epoch=self.epochs.committed(), at=1000)


def embedded(process: Process, name: str) -> Any:
    made = point(name)
    made.vector["dense"] = process.serving.embedder.embed_documents([name])[0].tolist()  # type: ignore[call-overload,index]
    return made


def _texts(points: Any) -> dict[str, tuple[str, bool]]:
    return {p: (f"text of {p}", False) for p in points}


def ids(*names: str) -> set[str]:
    return {str(point(name).id) for name in names}


@pytest.fixture
def here_and_there(tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    with closing(Database(f"sqlite:///{tmp_path / 'reprise.db'}")) as db:
        record = {"name": SMALL, "fingerprint": "words:64", "dimension": DIMENSION, "collection": "reprise"}
        with db.write() as session:
            session.add(Fact(key=EMBEDDER, value=record | {"serial": 0, "epoch": 0, "previous": []}))
        server = Server()
        yield Process(db, server, "here", grace_ms=1_000_000_000), Process(db, server, "there")
        server.client.close()


def test_another_process_follows_when_it_reads_the_epoch(here_and_there: tuple[Process, Process]) -> None:
    here, there = here_and_there
    there.publish("one")
    here.replacer.run("switch", embedder(LARGE), silent)
    assert there.serving.current.embedder.dimension == 64  # it has not looked yet
    with there.epochs.one_index() as held:
        there.epochs.committed()
        assert held.moved  # a reader starts over
        assert there.serving.embedder.dimension == 64
    assert there.serving.embedder.dimension == LetterEmbedder.dimension
    there.publish("two")
    assert there.seen() == here.seen() == ids("one", "two")


def test_a_publish_of_another_process_starts_over_on_the_new_index(here_and_there: tuple[Process, Process]) -> None:
    here, there = here_and_there
    there.publish("one")
    change = there.stage("two")
    here.replacer.run("switch", embedder(LARGE), silent)
    with pytest.raises(TryAgain) as refused:
        there.epochs.flip([change])
    assert refused.value.code == "switched"
    assert there.serving.embedder.dimension == LetterEmbedder.dimension
    late = None
    with there.epochs.one_index():
        late = there.stage("two")
    there.epochs.flip([late])
    assert there.seen() == here.seen() == ids("one", "two")
    assert here.serving.index.count() == 2


def test_a_publish_that_begins_before_a_process_has_looked_starts_over(here_and_there: tuple[Process, Process]) -> None:
    here, there = here_and_there
    here.replacer.run("switch", embedder(LARGE), silent)
    change = there.stage("one")  # into the old collection, which is still there for such as this
    with pytest.raises(TryAgain):
        there.epochs.flip([change])
    there.publish("one")
    assert there.seen() == here.seen() == ids("one")


def test_a_delete_by_a_process_that_has_not_looked_reaches_the_new_index(
    here_and_there: tuple[Process, Process],
) -> None:
    here, there = here_and_there
    there.publish("one")
    there.publish("two")
    here.replacer.run("switch", embedder(LARGE), silent)
    there.serving.index.delete(sorted(ids("one")))
    assert here.seen() == ids("two")


def test_a_flip_that_another_process_finishes_is_written_to_what_serves(
    here_and_there: tuple[Process, Process],
) -> None:
    here, there = here_and_there
    here.replacer.run("switch", embedder(LARGE), silent)
    here.publish("one")
    change = here.stage("two")

    def die(name: str) -> None:
        if name == "flipping":
            raise OSError("the end of this process")

    here.epochs.step = die
    with pytest.raises(OSError, match="the end"):
        here.epochs.flip([change])
    assert there.serving.current.serial == 0
    assert there.epochs.recover()["rolled_forward"] == 1
    assert there.seen() == ids("one", "two")


def test_the_old_collection_stays_as_long_as_others_may_ask_it(here_and_there: tuple[Process, Process]) -> None:
    here, there = here_and_there
    there.publish("one")
    here.replacer.run("switch", embedder(LARGE), silent)
    assert here.server.exists("reprise")
    there.replacer.tidy()  # its grace is none
    assert not here.server.exists("reprise")
    assert here.replacer.serves()["previous"] == []
    assert here.seen() == ids("one")


def test_of_two_processes_that_replace_one_wins(here_and_there: tuple[Process, Process]) -> None:
    here, there = here_and_there
    there.publish("one")
    there.replacer._grace_ms = here.replacer._grace_ms

    def take_over(name: str) -> None:
        if name == "optimized":
            here.replacer.step = lambda _name: None
            there.replacer.run("switch", embedder(LARGE), silent)
            there.publish("two")

    here.replacer.step = take_over  # it was silent for so long that its job was given to another
    with pytest.raises(TryAgain):
        here.replacer.run("switch", embedder(LARGE), silent)
    assert here.seen() == there.seen() == ids("one", "two")
    assert here.serving.current.collection == there.serving.current.collection
