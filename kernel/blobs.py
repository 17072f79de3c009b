"""Content-addressed files: `blobs/ab/cdef…`, named by the SHA-256 of their bytes.

A file that is being written has a name with a dot in front, which is no key. What a killed process left of such a file
goes when it is an hour old and somebody opens the folder: nobody writes one blob for that long.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from kernel.errors import NO_ROOM, DiskFull, Failed, NotFound
from kernel.ids import digest

_STALE_SECONDS = 3600


class FileBlobs:
    """The `Blobs` port on a folder. A blob is written aside and renamed, so a reader never sees half of one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for aside in folder.glob("??/.*"):
            with suppress(FileNotFoundError):
                if aside.stat().st_mtime < time.time() - _STALE_SECONDS:
                    aside.unlink()

    def put(self, content: bytes) -> str:
        def write(aside: Path) -> None:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())

        return self._add(digest(content), len(content), write)

    def put_file(self, path: Path) -> str:
        with path.open("rb") as file:
            key, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
            os.fsync(file.fileno())

        def link(aside: Path) -> None:
            try:
                os.link(path, aside)
            except OSError:  # another volume, or one without links: a copy
                with path.open("rb") as source, aside.open("wb") as file:
                    shutil.copyfileobj(source, file, 2**20)
                    file.flush()
                    os.fsync(file.fileno())

        return self._add(key, size, link)

    def get(self, key: str) -> bytes:
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"no blob {key!r}", hint="it was deleted, or the home folder is incomplete") from None
        if digest(content) != key:
            raise Failed(f"blob {key!r} is damaged", hint="restore a backup", code="damaged_blob")
        return content

    def delete(self, key: str) -> bool:
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[str]:
        for path in self._folder.glob("??/*"):
            if not path.name.startswith("."):
                yield path.parent.name + path.name

    def _add(self, key: str, size: int, write: Callable[[Path], None]) -> str:
        """Have `write` make the file of a blob aside, and put it in its place. Nothing to do for one that is there."""
        path = self._path(key)
        if path.exists():
            return key
        aside = path.with_name(f".{key}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(exist_ok=True)
            write(aside)
            aside.replace(path)
            _sync(path.parent)
        except OSError as error:
            aside.unlink(missing_ok=True)
            if error.errno in NO_ROOM:
                raise DiskFull(
                    f"no room for {size:,} bytes in {str(self._folder)!r}",
                    hint="free some space and try again; nothing was changed",
                ) from error
            raise Failed(
                f"the disk could not be written in {str(self._folder)!r}: {error.strerror or error}",
                hint="check the disk and the folder's permissions, and try again; nothing was changed",
                code="disk_error",
            ) from error
        return key

    def _path(self, key: str) -> Path:
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise NotFound(f"{key!r} is not a blob key", hint="a key is a SHA-256 in lower-case hex")
        return self._folder / key[:2] / key[2:]


def require_room(folder: Path, mib: int) -> None:
    """Raises:
    DiskFull: fewer than `mib` MiB are free where `folder` is.
    """
    free = shutil.disk_usage(folder if folder.exists() else Path()).free / 2**20
    if free < mib:
        raise DiskFull(
            f"only {free:.0f} MiB are free where the home folder is, and a publish needs {mib} to be safe",
            hint="free some space, or lower REPRISE_MIN_FREE_MB; nothing was changed",
        )


def _sync(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut: the row that names the blob does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
