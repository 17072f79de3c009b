"""Epochs under contention: several processes flip on one database and one index, and some of them die or sleep.

Each `Epochs` here stands for a process, with an owner of its own. On PostgreSQL this is what a cluster does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from kernel.database import Database
from kernel.epochs import Death, Epochs, Plan
from kernel.errors import DiskFull, Failed, TryAgain
from kernel.ids import derived, now_ms
from kernel.index.server import ServerIndex
from kernel.tables import Change, Fact, Flip
from kernel.types import OPEN, When
from tests.house import DIMENSION, point, visible_points

NOW = 1000


class Died(BaseException):
    """The end of a process, as its own code sees it."""


class Notes:
    """The plainest handler: births are the change's points, deaths and refusals are what its body says."""

    kind = "note"

    def settle(self, session: Session, change: Change, epoch: int) -> Plan:
        if change.body.get("moved"):
            raise TryAgain("it moved")
        deaths = (Death(points=tuple(change.body["kills"]), until=0),) if change.body.get("kills") else ()
        return Plan(births=tuple(change.points), deaths=deaths)

    def commit(self, session: Session, change: Change, epoch: int, at: int) -> None:
        session.add(Fact(key=f"committed {change.subject}", value={"epoch": epoch}))

    def sweep(self, session: Session, change: Change) -> None:
        session.add(Fact(key=f"swept {change.id}", value={}))


class Place:
    """A database and an index, and processes on them."""

    def __init__(self, url: str) -> None:
        self.db = Database(url)
        self.index = ServerIndex(QdrantClient(":memory:"), "reprise", DIMENSION)

    def process(self, owner: str, *, lease_seconds: float = 60, step: Callable[[str], None] | None = None) -> Epochs:
        epochs = Epochs(self.db, self.index, owner, lease_seconds, step)
        epochs.register(Notes())
        return epochs

    def stage(self, epochs: Epochs, name: str, **body: Any) -> str:
        """Steps 1 and 2 of a change with one point."""
        with self.db.write() as session:
            change = epochs.stage(session, "note", name, [] if body.get("kills") else ids(name), body)
        if not body.get("kills"):
            self.index.insert([point(name)])
        return change

    def visible(self, epoch: int) -> set[str]:
        return visible_points(self.index, When(epoch=epoch, at=NOW))

    def born(self) -> dict[str, int]:
        return {str(p.id): (p.payload or {})["born"] for p in self.index.scroll(None)}

    def committed(self) -> dict[str, int]:
        with self.db.read() as session:
            facts = session.scalars(select(Fact).where(Fact.key.startswith("committed ")))
            return {fact.key.removeprefix("committed "): fact.value["epoch"] for fact in facts}

    def flips(self) -> list[tuple[int, str]]:
        with self.db.read() as session:
            return [(f.epoch, f.state) for f in session.scalars(select(Flip).order_by(Flip.epoch))]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.cluster)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "postgres":
        made = Place(request.getfixturevalue("fresh_postgres")())
    else:
        made = Place(f"sqlite:///{tmp_path / 'reprise.db'}")
    yield made
    made.db.close()
    made.index.close()


def ids(*names: str) -> list[str]:
    return [derived("made-up", name) for name in names]


def in_threads(work: Callable[[int], Any], count: int) -> list[Any]:
    ready = threading.Barrier(count)

    def start(number: int) -> Any:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def test_flips_of_several_processes_interleave_without_gaps(place: Place) -> None:
    processes = [place.process(f"p{n}") for n in range(3)]

    def work(number: int) -> list[int]:
        epochs = processes[number % 3]
        return [epochs.flip([place.stage(epochs, f"{number}-{i}")]) for i in range(4)]

    flipped = in_threads(work, 6)
    assert sorted(epoch for some in flipped for epoch in some) == list(range(1, 25))
    assert place.flips() == [(epoch, "done") for epoch in range(1, 25)]
    assert processes[0].committed() == 24
    expected = {f"{number}-{i}": epoch for number, some in enumerate(flipped) for i, epoch in enumerate(some)}
    assert place.committed() == expected
    assert place.born() == {ids(name)[0]: epoch for name, epoch in expected.items()}
    assert all(some == sorted(some) for some in flipped)


