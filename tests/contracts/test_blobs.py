"""What every engine of the `Blobs` port promises."""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernel.blobs import FileBlobs
from kernel.errors import DiskFull, Failed, NotFound
from kernel.ports import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return FileBlobs(tmp_path / "blobs")


@pytest.mark.parametrize("content", [b"", b"a", bytes(range(256)) * 5000])
def test_what_is_put_is_got_under_the_hash_of_its_bytes(blobs: Blobs, content: bytes) -> None:
    key = blobs.put(content)
    assert key == hashlib.sha256(content).hexdigest()
    assert blobs.get(key) == content


def test_the_same_bytes_twice_are_one_blob(blobs: Blobs) -> None:
    assert blobs.put(b"x") == blobs.put(b"x")
    assert len(list(blobs.keys())) == 1


def test_keys_are_those_that_were_put_and_not_deleted(blobs: Blobs) -> None:
    keys = {blobs.put(bytes([i])) for i in range(20)}
    gone = keys.pop()
    assert blobs.delete(gone)
    assert not blobs.delete(gone)
    assert set(blobs.keys()) == keys
    with pytest.raises(NotFound):
        blobs.get(gone)


@pytest.mark.parametrize("key", ["", "x", "../../etc/passwd", "A" * 64, "0" * 63 + "/"])
def test_what_is_no_key_is_not_found_and_never_a_path(blobs: Blobs, key: str) -> None:
    with pytest.raises(NotFound):
        blobs.get(key)
    with pytest.raises(NotFound):
        blobs.delete(key)


def test_threads_that_put_the_same_bytes_all_succeed(blobs: Blobs) -> None:
    contents = [bytes([i]) * 100_000 for i in range(4)] * 8
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(blobs.put, contents))
    assert {blobs.get(key) for key in keys} == set(contents)
    assert len(list(blobs.keys())) == 4


# --- files alone --------------------------------------------------------------------------------------


def test_damage_is_found_when_read(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    key = blobs.put(b"the text")
    (tmp_path / key[:2] / key[2:]).write_bytes(b"the tex!")
    with pytest.raises(Failed) as failure:
        blobs.get(key)
    assert failure.value.code == "damaged_blob"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FileBlobs(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        blobs.put(b"x")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_what_a_killed_process_left_half_written_is_no_blob_and_goes_in_time(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    key = blobs.put(b"x")
    old, new = (tmp_path / key[:2] / f".{key}.{name}" for name in ("old", "new"))
    for aside in (old, new):
        aside.write_bytes(b"hal")
    os.utime(old, (0, 0))
    assert list(blobs.keys()) == [key]
    assert list(FileBlobs(tmp_path).keys()) == [key]
    assert (old.exists(), new.exists()) == (False, True)  # the new one may still be being written


def test_a_file_becomes_a_blob_and_stays_where_it_is(blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    for content in (b"", b"walrus", bytes(range(256)) * 9000):
        path.write_bytes(content)
        key = blobs.put_file(path)
        assert key == hashlib.sha256(content).hexdigest() == blobs.put_file(path) == blobs.put(content)
        assert blobs.get(key) == path.read_bytes() == content
        path.unlink()
        assert blobs.get(key) == content


def test_a_file_on_another_volume_becomes_a_blob_too(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(*_given: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr("os.link", elsewhere)
    path = tmp_path / "upload"
    path.write_bytes(b"walrus")
    assert blobs.get(blobs.put_file(path)) == b"walrus"
