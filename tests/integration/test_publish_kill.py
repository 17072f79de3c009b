"""Promise 1 under kill -9: what is published is visible whole or not at all, wherever the process dies.

Each child process does one thing to a home and is killed in it; then this process opens the home as a start does, and
looks. The children come from a server that has imported everything and opened nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ingest.tables import Chunk, Document, Position, Version
from kernel.errors import NotFound
from kernel.index.schema import keyword
from kernel.settings import load
from kernel.tables import Change, Flip
from kernel.types import When
from rehearsal.tables import Example, Ground
from tests.dying import (
    NAME,
    QUOTES,
    SECTIONS_1,
    SECTIONS_2,
    TEXTS,
    End,
    example,
    live_and_die,
    publish_and_die_as_wired,
)
from tests.house import House, visible_points
from ui.wiring import Wired

pytestmark = pytest.mark.integration

SECTIONS = {1: SECTIONS_1, 2: SECTIONS_2}
FATES = {1: {"kept": "approved", "moved": "approved", "dying": "approved"}}
FATES[2] = FATES[1] | {"dying": "retired"}
MOST_WRITES = 100


class Grave:
    """A home whose process was killed, and what that process left written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
        self.document: str = self.facts["document"]
        self.survived = (folder / "survived").exists()

    def seen(self) -> list[dict[str, Any]]:
        """What the reader saw until the kill; a line that was cut off counts as not seen."""
        lines = (self.folder / "seen.jsonl").read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]


@pytest.fixture(scope="module")
def children() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.dying", "alembic.command", "alembic.autogenerate", "alembic.ddl.sqlite"])
    return context


@pytest.fixture
def die(children: Any, quick_folder: Path) -> Callable[[str, End], Grave]:
    """Let a child do a deed and die; each time in a new home."""

    def run(deed: str, end: End) -> Grave:
        folder = quick_folder / "grave"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        child = children.Process(target=live_and_die, args=(folder, deed, end))
        child.start()
        child.join(120)
        expected = {-signal.SIGALRM, -signal.SIGKILL} if end.seconds else {-signal.SIGKILL}
        assert child.exitcode in expected
        child.close()
        return Grave(folder)

    return run


# --- what must hold -----------------------------------------------------------------------------------


def assert_nothing_is_left_over(house: House) -> None:
    """No change, flip or version in the middle; a point for every row and a row for every point; no nameless blob."""
    with house.db.read() as session:
        assert list(session.scalars(select(Change.id).where(Change.state != "done"))) == []
        assert list(session.scalars(select(Flip.epoch).where(Flip.state != "done"))) == []
        assert list(session.scalars(select(Version.number).where(Version.state == "staged"))) == []
        assert list(session.scalars(select(Example.id).where(Example.status == "staged"))) == []
        rows = set(session.scalars(select(Chunk.point)))
        rows |= set(session.scalars(select(Example.point).where(Example.question != "[deleted]")))
        blobs = {key for keys in session.execute(select(Version.sha256, Version.text_key)) for key in keys}
    assert {str(p.id) for p in house.index.scroll(None)} == rows
    assert set(house.blobs.keys()) == blobs


def assert_one_whole_version(house: House, document: str, when: When | None = None) -> int:
    """The version that is visible: all of it by the index, the same by its rows, and its very text."""
    shown = house.shown(document, when)
    assert len(shown) == 1
    ((version, places),) = shown.items()
    assert {p.point for p in places} == house.positions(document, version)
    assert [p.text for p in places] == list(SECTIONS[version].values())
    return version