def test_changes_that_share_a_flip_become_visible_together(place: Place) -> None:
    epochs = place.process("one")
    changes = [place.stage(epochs, name) for name in "abc"]
    assert place.visible(10) == set()
    assert epochs.flip(changes) == 1
    assert place.visible(0) == set()
    assert place.visible(1) == set(ids(*"abc"))


def test_a_change_that_lost_its_ground_takes_its_whole_flip_down_and_is_swept(place: Place) -> None:
    epochs = place.process("one")
    changes = [place.stage(epochs, "a"), place.stage(epochs, "b", moved=True)]
    with pytest.raises(TryAgain):
        epochs.flip(changes)
    assert place.index.count() == 0
    assert (epochs.committed(), place.flips(), place.committed()) == (0, [], {})
    assert epochs.flip([place.stage(epochs, "a")]) == 1


@pytest.mark.parametrize("where", ["flipping", "born", "applied"])
def test_whoever_comes_next_finishes_the_flip_of_one_that_died(place: Place, where: str) -> None:
    def die(name: str) -> None:
        if name == where:
            raise Died

    dead, alive = place.process("dead", lease_seconds=0, step=die), place.process("alive")
    with pytest.raises(Died):
        dead.flip([place.stage(dead, "a")])
    assert (alive.committed(), place.visible(0)) == (0, set())
    assert alive.flip([place.stage(alive, "b")]) == 2
    assert place.committed() == {"a": 1, "b": 2}
    assert place.visible(1) == set(ids("a"))
    assert place.visible(2) == set(ids("a", "b"))


@pytest.mark.parametrize("where", ["flipping", "born", "applied"])
def test_one_that_slept_through_its_lease_does_no_harm_when_it_wakes(place: Place, where: str) -> None:
    """It wakes after its flip was finished by another, and after what it bore has died again."""
    asleep, wake = threading.Event(), threading.Event()

    def sleep(name: str) -> None:
        if name == where:
            asleep.set()
            wake.wait(60)

    slow, quick = place.process("slow", lease_seconds=0, step=sleep), place.process("quick")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(slow.flip, [place.stage(slow, "a")])
        asleep.wait(60)
        assert quick.flip([place.stage(quick, "b")]) == 2
        assert quick.flip([place.stage(quick, "kill a", kills=ids("a"))]) == 3
        place.index.delete(ids("b"))  # purged
        wake.set()
        assert late.result(60) == 1
    assert quick.committed() == 3
    assert place.flips() == [(1, "done"), (2, "done"), (3, "done")]
    assert (place.visible(1), place.visible(3)) == (set(ids("a")), set())
    assert place.index.count() == 1


def test_one_that_could_not_even_let_go_takes_up_its_own_flip(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Epochs, "_let_go", lambda _epochs, _epoch: None)  # a full disk refuses that, too
    epochs = place.process("one", lease_seconds=600, step=_die_at_once)
    with pytest.raises(Died):
        epochs.flip([place.stage(epochs, "a")])
    epochs.step = lambda _name: None
    assert epochs.flip([place.stage(epochs, "b")], timeout=60) == 2
    assert place.committed() == {"a": 1, "b": 2}


def test_two_that_finish_the_same_flip_at_once_commit_it_once(place: Place) -> None:
    dead = place.process("dead", lease_seconds=0, step=_die_at_once)
    with pytest.raises(Died):
        dead.flip([place.stage(dead, "a")])
    others = [place.process(f"p{n}", lease_seconds=0) for n in range(6)]
    in_threads(lambda n: others[n].recover(), 6)
    assert place.committed() == {"a": 1}
    assert place.flips() == [(1, "done")]


def _die_at_once(name: str) -> None:
    if name == "flipping":
        raise Died


