"""One ZIP or TAR, opened with suspicion: its entries one by one, none unpacked before it is asked for.

Everything it says of itself is checked against limits before it costs memory, and nothing is written to disk. A ZIP's
directory is counted before it is read, and its entries must not share bytes (Fifield, A better zip bomb, WOOT 2019). A
TAR is read twice, first its headers alone. It does not know what the entries are for.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import IO, Literal, cast

from ingest.parse.limits import Limits
from kernel.errors import FileRefused

Kind = Literal["zip", "tar"]
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2")
MAX_BYTES = 2 * 2**30
"""Content of an archive and of the archives within it, in all."""
FREE_BYTES = 50 * 2**20
"""An archive that unpacks to less is no bomb, however well it was packed."""
BAD = (zipfile.BadZipFile, tarfile.TarError, RuntimeError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)
"""What the libraries raise on a damaged archive, or one with a password."""

_OFFICE = "docx docm dotx pptx pptm ppsx xlsx xlsm xlsb epub odt ods odp odg odf"
_DOCUMENTS = tuple(f".{suffix}" for suffix in _OFFICE.split())
_ENTRY = struct.Struct("<4s24x3H12x")  # of a ZIP's directory: its mark, and the lengths of name, extra and comment
_MOST_DIRECTORY, _FOLDERS_PER_FILE = 64 * 2**20, 10
_STEP, _SMALL_STEP, _MOST_READ, _MOST_CALLS = 1 << 16, 1 << 12, 1 << 20, 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of an archive. `read` unpacks it; before that it costs nothing."""

    name: str
    size: int
    """Bytes unpacked, as the archive says; `read` gives no more."""
    plain: bool
    """False for links, devices and the like."""
    packed: int | None
    """Bytes it takes in the archive, where that is known."""
    read: Callable[[], bytes]


@dataclass(slots=True, kw_only=True)
class Budget:
    """What an archive and all within it may still cost, together."""

    limits: Limits
    outermost: int
    """Bytes of the archive that came in."""
    files: int = 0
    total: int = 0

    def take(self, name: str, files: int, total: int) -> None:
        """Count an archive's content in.

        Raises:
            FileRefused: it would be too much; nothing is counted then.
        """
        self.check(name, self.files + files, self.total + total)
        self.files += files
        self.total += total

    def check(self, name: str, files: int, total: int) -> None:
        """As `take`, and nothing is counted."""
        self.limits.check(name, "max_members", files, "files")
        if total > FREE_BYTES:
            self.limits.check(name, "max_ratio", total / max(1, self.outermost), "times its size in content")
        if total > MAX_BYTES:
            raise FileRefused(
                f"the archive {name!r} unpacks to {total / 2**20:,.0f} MiB; the limit is {MAX_BYTES // 2**20:,} MiB",
                hint="Unpack it and ingest the folder.",
                code="archive_too_large",
            )


def kind(file: IO[bytes], name: str, limits: Limits) -> Kind | None:
    """What an archive this is, or None. An office document is none, though it is a ZIP, too.

    Raises:
        FileRefused: `broken_archive` for what is named as an archive and is none.
    """
    found = _by_content(file, name, limits)
    if found is None and name.lower().endswith(ARCHIVES):
        raise broken(name, "it is no ZIP or TAR file")
    return found


def broken(name: str, why: str) -> FileRefused:
    """The error for an archive, or a file in one, that cannot be unpacked."""
    return FileRefused(
        f"the archive {name!r} cannot be read: {why}",
        hint="Check that it opens elsewhere and has no password, and pack it again as .zip or .tar.gz.",
        code="broken_archive",
    )


def _by_content(file: IO[bytes], name: str, limits: Limits) -> Kind | None:
    if name.lower().endswith(_DOCUMENTS):
        return None
    file.seek(0)
    head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return None if _is_document(file, name, limits) else "zip"
    with suppress(*BAD):
        if head.startswith((b"\x1f\x8b", b"BZh")):
            head = _stream(file).read(512)
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")  # the header's checksum: old ones have no mark
        return "tar"
    if name.lower().endswith(".zip") and zipfile.is_zipfile(file):  # with something before it, as a program has
        return "zip"
    return None


def zip_entries(file: IO[bytes], name: str, budget: Budget) -> Iterator[Entry]:
    """Files of a ZIP, by name.

    Raises:
        FileRefused: it is too much, or a bomb.
        BAD: it is damaged.
    """
    limits = budget.limits
    for _ in _names(file, name, limits):  # before the library makes an object of each: a directory can list millions
        pass
    with zipfile.ZipFile(file) as opened:
        infos = opened.infolist()
        _refuse_overlaps(infos, opened.start_dir, name)
        infos = [info for info in infos if not info.is_dir()]
        wanted = [info.file_size for info in infos if not is_bomb(info.file_size, info.compress_size, limits)]
        budget.take(name, len(infos), sum(size for size in wanted if size <= limits.max_upload_mb * 2**20))
        for info in sorted(infos, key=lambda i: i.orig_filename):
            yield Entry(
                name=info.orig_filename,  # `filename` ends at a NUL, and would pass for another
                size=info.file_size,
                plain=not stat.S_ISLNK(info.external_attr >> 16),
                packed=info.compress_size,
                read=partial(_unpacked, opened, info),
            )


def tar_entries(file: IO[bytes], name: str, budget: Budget) -> Iterator[Entry]:
    """Files of a TAR, packed or not, as they lie: going back in a packed one reads it all again.

    Raises:
        FileRefused: it is too much.
        BAD: it is damaged.
    """
    most = budget.limits.max_upload_mb * 2**20
    sizes = list(_headers(file, name, budget))
    budget.take(name, len(sizes), sum(size for size in sizes if size <= most))
    with _opened(file, name, budget) as tar:
        for member in tar:
            cast(_Watched, tar.fileobj).calls = 0
            if not member.isdir():
                read = partial(_extracted, tar, member)
                yield Entry(name=member.name, size=member.size, plain=member.isfile(), packed=None, read=read)