def assert_published_whole_or_not_at_all(grave: Grave) -> int:
    """Everything of promise 1, after a start. The version that was live then; version 2 is when this returns."""
    with House(grave.home) as house:
        house.recover()
        document = grave.document
        version = assert_one_whole_version(house, document)
        assert house.library.version(document)[1].number == version
        assert house.library.text(document)["text"] == TEXTS[version]
        for body in SECTIONS[version].values():
            assert house.search.search(body, 1).passages[0].text == body
        earlier = When(epoch=grave.facts["epoch"], at=house.now().at)
        assert assert_one_whole_version(house, document, earlier) == 1
        assert {e["question"].split()[-1][:-1]: e["status"] for e in house.memory.listing()} == FATES[version]
        with house.db.read() as session:
            approved = set(session.scalars(select(Example.point).where(Example.status == "approved")))
            standing = house.positions(document, version)
            grounds = select(Ground.point).join(Example, Example.id == Ground.example)
            assert set(session.scalars(grounds.where(Example.status == "approved"))) <= standing
        assert visible_points(house.index, house.now(), keyword("kind", "example")) == approved
        assert_nothing_is_left_over(house)
        again = house.put(NAME, TEXTS[2])
        assert (again["status"], again["version"]) == ("published" if version == 1 else "unchanged", 2)
        assert assert_one_whole_version(house, document) == 2
        assert_nothing_is_left_over(house)
        for seen in grave.seen():
            assert seen["whole"] in ({"1": True}, {"2": True})
        return version


def assert_deleted_or_untouched(grave: Grave) -> bool:
    """Whether the delete had happened after a start. It has when this returns, and nothing is left."""
    with House(grave.home) as house:
        house.recover()
        try:
            house.library.find(grave.document)
        except NotFound:
            deleted = True
        else:
            deleted = False
            assert assert_one_whole_version(house, grave.document) == 1
            assert_nothing_is_left_over(house)
            receipt = house.delete.delete(grave.document)
            assert (receipt["points"], receipt["examples"], receipt["blobs"]) == (len(SECTIONS_1), 3, 1)
            assert receipt["remaining"] == 0
        assert house.index.count() == 0
        assert {t.__tablename__: house.rows(t) for t in (Version, Chunk, Position, Ground)} == {
            "versions": 0,
            "chunks": 0,
            "positions": 0,
            "grounds": 0,
        }
        assert house.rows(Document) == 1  # its receipt, which counts whole however often the delete had to begin
        with house.db.read() as session:
            kept = session.get_one(Document, grave.document).receipt or {}
        assert (kept["points"], kept["blobs"]) == (len(SECTIONS_1), 1)
        assert_nothing_is_left_over(house)
        assert house.put(NAME, TEXTS[1])["status"] == "published"  # the name is free again
        house.delete.delete(NAME)
    left = b"".join(
        file.read_bytes() for file in grave.home.rglob("*") if file.is_file() and file.stat().st_size < 2**24
    )
    for word in (b"walrus", b"Walrus", *(quote.encode() for quote in QUOTES.values())):
        assert word not in left
    for seen in grave.seen():
        assert set(seen["whole"]) <= {"1"}
    return deleted


def assert_all_examples_or_none(grave: Grave) -> bool:
    """Whether the examples were there after a start."""
    with House(grave.home) as house:
        house.recover()
        count = len(house.memory.listing("approved"))
        assert count in (3, 6)
        assert len(visible_points(house.index, house.now(), keyword("kind", "example"))) == count
        assert assert_one_whole_version(house, grave.document) == 1
        assert_nothing_is_left_over(house)
        added = house.examples.add([example(house, grave.document, "More of walrus 0?", QUOTES["kept"])])
        assert (added == [None]) == (count == 6)
        return count == 6


# --- killed at every named step -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "nth", "version"),
    [
        ("before stage", 1, 1),
        ("staged", 1, 1),
        ("inserted", 1, 1),
        ("flipping", 1, 2),
        ("born", 1, 2),
        ("died", 1, 2),
        ("died", 2, 2),
        ("applied", 1, 2),
        ("committed", 1, 2),
    ],
)
def test_a_publish_killed_at_a_step_is_whole_or_not_at_all(
    die: Callable[[str, End], Grave], step: str, nth: int, version: int
) -> None:
    grave = die("publish", End(step=step, nth=nth))
    assert not grave.survived
    assert assert_published_whole_or_not_at_all(grave) == version