def test_a_flip_that_could_not_be_finished_holds_nobody_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner lives and its lease is long, but the index had no room; the next one finishes it at once."""
    epochs = place.process("one", lease_seconds=3600)
    change = place.stage(epochs, "a")

    def full(_payload: dict[str, Any], _ids: Sequence[str]) -> None:
        raise DiskFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(place.index, "set_payload", full)
        with pytest.raises(DiskFull):
            epochs.flip([change])
    assert epochs.flip([place.stage(epochs, "b")], timeout=60) == 2
    assert place.committed() == {"a": 1, "b": 2}


def test_who_cannot_have_the_lock_in_time_may_try_again(place: Place) -> None:
    def look(name: str) -> None:
        if name == "flipping":
            with pytest.raises(TryAgain) as refusal:
                other.flip([place.stage(other, "b")], timeout=0)
            assert refusal.value.code == "busy"

    other = place.process("other")
    holder = place.process("holder", step=look)
    assert holder.flip([place.stage(holder, "a")]) == 1
    assert place.committed() == {"a": 1}


# --- what was staged and never flipped ----------------------------------------------------------------


def test_what_a_dead_process_staged_is_swept_and_only_that(place: Place) -> None:
    dead, alive = place.process("dead", lease_seconds=0), place.process("alive")
    place.stage(dead, "a")
    place.stage(alive, "b")
    assert alive.recover() == {"rolled_forward": 0, "swept": 1}
    assert {str(p.id) for p in place.index.scroll(None)} == set(ids("b"))
    assert alive.recover() == {"rolled_forward": 0, "swept": 0}
    assert alive.recover(orphaned=True) == {"rolled_forward": 0, "swept": 1}
    assert place.index.count() == 0


def test_one_that_lives_keeps_its_stage_however_long_it_takes(place: Place) -> None:
    worker, sweeper = place.process("worker", lease_seconds=8), place.process("sweeper")
    change = place.stage(worker, "a")
    with place.db.read() as session:
        first = session.get_one(Change, change).lease_until
    with worker.keeping([change]):
        while now_ms() < first + 500:  # past the end of the first lease
            assert sweeper.recover()["swept"] == 0
            threading.Event().wait(0.02)  # its keeper writes to the same database
        assert worker.flip([change]) == 1


def test_one_that_was_swept_learns_of_it_and_leaves_nothing(place: Place) -> None:
    slow, sweeper = place.process("slow", lease_seconds=0), place.process("sweeper")
    with place.db.write() as session:
        change = slow.stage(session, "note", "a", ids("a"), {})
    assert sweeper.recover()["swept"] == 1
    place.index.insert([point("a")])  # it was just about to
    with pytest.raises(TryAgain):
        slow.flip([change])
    slow.abandon(change, ids("a"))
    assert place.index.count() == 0


def test_what_a_flip_has_taken_cannot_be_abandoned(place: Place) -> None:
    epochs = place.process("one")
    change = place.stage(epochs, "a")
    epochs.flip([change])
    epochs.abandon(change, ids("a"))
    assert place.visible(1) == set(ids("a"))


def test_a_sweep_that_died_half_way_is_finished(place: Place) -> None:
    epochs = place.process("one")
    change = place.stage(epochs, "a")
    with place.db.write() as session:
        session.execute(update(Change).where(Change.id == change).values(state="sweeping", lease_until=0))
    with pytest.raises(TryAgain):
        epochs.flip([change])
    epochs.recover()
    assert place.index.count() == 0
    with place.db.read() as session:
        assert session.get(Change, change) is None


def test_sweepers_and_flips_at_once_never_take_the_same_change(place: Place) -> None:
    """Every change ends visible or swept, none half of each, whoever was quicker."""
    workers = [place.process(f"w{n}", lease_seconds=0) for n in range(4)]
    outcome: dict[str, bool] = {}

    def work(number: int) -> None:
        for i in range(4):
            name = f"{number}-{i}"
            try:
                workers[number].flip([place.stage(workers[number], name)])
                outcome[name] = True
            except TryAgain:
                outcome[name] = False
            workers[number].recover()

    in_threads(work, 4)
    shown = {name for name, flipped in outcome.items() if flipped}
    assert set(place.committed()) == shown
    assert place.visible(OPEN - 1) == set(ids(*shown))
    epochs = [epoch for epoch, state in place.flips() if state == "done"]
    assert epochs == list(range(1, len(shown) + 1))


def test_an_epoch_that_cannot_follow_is_an_error_and_changes_nothing(place: Place) -> None:
    epochs = place.process("one")
    with place.db.write() as session:
        session.add(Flip(epoch=5, state="flipping", owner="nobody", lease_until=0, at=0))
    with pytest.raises(Failed) as failure:
        epochs.recover()
    assert failure.value.code == "epoch_gap"
    assert epochs.committed() == 0
