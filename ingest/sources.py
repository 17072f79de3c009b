"""What a person names on the command line, as files: paths, folders, archives, URLs. Reads one at a time."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath, PurePosixPath

from ingest.add import Incoming
from ingest.names import safe_name
from kernel.errors import FileRefused, NotFound, RepriseError, UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
SKIPPED = {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", ".reprise"}
_BAD = (zipfile.BadZipFile, tarfile.TarError, RuntimeError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)
"""What the libraries raise on a damaged archive, or one with a password."""
MAX_MEMBERS, MAX_ARCHIVE_BYTES, MAX_RATIO = 10_000, 2 * 2**30, 200


def check(paths: Sequence[str], as_name: str | None) -> None:
    """Say what is wrong before anything is read.

    Raises:
        NotFound: a path that is not there.
        UserError: `--as` with several files.
    """
    for path in paths:
        if not _is_url(path) and not _exists(path):
            raise NotFound(
                f"no file or folder {path!r}", hint="check the path; nothing was changed", code="missing_path"
            )
    single = len(paths) == 1 and (_is_url(paths[0]) or (Path(paths[0]).is_file() and not _is_archive(paths[0])))
    if as_name is not None and not single:
        raise UserError("--as names one document", hint="give one file with --as")


def read(
    paths: Sequence[str],
    *,
    workspace: str,
    as_name: str | None = None,
    at: int | None = None,
    refused: list[tuple[str, RepriseError]] | None = None,
    max_bytes: int = 250 * 2**20,
) -> Iterator[Incoming]:
    """Every file of `paths`, in order of name within a folder. What cannot be read goes to `refused`."""
    refused = refused if refused is not None else []
    for path in paths:
        try:
            for name, found, content in _files(path, refused, max_bytes):
                source = found.encode("utf-8", "backslashreplace").decode()  # a folder's name need not be text
                try:
                    known = safe_name(name if as_name is None else as_name)
                except UserError as error:  # one odd name must not take the rest of its folder with it
                    refused.append((source, error))
                    continue
                yield Incoming(
                    path=_told_kind(source, name),
                    name=known,
                    source=source,
                    workspace=workspace,
                    content=content,
                    at=at,
                    explicit=as_name is not None,
                )
        except RepriseError as error:
            refused.append((path, error))


def _files(path: str, refused: list[tuple[str, RepriseError]], max_bytes: int) -> Iterator[tuple[str, str, bytes]]:
    """(name, source, content) of each file that `path` stands for."""
    if _is_url(path):
        from ingest.fetch import fetch

        yield fetch(path, max_bytes)
        return
    place = Path(path)
    if place.is_dir():
        for file in sorted(place.rglob("*")):
            parts = file.relative_to(place).parts
            if file.is_file() and not any(part in SKIPPED or part.startswith(".") for part in parts):
                try:
                    yield "/".join(parts), str(file.resolve()), _content(file, max_bytes)
                except RepriseError as error:
                    refused.append((str(file), error))
    elif _is_archive(path):
        yield from _members(place, refused, max_bytes)
    else:
        yield place.name, str(place.resolve()), _content(place, max_bytes)


def _told_kind(source: str, name: str) -> str:
    """The path a file is known and read by: a page's own name where its URL ends in a query or in no suffix at all."""
    return name if _is_url(source) and PurePath(source).suffix != PurePath(name).suffix else source


def _content(file: Path, max_bytes: int) -> bytes:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):  # a device or a pipe may never end
            raise FileRefused(f"{str(file)!r} is not a file but a device or a pipe", hint="give a file or a folder")
        if found.st_size > max_bytes:
            raise _too_large(file.name, max_bytes)
        return file.read_bytes()
    except OSError as error:
        raise FileRefused(f"{str(file)!r} cannot be read: {error.strerror}", hint="check its permissions") from error


def _too_large(name: str, max_bytes: int) -> FileRefused:
    return FileRefused(
        f"{name!r} is larger than {max_bytes // 2**20} MiB",
        hint="split it, or raise REPRISE_MAX_UPLOAD_MB",
        code="too_large",
    )


