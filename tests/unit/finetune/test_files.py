"""Folders that stand under their name once they are whole: nothing is overwritten, and what is wrong is said."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from finetune.files import new_folder
from kernel.errors import Conflict, DiskFull, UserError


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_new_folder_touches_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / ".run.part").mkdir()
    (tmp_path / ".run.part" / "mine").write_text("kept")
    with new_folder(tmp_path / "run") as aside:
        (aside / "a").write_text("a")
        assert not (tmp_path / "run").exists()
    assert names(tmp_path) == {".run.part", "run"}
    assert (tmp_path / ".run.part" / "mine").read_text() == "kept"
    assert (tmp_path / "run").stat().st_mode == (tmp_path / ".run.part").stat().st_mode


def test_of_two_that_write_to_one_place_the_second_is_told(tmp_path: Path) -> None:
    def write(first: str, *others: str) -> None:
        with new_folder(tmp_path / "run") as aside:
            (aside / "a").write_text(first)
            if others:
                write(*others)

    with pytest.raises(Conflict, match="not empty"):
        write("late", "early")
    assert (tmp_path / "run" / "a").read_text() == "early"
    assert names(tmp_path) == {"run"}


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300, "file/run"], ids=["nul", "half", "long", "in a file"])
def test_what_can_be_no_folder_is_refused_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as told, new_folder(tmp_path / name):
        pass
    assert told.value.code == "unwritable_file"
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
        OSError("4096 requested and 0 written"),
    ],
    ids=["the system", "copytree", "numpy"],
)
def test_a_full_disk_is_told_as_that_and_leaves_nothing(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(DiskFull), new_folder(tmp_path / "run"):
        raise error
    assert names(tmp_path) == set()
