"""A restore and a re-chunk, killed at every step: the version before is whole, or the new one is."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.dying import LONG, NAME, SECTIONS_1, SMALL, End, publish_again_and_die
from tests.house import House
from tests.integration.test_publish_kill import assert_nothing_is_left_over

pytestmark = pytest.mark.integration

STEPS = [
    ("before stage", 2),
    ("staged", 2),
    ("inserted", 2),
    ("flipping", 3),
    ("born", 3),
    ("died", 3),
    ("applied", 3),
    ("committed", 3),
]
"""Where to die, and the version that is live after a start."""


@pytest.fixture(scope="module")
def children() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.dying", "alembic.command", "alembic.autogenerate", "alembic.ddl.sqlite"])
    return context


def whole(house: House, document: str) -> tuple[int, str, int]:
    """The version that is shown, its words, and its chunks; they are all of its rows'."""
    ((version, places),) = house.shown(document).items()
    assert {p.point for p in places} == house.positions(document, version)
    return version, " ".join(p.text for p in places), len(places)


@pytest.mark.parametrize("cause", ["restore", "rechunk"])
@pytest.mark.parametrize(("step", "version"), STEPS)
def test_killed_at_a_step_it_happened_whole_or_not_at_all(
    children: Any, quick_folder: Path, cause: str, step: str, version: int
) -> None:
    child = children.Process(target=publish_again_and_die, args=(quick_folder, cause, End(step=step)))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    child.close()
    document = json.loads((quick_folder / "facts.json").read_text())["document"]
    before = LONG.split("\n\n", 2)[2].strip()
    after = " ".join(SECTIONS_1.values()) if cause == "restore" else before
    with House(quick_folder / "home", chunk_tokens=SMALL if cause == "rechunk" else 200) as house:
        house.recover()
        found, words, chunks = whole(house, document)
        assert found == version
        assert words == (before if version == 2 else after)
        assert_nothing_is_left_over(house)
        old = 1 if cause == "restore" else 2
        row = house.ingest.again(*house.library.original(NAME, old), cause)
        assert (row["status"], row["version"]) == ("published" if version == 2 else "unchanged", 3)
        again = whole(house, document)
        assert again[:2] == (3, after)
        if cause == "rechunk":
            assert again[2] > (chunks if version == 2 else 4), "the new cuts are the old ones, and this shows nothing"
        assert_nothing_is_left_over(house)
        (newest, *_) = house.library.history(NAME)
        assert newest["cause"] == cause
        earlier = house.search.when(epoch=2)
        assert " ".join(p.text for p in house.shown(document, earlier)[2]) == before