def _members(
    archive: Path, refused: list[tuple[str, RepriseError]], max_bytes: int
) -> Iterator[tuple[str, str, bytes]]:
    """Files of a ZIP or TAR, as if it were a folder. Nothing is written to disk; links and odd names are refused."""
    source = str(archive.resolve())
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                infos = [i for i in opened.infolist() if not i.is_dir()]
                _check_archive(archive, len(infos), sum(i.file_size for i in infos))
                for info in sorted(infos, key=lambda i: i.filename):
                    link = stat.S_ISLNK(info.external_attr >> 16)
                    yield from _member(
                        source, info.filename, link, info.file_size, partial(opened.read, info), refused, max_bytes
                    )
        else:
            with tarfile.open(archive) as tar:
                for member in _listed(archive, tar):  # as they lie: going back in a packed file reads it all again
                    link = not member.isfile()
                    yield from _member(
                        source, member.name, link, member.size, partial(_extracted, tar, member), refused, max_bytes
                    )
    except _BAD as error:
        if isinstance(error, RepriseError):
            raise
        raise FileRefused(
            f"the archive {archive.name!r} cannot be read: {error}",
            hint="check that it opens elsewhere and has no password",
            code="broken_archive",
        ) from error


def _member(
    source: str,
    name: str,
    link: bool,
    size: int,
    content: Callable[[], bytes],
    refused: list[tuple[str, RepriseError]],
    max_bytes: int,
) -> Iterator[tuple[str, str, bytes]]:
    """One file of an archive, or what is wrong with it."""
    name = name.removeprefix("./")
    if not _wanted(name):
        return
    place = f"{source}!{name}"
    if link:
        why = f"{name!r} is a link or a device, not a file"
        refused.append((place, FileRefused(why, hint="put the file itself into the archive", code="not_a_file")))
    elif size > max_bytes:
        refused.append((place, _too_large(name, max_bytes)))
    else:
        try:
            safe_name(name)  # before its bytes are unpacked
        except UserError as error:
            refused.append((place, error))
        else:
            yield name, place, content()


def _listed(archive: Path, tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """Everything but folders. The limits are looked at header by header, before what follows is unpacked."""
    found: list[tarfile.TarInfo] = []
    total = 0
    for member in tar:
        if member.isdir():
            continue
        found.append(member)
        total += member.size
        _check_archive(archive, len(found), total)
    assert tar.fileobj is not None
    while rest := tar.fileobj.read(2**20):  # a packed file's checksum stands behind its last byte
        total += len(rest)
        _check_archive(archive, len(found), total)
    return found


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    assert content is not None
    return content.read()


def _check_archive(archive: Path, members: int, total: int) -> None:
    packed = max(1, archive.stat().st_size)
    if members > MAX_MEMBERS or total > MAX_ARCHIVE_BYTES or (total > 50 * 2**20 and total / packed > MAX_RATIO):
        raise FileRefused(
            f"the archive {archive.name!r} unpacks to {members:,} files and {total / 2**20:,.0f} MiB "
            f"({total / packed:,.0f} times its size)",
            hint=f"the limits are {MAX_MEMBERS:,} files, {MAX_ARCHIVE_BYTES // 2**20:,} MiB and {MAX_RATIO} times; "
            "unpack it and ingest the folder",
            code="archive_too_large",
        )


def _wanted(name: str) -> bool:
    """False for what a folder would not show either. A part `..` is no hidden file: its member is refused by name."""
    parts = [part for part in PurePosixPath(name).parts if part != ".."]
    return not any(part in SKIPPED or part.startswith((".", "__MACOSX")) for part in parts)


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except OSError:  # a name too long for the file system, a folder that may not be looked into
        return False


def _is_archive(path: str) -> bool:
    return path.lower().endswith(ARCHIVES) and Path(path).is_file()


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))
