"""Uploads in pieces: bytes that arrive over several requests, and become a blob and a job when the last has come.

An offset is acknowledged only when the bytes before it are on disk and the row says so; what a killed process wrote
beyond it is cut off and sent again. One writer at a time holds the lock of an upload's file, which the operating system
takes back from a dead one. Of a complete upload only the job stays on record: its name and options are its job's now.

It knows neither HTTP nor jobs: `accept` is whoever takes in a file whose bytes are a blob.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import delete, select, update

from ingest.names import safe_name
from ingest.tables import Upload
from kernel.blobs import require_room
from kernel.database import Database, affected
from kernel.errors import Conflict, DiskFull, FileRefused, NotFound, UserError
from kernel.ids import fresh, iso, now_ms
from kernel.ports import Blobs

EXPIRES_MS = 24 * 3600 * 1000
_KEEP_BYTES = 16 * 2**20
"""How much is written before it is acknowledged on the way, so that a long request does not begin anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An upload as it stands. `offset` bytes of `size` are safe."""

    id: str
    name: str
    size: int
    offset: int
    job: str | None
    expires: int

    def as_json(self) -> dict[str, Any]:
        return {
            "upload": self.id,
            "name": self.name or None,
            "size": self.size,
            "offset": self.offset,
            "job": self.job,
            "expires": iso(self.expires),
        }


class Uploads:
    """Uploads of one node. Safe from several threads and processes."""

    def __init__(self, db: Database, blobs: Blobs, folder: Path, *, max_mb: int, min_free_mb: int) -> None:
        self._db, self._blobs, self._folder = db, blobs, folder
        self.max_mb, self._min_free_mb = max_mb, min_free_mb
        self.accept: Callable[[list[dict[str, Any]]], str] = lambda _tickets: ""
        """Take in files, as a job has them; the job."""

    def create(self, size: int, *, workspace: str, **ticket: Any) -> Held:
        """Begin an upload of `size` bytes; `ticket` has the fields of `Incoming` but for the bytes.

        Raises:
            FileRefused: it is larger than is taken (`too_large`).
            DiskFull: there is no room for it.
            UserError: it cannot be called that.
        """
        name = safe_name(ticket.pop("name"))
        if size > self.max_mb * 2**20:
            raise FileRefused(
                f"{name!r} is larger than {self.max_mb} MiB",
                hint="split it, or raise REPRISE_MAX_UPLOAD_MB",
                code="too_large",
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        require_room(self._folder, self._min_free_mb + size // 2**20)
        row = Upload(
            id=fresh("upload"),
            name=name,
            workspace=workspace,
            size=size,
            offset=0,
            options=ticket,
            job=None,
            expires=now_ms() + EXPIRES_MS,
        )
        with self._db.write() as session:
            session.add(row)
        if size == 0:
            self.finish(row.id)
        return self.find(row.id)

    def find(self, upload: str) -> Held:
        """Raises:
        NotFound: no such upload, or it has expired or was called off.
        """
        with self._db.read() as session:
            row = session.get(Upload, upload)
        if row is None or (row.job is None and row.expires <= now_ms()):
            raise NotFound(f"no upload {upload!r}", hint="it may have expired: begin a new one")
        return Held(id=row.id, name=row.name, size=row.size, offset=row.offset, job=row.job, expires=row.expires)

    @contextmanager
    def writing(self, upload: str, offset: int) -> Iterator[Writer]:
        """Go on with an upload at `offset`. What was written and not kept is cut off at the end.

        Raises:
            NotFound: no such upload.
            Conflict: somebody else is writing (`upload_locked`), or it stands at another offset (`offset_mismatch`).
        """
        self.find(upload)  # before its file is opened: nothing is made for a name that nobody gave out
        with self._locked(upload) as file:
            held = self._really(upload, file)
            if held.offset != offset:
                raise Conflict(
                    f"upload {upload!r} stands at {held.offset:,}, not at {offset:,}",
                    hint="ask for its offset and go on from there",
                    code="offset_mismatch",
                )
            writer = Writer(self._db, held, file)
            try:
                yield writer
            finally:
                writer.cut()

    def finish(self, upload: str) -> Held:
        """A complete upload becomes a blob and a job, once; one that is not complete stays as it is.

        The bytes stay here until the job is in the ledger, so a crash in between is only done again.
        """
        held = self.find(upload)
        if held.job is None and held.offset == held.size:
            with self._locked(upload) as file:
                held = self._really(upload, file)
                if held.offset == held.size:
                    self._finish(upload)
        return self.find(upload)

    def remove(self, upload: str) -> None:
        """Call an upload off; its bytes go at once. The job of a complete one is not touched."""
        self.find(upload)
        with self._locked(upload):
            self._drop(upload)

    def sweep(self) -> int:
        """Finish what a crash kept from it, drop what has expired; how many were dropped."""
        now, dropped = now_ms(), 0
        with self._db.read() as session:
            complete = select(Upload.id).where(Upload.job.is_(None), Upload.offset == Upload.size, Upload.expires > now)
            unfinished = list(session.scalars(complete))
            expired = list(session.scalars(select(Upload.id).where(Upload.expires <= now)))
            known = set(session.scalars(select(Upload.id)))
        for upload in unfinished:
            with suppress(Conflict, NotFound):
                self.finish(upload)
        for upload in expired:
            with suppress(Conflict), self._locked(upload):
                self._drop(upload)
                dropped += 1
        for path in self._folder.glob("upload-*"):
            with suppress(FileNotFoundError):
                if path.name not in known and path.stat().st_mtime < time.time() - 3600:
                    path.unlink()
        return dropped

    def _really(self, upload: str, file: BinaryIO) -> Held:
        """The upload as its file says; a home restored from a backup, say, has the row and not the bytes."""
        held, there = self.find(upload), os.fstat(file.fileno()).st_size
        if held.job is not None or there >= held.offset:
            return held
        with self._db.write() as session:
            session.execute(update(Upload).where(Upload.id == upload).values(offset=there))
        return self.find(upload)

    def _finish(self, upload: str) -> None:
        path = self._folder / upload
        with self._db.read() as session:
            row = session.get(Upload, upload)
        if row is not None and row.job is None:
            of = {"name": row.name, "workspace": row.workspace} | row.options
            job = self.accept([of | {"blob": self._blobs.put_file(path)}])
            with self._db.write() as session:
                done = {"job": job, "name": "", "options": {}, "expires": now_ms() + EXPIRES_MS}
                session.execute(update(Upload).where(Upload.id == upload).values(**done))
        path.unlink(missing_ok=True)

    def _drop(self, upload: str) -> None:
        with self._db.write() as session:
            session.execute(delete(Upload).where(Upload.id == upload))
        (self._folder / upload).unlink(missing_ok=True)

    @contextmanager
    def _locked(self, upload: str) -> Iterator[BinaryIO]:
        """The file of an upload whose row is known, for this writer alone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / upload).open("a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"upload {upload!r} is being written by another request",
                    hint="wait for that one to end, then ask for the offset and go on from there",
                    code="upload_locked",
                ) from None
            yield file  # type: ignore[misc]  # a raw file writes as one with a buffer does