def is_bomb(size: int, packed: int, limits: Limits) -> bool:
    """Whether one entry alone unpacks to more than its packed bytes can mean."""
    return size > FREE_BYTES and size > limits.max_ratio * max(1, packed)


# --- ZIP ---------------------------------------------------------------------------------------------


def _names(file: IO[bytes], name: str, limits: Limits) -> Iterator[bytes]:
    """Names in a ZIP's directory, as far as it can be followed.

    Raises:
        FileRefused: there are too many.
    """
    # The library's own way to find the directory: another reading of the same bytes might find another one.
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if not end:
        raise zipfile.BadZipFile("it has no directory")
    size, location = end[5], end[9]
    start = location - size - (76 if end[0] == b"PK\x06\x06" else 0)  # a large archive has two more records there
    if size > _MOST_DIRECTORY:
        raise limits.exceeded(name, "max_members", f"a directory of {size / 2**20:,.0f} MiB")
    if start < 0:
        raise zipfile.BadZipFile("its directory is not where it says")
    file.seek(start)
    directory, at = file.read(size), 0
    most = left = _FOLDERS_PER_FILE * limits.max_members
    while at + _ENTRY.size <= len(directory):
        mark, *lengths = _ENTRY.unpack_from(directory, at)
        if mark != b"PK\x01\x02":
            return  # the library will say so
        if (left := left - 1) < 0:
            raise limits.exceeded(name, "max_members", f"more than {most:,} files and folders")
        at += _ENTRY.size
        yield directory[at : at + lengths[0]]
        at += sum(lengths)


def _refuse_overlaps(infos: list[zipfile.ZipInfo], end: int, name: str) -> None:
    spans = sorted((info.header_offset, info.header_offset + 30 + info.compress_size) for info in infos)
    if any(later[0] < earlier[1] for earlier, later in pairwise([*spans, (end, end)])):
        raise broken(name, "its files share their packed bytes, as in a bomb")


def _unpacked(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    # Step by step, whatever it says: only deflate is unpacked no further than asked, and bzip2 and LZMA are not.
    step = _STEP if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else _SMALL_STEP
    out = io.BytesIO()
    with opened.open(info) as file:
        while part := file.read(step):
            out.write(part)
    return out.getvalue()


def _is_document(file: IO[bytes], name: str, limits: Limits) -> bool:
    """Office, OpenDocument and EPUB files say what they are: in their first bytes, or by a part that all have."""
    file.seek(0)
    if b"mimetypeapplication/" in file.read(200):
        return True
    try:
        return b"[Content_Types].xml" in _names(file, name, limits)
    except BAD:
        return False


# --- TAR ---------------------------------------------------------------------------------------------


class _Watched(io.RawIOBase):
    """A stream that tarfile reads: it ends with an error where too much was unpacked, or nothing comes of it.

    tarfile reads what a header says is an extended header into memory whole, and follows chains of headers without end.
    """

    def __init__(self, stream: IO[bytes], check: Callable[[int], None]) -> None:
        self._inner, self._check = stream, check
        self.calls = 0
        """Since it was set to 0: a header needs few."""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_READ:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self._count()
        found = self._inner.read(size)
        self._check(self._inner.tell())
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._count()
        if whence != io.SEEK_SET or offset < 0:
            raise tarfile.ReadError("a header that points nowhere")
        while offset > (at := self._inner.tell()):  # a packed one is unpacked on the way
            if not self._inner.read(min(_MOST_READ, offset - at)):
                return at
            self._check(self._inner.tell())
        return self._inner.seek(offset)

    def tell(self) -> int:
        return self._inner.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def _count(self) -> None:
        self.calls += 1
        if self.calls > _MOST_CALLS:
            raise tarfile.ReadError("headers without end")


def _headers(file: IO[bytes], name: str, budget: Budget) -> Iterator[int]:
    """Sizes of everything but folders. The limits are looked at header by header, before what follows is unpacked."""
    limits = budget.limits
    with _opened(file, name, budget) as tar:
        stream = cast(_Watched, tar.fileobj)
        files = 0
        for number, member in enumerate(tar, 1):
            stream.calls = 0
            if number > _FOLDERS_PER_FILE * limits.max_members:
                raise limits.exceeded(name, "max_members", f"more than {number - 1:,} files and folders")
            if not member.isdir():
                files += 1
                budget.check(name, budget.files + files, budget.total)
                yield member.size
        while stream.read(_MOST_READ):  # a packed file's checksum stands behind its last byte
            stream.calls = 0


def _opened(file: IO[bytes], name: str, budget: Budget) -> tarfile.TarFile:
    stream = _stream(file)
    watched = _Watched(stream, lambda at: budget.check(name, 0, budget.total + at) if stream is not file else None)
    return tarfile.open(fileobj=cast(IO[bytes], watched), mode="r:")


def _stream(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    mark = file.read(3)
    file.seek(0)
    if mark.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if mark == b"BZh":
        return cast(IO[bytes], bz2.BZ2File(file))
    return file


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = cast(_Watched, tar.fileobj)
    out = io.BytesIO()
    content = tar.extractfile(member)
    assert content is not None
    with content:
        while part := content.read(_STEP):
            stream.calls = 0
            out.write(part)
    if out.tell() != member.size:
        raise tarfile.ReadError("unexpected end of data")
    return out.getvalue()
