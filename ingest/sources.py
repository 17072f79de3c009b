"""What a person names on the command line, as files: paths, folders, archives, URLs. Reads one at a time."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ingest.add import Incoming
from ingest.names import safe_name
from kernel.errors import FileRefused, NotFound, RepriseError, UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
SKIPPED = {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", ".reprise"}
MAX_MEMBERS, MAX_ARCHIVE_BYTES, MAX_RATIO = 10_000, 2 * 2**30, 200


def check(paths: Sequence[str], as_name: str | None) -> None:
    """Say what is wrong before anything is read.

    Raises:
        NotFound: a path that is not there.
        UserError: `--as` with several files.
    """
    for path in paths:
        if not _is_url(path) and not Path(path).exists():
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
            for name, source, content in _files(path, refused, max_bytes):
                yield Incoming(
                    path=source,
                    name=safe_name(as_name or name),
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
        yield from _members(place, max_bytes)
    else:
        yield place.name, str(place.resolve()), _content(place, max_bytes)


def _content(file: Path, max_bytes: int) -> bytes:
    try:
        if file.stat().st_size > max_bytes:
            raise FileRefused(
                f"{file.name!r} is larger than {max_bytes // 2**20} MiB",
                hint="split it, or raise REPRISE_MAX_UPLOAD_MB",
                code="too_large",
            )
        return file.read_bytes()
    except OSError as error:
        raise FileRefused(f"{str(file)!r} cannot be read: {error.strerror}", hint="check its permissions") from error


def _members(archive: Path, max_bytes: int) -> Iterator[tuple[str, str, bytes]]:
    """Files of a ZIP or TAR, as if it were a folder. Nothing is written to disk; links and odd names are left out."""
    source = str(archive.resolve())
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                infos = [i for i in opened.infolist() if not i.is_dir()]
                total = sum(i.file_size for i in infos)
                _check_archive(archive, len(infos), total)
                for info in sorted(infos, key=lambda i: i.filename):
                    if _wanted(info.filename) and info.file_size <= max_bytes:
                        yield info.filename, f"{source}!{info.filename}", opened.read(info)
            return
        with tarfile.open(archive) as tar:
            files = [m for m in tar.getmembers() if m.isfile()]
            _check_archive(archive, len(files), sum(m.size for m in files))
            for member in sorted(files, key=lambda m: m.name):
                name = member.name.removeprefix("./")
                content = tar.extractfile(member)
                if _wanted(name) and content is not None and member.size <= max_bytes:
                    yield name, f"{source}!{name}", content.read()
    except (zipfile.BadZipFile, tarfile.TarError, RuntimeError, EOFError) as error:
        raise FileRefused(
            f"the archive {archive.name!r} cannot be read: {error}",
            hint="check that it opens elsewhere and has no password",
            code="broken_archive",
        ) from error


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
    parts = PurePosixPath(name).parts
    return not any(part in SKIPPED or part.startswith((".", "__MACOSX")) or part == ".." for part in parts)


def _is_archive(path: str) -> bool:
    return path.lower().endswith(ARCHIVES) and Path(path).is_file()


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))
