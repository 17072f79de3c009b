"""What a person names on the command line, as files: paths, folders, archives, URLs. Reads one at a time."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from ingest import archive
from ingest.archive import ARCHIVES, is_wanted
from ingest.incoming import Incoming
from ingest.names import safe_name
from ingest.parse.limits import DEFAULT, Limits
from kernel.errors import FileRefused, NotFound, RepriseError, UserError


def check(paths: Sequence[str], as_name: str | None) -> None:
    """Say what is wrong before anything is read.

    Raises:
        NotFound: a path that is not there.
        UserError: `--as` with several files.
    """
    for path in paths:
        if not is_url(path) and not _exists(path):
            raise NotFound(
                f"no file or folder {path!r}", hint="check the path; nothing was changed", code="missing_path"
            )
    single = len(paths) == 1 and (is_url(paths[0]) or (Path(paths[0]).is_file() and not _is_archive(paths[0])))
    if as_name is not None and not single:
        raise UserError("--as names one document", hint="give one file with --as")


def read(
    paths: Sequence[str],
    *,
    workspace: str,
    as_name: str | None = None,
    at: int | None = None,
    refused: list[tuple[str, RepriseError]] | None = None,
    max_bytes: int | None = None,
    limits: Limits = DEFAULT,
    tags: Sequence[str] = (),
) -> Iterator[Incoming]:
    """Every file of `paths`, in order of name within a folder. What cannot be read goes to `refused`.

    `max_bytes` of a file takes the place of `limits.max_upload_mb`.
    """
    refused = refused if refused is not None else []
    if max_bytes is not None:
        limits = replace(limits, max_upload_mb=max(1, max_bytes // 2**20))
    for path in paths:
        root = str(Path(path).resolve()) if not is_url(path) and Path(path).is_dir() else None
        try:
            for name, found, content in _files(path, refused, limits, alone=as_name is not None):
                source = found.encode("utf-8", "backslashreplace").decode()  # a folder's name need not be text
                try:
                    known = safe_name(name if as_name is None else as_name)
                except UserError as error:  # one odd name must not take the rest of its folder with it
                    refused.append((source, error))
                    continue
                yield Incoming(
                    path=told_kind(source, name),
                    name=known,
                    source=source,
                    workspace=workspace,
                    content=content,
                    at=at,
                    explicit=as_name is not None,
                    root=root,
                    tags=tuple(tags),
                )
        except RepriseError as error:
            refused.append((path, error))


def _files(
    path: str, refused: list[tuple[str, RepriseError]], limits: Limits, *, alone: bool = False
) -> Iterator[tuple[str, str, bytes]]:
    """(name, source, content) of each file that `path` stands for. `alone`: it may stand for one only."""
    if is_url(path):
        yield from _pages(path, refused, limits, alone)
        return
    place = Path(path)
    if place.is_dir():
        for file in sorted(place.rglob("*")):
            name = "/".join(file.relative_to(place).parts)
            if file.is_file() and is_wanted(name):
                try:
                    if _is_archive(str(file)):  # a folder in the folder
                        for inner, source, content in _members(file, refused, limits):
                            yield f"{name}/{inner}", source, content
                    else:
                        yield name, str(file.resolve()), content_of(file, limits)
                except RepriseError as error:
                    refused.append((str(file), error))
    elif _is_archive(path):
        yield from _members(place, refused, limits)
    else:
        yield place.name, str(place.resolve()), content_of(place, limits)


def _pages(
    url: str, refused: list[tuple[str, RepriseError]], limits: Limits, alone: bool
) -> Iterator[tuple[str, str, bytes]]:
    """The page at `url`, or the pages of the sitemap that is there."""
    from ingest import sitemap
    from ingest.fetch import fetch

    most = limits.max_upload_mb * 2**20
    first = fetch(url, most)
    if not sitemap.is_sitemap(first.content):
        yield first.name, first.url, first.content
        return
    if alone:
        raise UserError(f"{url!r} is a sitemap, and --as names one document", hint="give one page with --as")
    listed, elsewhere = sitemap.pages(first, most)
    for page in listed:
        try:
            found = fetch(page.url, most)
        except RepriseError as error:
            refused.append((page.url, error))
        else:
            yield found.name, found.url, found.content
    if elsewhere:
        refused.append((url, sitemap.left_out(url, elsewhere)))


def _members(place: Path, refused: list[tuple[str, RepriseError]], limits: Limits) -> Iterator[tuple[str, str, bytes]]:
    try:
        with place.open("rb") as file:
            source = str(place.resolve())
            yield from archive.members(file, name=place.name, source=source, limits=limits, refused=refused)
    except OSError as error:
        raise _unreadable(place, error) from error


def told_kind(source: str, name: str) -> str:
    """The path a file is known and read by: a page's own name where its URL ends in a query or in no suffix at all."""
    return name if is_url(source) and PurePath(source).suffix != PurePath(name).suffix else source


def content_of(file: Path, limits: Limits) -> bytes:
    """The bytes of a file of a size that is taken.

    Raises:
        FileRefused: it is too large, no file, or cannot be read.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):  # a device or a pipe may never end
            raise FileRefused(f"{str(file)!r} is not a file but a device or a pipe", hint="give a file or a folder")
        limits.check_size(file.name, found.st_size)
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> FileRefused:
    return FileRefused(f"{str(file)!r} cannot be read: {error.strerror}", hint="check its permissions")


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except OSError:  # a name too long for the file system, a folder that may not be looked into
        return False


def _is_archive(path: str) -> bool:
    return path.lower().endswith(ARCHIVES) and Path(path).is_file()


def is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))
