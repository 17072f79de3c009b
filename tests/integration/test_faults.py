"""Promise 1 when a write fails: a full disk and a broken one, at every write of a publish, a restore and a delete.

The real classes stand on an operating system that refuses: files are not synced, the engine of the index raises, a
transaction does not commit. Kills are in `test_publish_kill`, a file system that is really full in `test_versions`.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from kernel.blobs import FileBlobs
from kernel.errors import RepriseError
from tests.doors import memory_folder
from tests.dying import NAME, TEXTS, image, prepare
from tests.house import House, page
from tests.integration.test_publish_kill import SECTIONS, assert_nothing_is_left_over

pytestmark = pytest.mark.integration

MOST_WRITES = 100
Trouble = Literal["broken once", "full until freed"]
_SAID = {"broken once": "disk I/O error", "full until freed": "database or disk is full"}
_ERRNO = {"broken once": errno.EIO, "full until freed": errno.ENOSPC}


class Disk:
    """Counts writes and refuses one, or one and all that follow until somebody makes room."""

    def __init__(self, house: House, trouble: Trouble, at: int, patch: pytest.MonkeyPatch) -> None:
        self._trouble, self._at, self._writes, self._armed = trouble, at, 0, True
        self.refused = 0
        fsync, erase = os.fsync, FileBlobs.delete
        patch.setattr(os, "fsync", lambda descriptor: (self._os_write(), fsync(descriptor)))
        if trouble == "broken once":  # a full disk lets go of files
            patch.setattr(FileBlobs, "delete", lambda blobs, key: (self._os_write(), erase(blobs, key))[1])
        event.listen(house.db.engine, "commit", lambda _connection: self._commit())
        house.index._shard = _Shard(house.index._shard, self._os_write)  # type: ignore[attr-defined]

    def make_room(self) -> None:
        self._armed = False

    def _refuses(self) -> bool:
        self._writes += self._armed
        late = self._writes > self._at and self._trouble == "full until freed"
        refuses = self._armed and (self._writes == self._at or late)
        self.refused += refuses
        return refuses

    def _os_write(self) -> None:
        if self._refuses():
            raise OSError(_ERRNO[self._trouble], os.strerror(_ERRNO[self._trouble]))

    def _commit(self) -> None:
        if self._refuses():
            raise OperationalError("COMMIT", None, sqlite3.OperationalError(_SAID[self._trouble]))


class _Shard:
    """Edge's shard, asked before each write."""

    def __init__(self, shard: Any, ask: Callable[[], None]) -> None:
        self._shard, self._ask = shard, ask

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)

    def update(self, operation: Any) -> None:
        self._ask()
        self._shard.update(operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that is done to the one document: which sections it shows before and after; None when it is gone."""

    prepared: int
    do: Callable[[House], dict[str, Any]]
    before: int
    after: int | None


DEEDS = {
    "publish": Deed(prepared=1, do=lambda house: house.put(NAME, TEXTS[2]), before=1, after=2),
    "restore": Deed(
        prepared=2,
        do=lambda house: house.ingest.again(*house.library.original(NAME, 1), "restore"),
        before=2,
        after=1,
    ),
    "delete": Deed(prepared=1, do=lambda house: house.delete.delete(NAME), before=1, after=None),
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with homes whose document has one version, or two."""
    with memory_folder(tmp_path_factory.mktemp("faults")) as folder:
        for versions in (1, 2):
            with House(folder / f"prepared-{versions}") as house:
                prepare(house)
                if versions == 2:
                    house.put(NAME, TEXTS[2])
        yield folder


def shown(house: House, document: str) -> int | None:
    """Which sections the document shows, all of them in one version; None if it shows nothing."""
    versions = house.shown(document)
    if not versions:
        return None
    ((version, places),) = versions.items()
    assert {p.point for p in places} == house.positions(document, version)
    texts = [p.text for p in places]
    return next(number for number, sections in SECTIONS.items() if texts == list(sections.values()))


def attempt(house: House, deed: Deed) -> str | None:
    """None when the deed says that it was done; else the code of the error that it raised or told of in a row."""
    try:
        told = deed.do(house)
    except RepriseError as error:
        return error.code
    except (OSError, OperationalError) as error:
        return type(error).__name__
    return told["error"]["code"] if told.get("error") else None


@pytest.mark.parametrize("trouble", ["broken once", "full until freed"])
@pytest.mark.parametrize("name", DEEDS)
def test_a_write_that_fails_leaves_it_done_or_not_done_and_a_retry_succeeds(
    homes: Path, monkeypatch: pytest.MonkeyPatch, name: str, trouble: Trouble
) -> None:
    deed = DEEDS[name]
    for at in range(1, MOST_WRITES):
        home = image(homes / f"prepared-{deed.prepared}", homes / f"{name}-{trouble}-{at}")
        with monkeypatch.context() as patch, House(home, lease_seconds=2) as house:
            document = house.library.find(NAME).id
            disk = Disk(house, trouble, at, patch)
            error = attempt(house, deed)
            said, refused = error is None, disk.refused
            assert error in (None, "disk_full") or trouble == "broken once"
            assert shown(house, document) in ({deed.after} if said else {deed.before, deed.after})
            disk.make_room()
            if trouble == "broken once":  # somebody tries again at once; a full disk is first cleared by a start
                # It may be deleted already, and a start will erase what is left of it.
                assert attempt(house, deed) in (None, "not_found" if name == "delete" else None)
                assert shown(house, document) == deed.after
        with House(home, lease_seconds=2) as house:
            house.recover()
            assert_nothing_is_left_over(house)
            found = shown(house, document)
            assert found in ({deed.after} if said or trouble == "broken once" else {deed.before, deed.after})
            if found != deed.after:
                assert attempt(house, deed) is None
                assert shown(house, document) == deed.after
                assert_nothing_is_left_over(house)
            if deed.after is None:
                assert house.index.count() == 0
            else:
                history = house.library.history(NAME)
                assert [v["version"] for v in history] == list(range(deed.prepared + 1, 0, -1))
        if not refused:
            break
    assert 5 < at < MOST_WRITES - 1


def test_a_delete_whose_erasing_failed_is_finished_by_asking_again(
    quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase, failures = FileBlobs.delete, [OSError(errno.EIO, "Input/output error")] * 2

    def fail(blobs: FileBlobs, key: str) -> bool:
        if failures:
            raise failures.pop()
        return erase(blobs, key)

    monkeypatch.setattr(FileBlobs, "delete", fail)
    with House(quick_folder / "home") as house:
        for name in ("by id.md", "by name.md"):
            failures[:] = [OSError(errno.EIO, "Input/output error")]
            document = house.put(name, page("Secret", {"Code": f"The word of {name} is heffalump."}))["document"]
            with pytest.raises(OSError, match="Input/output"):
                house.delete.delete(document)
            receipt = house.delete.delete(document if name == "by id.md" else name)
            assert receipt["document"] == document
            assert (receipt["points"], receipt["blobs"], receipt["remaining"]) == (1, 1, 0)
        failures[:] = [OSError(errno.EIO, "Input/output error")]
        document = house.put("by tick.md", page("Secret", {"Code": "The word is heffalump."}))["document"]
        with pytest.raises(OSError, match="Input/output"):
            house.delete.delete(document)
        assert house.delete.finish_interrupted(silent_ms=60_000) == 0, "its owner may be at it still"
        assert house.delete.finish_interrupted() == 1
        assert not list(house.blobs.keys())