class Writer:
    """Writes the next bytes of an upload. They count once they are kept."""

    def __init__(self, db: Database, held: Held, file: BinaryIO) -> None:
        self._db, self._held, self._file = db, held, file
        self.offset = self._kept = held.offset
        self.cut()

    @property
    def complete(self) -> bool:
        return self._kept == self._held.size

    def write(self, content: bytes, *, keep: bool = True) -> None:
        """Take the next bytes. With `keep` they are kept now and then on the way, so that not all is sent again.

        Raises:
            UserError: there are more bytes than the upload was announced with.
            DiskFull: there is no room.
        """
        if self.offset + len(content) > self._held.size:
            raise UserError(
                f"upload {self._held.id!r} was announced with {self._held.size:,} bytes, and more have come",
                hint="begin a new upload with the right length",
                code="too_long",
            )
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise DiskFull("no room for the next bytes", hint="free some space, then go on from the offset") from error
        self.offset += len(content)
        if keep and self.offset - self._kept >= _KEEP_BYTES:
            self.keep()

    def keep(self) -> None:
        """Make what was written safe, and say so."""
        os.fsync(self._file.fileno())
        with self._db.write() as session:
            moved = update(Upload).where(Upload.id == self._held.id, Upload.job.is_(None))
            if not affected(session, moved.values(offset=self.offset, expires=now_ms() + EXPIRES_MS)):
                raise NotFound(f"no upload {self._held.id!r}", hint="it was called off: begin a new one")
        self._kept = self.offset

    def cut(self) -> None:
        """Take back what was not kept."""
        self.offset = self._kept
        self._file.seek(self._kept)
        self._file.truncate()
