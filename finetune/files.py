"""Files and folders of a run: written aside, brought to the disk and renamed, so that nobody ever finds half of one."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kernel.errors import NO_ROOM, Conflict, DiskFull, RepriseError, UserError

_NO_ROOM = re.compile(
    r"No space left|Disk quota exceeded|File too large|requested and \d+ written|PytorchStreamWriter failed"
)
"""In the words of `shutil.copytree`, safetensors, numpy and torch, whose errors have no number."""
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def write(file: Path, text: str) -> None:
    """A reader finds the old text or the new one, also after a power cut."""
    aside = file.with_name(f".{file.name}.tmp")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)


def write_json(file: Path, value: Any) -> None:
    """Likewise, a value that JSON can hold."""
    write(file, json.dumps(value, ensure_ascii=False, indent=1))


def read_lines(file: Path) -> list[Any]:
    """The value of each line; a text within one may hold U+2028, which is no end of a line here."""
    return [json.loads(line) for line in _lines(file)]


def drop_lines(file: Path, gone: Callable[[Any], bool]) -> int:
    """Take the lines whose value is `gone` out of a file; how many. A file that is not there has none.

    One after the other, whichever processes want to: none brings back what another took out meanwhile.
    """
    if not file.exists():
        return 0
    with _one_writer(file.parent):
        lines = _lines(file)
        kept = [line for line in lines if not gone(json.loads(line))]
        if len(kept) < len(lines):
            write(file, "".join(f"{line}\n" for line in kept))
    return len(lines) - len(kept)


def add_lines(file: Path, values: Sequence[Any]) -> None:
    """Add a line for each value that has none yet, likewise; a file that is not there is made."""
    with _one_writer(file.parent):
        lines = _lines(file) if file.exists() else []
        told = [json.dumps(value, ensure_ascii=False) for value in values]
        write(file, "".join(f"{line}\n" for line in dict.fromkeys([*lines, *told])))


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def no_room(error: BaseException) -> bool:
    """Whether an error says that the disk is full, by its number or, where whoever wrote gives none, by its words."""
    return (isinstance(error, OSError) and error.errno in NO_ROOM) or bool(_NO_ROOM.search(str(error)))


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to write into that stands as `target` once all of it is written. Nothing is overwritten.

    Raises:
        Conflict: there is something, from the start or by somebody else meanwhile.
        UserError: no folder can be written there.
        DiskFull: there was no room for it.
    """
    try:
        with suppress(FileNotFoundError):
            target.lstat()  # which says what is wrong with a name, where `exists` says that there is none
        stands = _stands(target)
        if not stands:
            target.parent.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(prefix=".reprise-", dir=target.parent))  # of this call alone
    except (OSError, ValueError) as error:  # ValueError: what no path can hold
        raise _unwritable(target, error) from error
    if stands:
        raise _conflict(target)
    aside = place / "whole"  # as what `mkdtemp` makes is closed to all others
    try:
        aside.mkdir()
        yield aside
        if target.is_dir():
            target.rmdir()
        aside.rename(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").split("\n") if line]


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Let one of all processes at a time change lines of files in a folder."""
    import fcntl

    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)  # it ends when `place` is closed
        yield
    finally:
        os.close(place)


def _stands(target: Path) -> bool:
    return target.exists() and (not target.is_dir() or any(target.iterdir()))


def _conflict(target: Path) -> Conflict:
    return Conflict(f"{str(target)!r} is not empty", hint="name a new folder; nothing is overwritten")


def _unwritable(target: Path, error: OSError | ValueError) -> RepriseError:
    if no_room(error):
        return DiskFull(f"no room for {str(target)!r}", hint="free some space, or name a folder on another disk")
    number = error.errno if isinstance(error, OSError) else None
    if number in _TAKEN and _stands(target):
        return _conflict(target)
    told = getattr(error, "strerror", None) or error
    hint = "name a new folder where you may write"
    return UserError(f"{str(target)!r} cannot be written: {told}", hint=hint, code="unwritable_file")
