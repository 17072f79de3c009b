"""Replacing the index under kill -9: wherever the process dies, one index serves, whole, and the next start goes on."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import DiskFull
from kernel.index import edge, replace
from tests.dying import image
from tests.switching import (
    LARGE,
    SMALL,
    answers,
    assert_answers,
    assert_whole,
    edit,
    furnish,
    opened,
    stand_ins,
    switch_and_die,
)
from ui.platform import Platform

pytestmark = pytest.mark.integration

STEPS = ["begun", "page", "filled", "optimized", "still", "reconciled", "switched", "rewired", "settled", "removed"]
COMMITTED = STEPS.index("switched")


@pytest.fixture(autouse=True)
def _stand_ins() -> Iterator[None]:
    with stand_ins():
        yield


@pytest.fixture(scope="module")
def children() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.switching", "tests.dying", "alembic.command", "alembic.autogenerate"])
    return context


@pytest.fixture
def die(children: Any, quick_folder: Path) -> Callable[..., Path]:
    """Let a child replace a home's index and be killed at a step; the home."""

    def run(why: str, step: str, nth: int = 1) -> Path:
        home = quick_folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        child = children.Process(target=switch_and_die, args=(home, why, step, nth))
        child.start()
        child.join(120)
        assert child.exitcode == -signal.SIGKILL
        child.close()
        return home

    return run


def go_on(platform: Platform) -> None:
    """What a node's start does for jobs whose worker died."""
    waiting: list[str] = []
    platform.w.ledger.deliver = lambda job, _queue: waiting.append(job)
    platform.w.ledger.sweep(orphaned=True)
    while waiting:
        platform.w.ledger.run(waiting.pop(0))


def assert_resumes(home: Path, why: str, *, committed: bool, edited: bool) -> None:
    """After the kill one index serves; after its job went on, the new one does, and nothing of the old is left."""
    with opened(home) as platform:
        serves = platform.embedder()["name"]
        assert serves == (LARGE if why == "switch" and committed else SMALL)
        assert (platform.embedder()["collection"] == "index") is not committed
        assert_whole(platform)
        assert_answers(platform, edited=edited)
        go_on(platform)
        assert platform.embedder()["name"] == (LARGE if why == "switch" else SMALL)
        assert platform.embedder()["collection"] != "index"
        assert platform.w.replacer.filling() is None
        assert platform.w.replacer.serves()["previous"] == []
        assert_whole(platform)
        assert_answers(platform, edited=edited)
        assert {job["state"] for job in platform.jobs()} == {"done"}
        assert len(list(home.glob("index*"))) == 1


@pytest.mark.parametrize(
    ("why", "step", "nth"),
    [
        ("switch", "page", 3),
        ("switch", "reconciled", 1),
        ("switch", "switched", 1),
        ("switch", "removed", 1),
        ("maintain", "optimizing", 1),
        ("maintain", "still", 1),
        ("maintain", "settled", 1),
    ],
)
def test_killed_at_a_step_one_index_serves_and_the_job_goes_on(
    die: Callable[..., Path], why: str, step: str, nth: int
) -> None:
    home = die(why, step, nth)
    committed = step in STEPS[COMMITTED:]
    assert_resumes(home, why, committed=committed, edited=step not in ("begun", "page"))


@pytest.mark.parametrize("why", ["switch", "maintain"])
def test_an_image_of_the_home_at_any_step_starts_whole_and_goes_on(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(replace, "_BATCH", 4)
    images: list[tuple[str, bool, Path]] = []
    home = quick_folder / "home"
    seen: list[str] = []
    armed = False

    def at(name: str) -> None:
        if armed and name in STEPS:
            edited = "filled" in seen
            seen.append(name)
            images.append((name, edited, image(home, quick_folder / f"image-{len(images)}")))
            if name == "filled":
                edit(platform)

    with opened(home, step=at) as platform:
        furnish(platform)
        armed = True
        platform.w.ledger.run(
            (platform.enqueue_switch(LARGE) if why == "switch" else platform.enqueue_maintain())["job"]
        )
    assert set(seen) == set(STEPS)
    for name, edited, copy in images:
        assert_resumes(copy, why, committed=name in STEPS[COMMITTED:], edited=edited)
        shutil.rmtree(copy)


@pytest.mark.parametrize("step", STEPS)
def test_an_error_at_any_step_leaves_what_serves_and_a_retry_goes_on(quick_folder: Path, step: str) -> None:
    broken = [True]

    def at(name: str) -> None:
        if name == step and broken.pop(0) if broken else False:
            raise OSError(5, "Input/output error")

    with pytest.MonkeyPatch.context() as patched, opened(quick_folder / "home", step=at) as platform:
        patched.setattr(replace, "_BATCH", 4)
        broken.clear()
        furnish(platform)
        broken.append(True)
        job = platform.enqueue_switch(LARGE)["job"]
        platform.w.ledger.run(job)
        assert platform.job(job)["state"] == "failed"
        platform.w.replacer.tidy()
        assert_whole(platform)
        assert_answers(platform, edited=False)
        platform.w.ingest.add([])
        edit(platform)  # publishing goes on: no lock is left
        platform.retry_job(job)
        platform.w.ledger.run(job)
        assert platform.job(job)["state"] == "done"
        assert platform.embedder()["name"] == LARGE
        assert_whole(platform)
        assert_answers(platform, edited=True)


def test_a_full_disk_at_any_write_of_the_fill_leaves_what_serves(quick_folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patched, opened(quick_folder / "home") as platform:
        patched.setattr(replace, "_BATCH", 3)
        furnish(platform)
        real, left = edge.EdgeIndex._update, [0]

        def full(self: edge.EdgeIndex, operation: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise DiskFull("the disk is full", hint="free some space")
            real(self, operation)

        patched.setattr(edge.EdgeIndex, "_update", full)
        job = platform.enqueue_switch(LARGE)["job"]
        for room in range(1, 20):
            left[0] = room
            if room > 1:
                platform.retry_job(job)
            platform.w.ledger.run(job)
            assert answers(platform, "The heron nests in tall trees.")[0] == "The heron nests in tall trees."
            if platform.job(job)["state"] == "done":
                break
            assert platform.job(job)["error"]["code"] == "disk_full"
        assert room > 1
        assert platform.embedder()["name"] == LARGE
        assert_whole(platform)