@pytest.mark.parametrize(
    ("step", "deleted"), [("flipping", True), ("died", True), ("applied", True), ("committed", True)]
)
def test_a_delete_killed_at_a_step_leaves_everything_or_nothing(
    die: Callable[[str, End], Grave], step: str, deleted: bool
) -> None:
    grave = die("delete", End(step=step))
    assert not grave.survived
    assert assert_deleted_or_untouched(grave) == deleted


@pytest.mark.parametrize(
    ("step", "nth", "status"),
    [
        ("flipping", 1, "quarantined"),
        ("died", 1, "quarantined"),
        ("inserted", 1, "quarantined"),
        ("flipping", 2, "approved"),
        ("born", 2, "approved"),
    ],
)
def test_a_decision_about_examples_killed_at_a_step_is_whole_or_not_at_all(
    die: Callable[[str, End], Grave], step: str, nth: int, status: str
) -> None:
    grave = die("vet", End(step=step, nth=nth))
    assert not grave.survived
    with House(grave.home) as house:
        house.recover()
        found = house.memory.listing()
        assert {e["status"] for e in found} == {status}
        shown = visible_points(house.index, house.now(), keyword("kind", "example"))
        assert len(shown) == (3 if status == "approved" else 0)
        house.vetting.approve([e["example"] for e in found])
        assert len(visible_points(house.index, house.now(), keyword("kind", "example"))) == 3
        assert_nothing_is_left_over(house)


@pytest.mark.parametrize(
    ("step", "there"), [("inserted", False), ("flipping", True), ("born", True), ("applied", True)]
)
def test_examples_killed_at_a_step_are_all_there_or_none(
    die: Callable[[str, End], Grave], step: str, there: bool
) -> None:
    grave = die("examples", End(step=step))
    assert not grave.survived
    assert assert_all_examples_or_none(grave) == there


# --- killed before every write ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deed", "check", "fewest"),
    [
        ("publish", assert_published_whole_or_not_at_all, 18),
        ("delete", assert_deleted_or_untouched, 20),
        ("examples", assert_all_examples_or_none, 8),
    ],
)
def test_killed_before_any_of_its_writes_it_happened_or_did_not(
    die: Callable[[str, End], Grave], deed: str, check: Callable[[Grave], object], fewest: int
) -> None:
    outcomes = []
    for write in range(1, MOST_WRITES):
        grave = die(deed, End(write=write))
        outcomes.append(check(grave))
        if grave.survived:
            break
    assert fewest < len(outcomes) < MOST_WRITES - 1
    assert outcomes == sorted(outcomes)  # once it has happened, it has happened at every later write
    assert outcomes[0] < outcomes[-1]


@pytest.mark.parametrize("deed", ["publish", "delete"])
def test_killed_at_any_instruction_it_happened_or_did_not(die: Callable[[str, End], Grave], deed: str) -> None:
    """By a timer, so that the kill also falls into the engines' own code."""
    check = assert_published_whole_or_not_at_all if deed == "publish" else assert_deleted_or_untouched
    for thousandths in (1, 3, 6, 10, 16, 25, 40):
        check(die(deed, End(seconds=thousandths / 1000)))


# --- as the doors wire it -----------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "version"), [("inserted", 1), ("born", 2)])
def test_the_wired_platform_starts_whole_after_a_kill(
    children: Any, quick_folder: Path, step: str, version: int
) -> None:
    home = quick_folder / "home"
    child = children.Process(target=publish_and_die_as_wired, args=(home, step))
    child.start()
    child.join(240)
    assert child.exitcode == -signal.SIGKILL
    child.close()
    wired = Wired(load(home=home, min_free_mb=0, precision="float32"))
    try:
        wired.recover()
        assert wired.library.text(NAME)["text"] == TEXTS[version]
        found = wired.search.search("What does a walrus eat?", 10).passages
        assert sorted(p.text for p in found) == sorted(SECTIONS[version].values())
        assert found[0].text == SECTIONS[version]["Food"]
        assert wired.index.count() == wired_chunks(wired)
    finally:
        wired.close()


def wired_chunks(wired: Wired) -> int:
    with wired.db.read() as session:
        return session.query(Chunk).count()
