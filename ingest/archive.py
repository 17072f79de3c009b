"""An archive as if it were a folder: its files one at a time, and what is wrong with each of the others.

Archives within archives are folders within it, down to a depth. One bad file never costs the rest. How an archive is
opened without harm is the business of `packed`; what the files become is nobody's here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from ingest import packed
from ingest.names import safe_name
from ingest.parse.limits import DEFAULT, Limits
from kernel.errors import FileRefused, RepriseError, UserError

if TYPE_CHECKING:
    from ingest.incoming import Incoming

ARCHIVES = packed.ARCHIVES
SKIPPED = {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", ".reprise"}
"""Folders whose files nobody means to publish."""

Refusals = list[tuple[str, RepriseError]]
"""(where, why) of what could not be read."""


def expand(incoming: Incoming, limits: Limits = DEFAULT, refused: Refusals | None = None) -> Iterator[Incoming]:
    """The files of an archive, each with its path in it for a name; anything else as it is.

    A file's source is the archive's, `!`, and its path. What is wrong with the archive, or with one of its files, goes
    to `refused`.
    """
    refused = refused if refused is not None else []
    file = BytesIO(incoming.content)
    try:
        found = packed.kind(file, incoming.name, limits)
        if found is None:
            yield incoming
            return
        limits.check_size(incoming.name, len(incoming.content))
        inner = members(file, name=incoming.name, source=incoming.source, limits=limits, refused=refused)
        for name, source, content in inner:
            yield replace(incoming, path=source, name=name, source=source, content=content, explicit=False, root=None)
    except RepriseError as error:
        refused.append((incoming.source, error))


def members(
    file: IO[bytes], *, name: str, source: str, limits: Limits = DEFAULT, refused: Refusals
) -> Iterator[tuple[str, str, bytes]]:
    """(name, source, content) of each file in an archive. One is in memory at a time, and the archives around it.

    Args:
        file: the archive, open for reading anywhere.
        name: what it is called; used for messages, and to tell kinds of archives apart.
        source: where it came from, for the sources of its files.
        refused: takes each file that is left out for a reason.

    Raises:
        FileRefused: the archive as a whole is too much, damaged or none: `limit_max_members`, `limit_max_ratio`,
            `archive_too_large`, `broken_archive`.
    """
    size = file.seek(0, 2)
    if not size:
        raise packed.broken(name, "it is empty")
    budget = packed.Budget(limits=limits, outermost=size)
    for path, where, content in _walk(file, name, source, 0, budget, refused):
        try:
            yield safe_name(path), where, content
        except UserError as error:  # a path that has grown too long on the way down
            refused.append((where, error))


def is_wanted(name: str) -> bool:
    """False for what a folder would not show either. A part `..` is no hidden file: its entry is refused by name."""
    parts = [part for part in PurePosixPath(name).parts if part != ".."]
    return not any(part in SKIPPED or part.startswith((".", "__MACOSX")) for part in parts)


def _walk(
    file: IO[bytes], name: str, source: str, depth: int, budget: packed.Budget, refused: Refusals
) -> Iterator[tuple[str, str, bytes]]:
    try:
        found = packed.kind(file, name, budget.limits)
        open_entries = packed.zip_entries if found == "zip" else packed.tar_entries
        for entry in open_entries(file, name, budget):
            path = entry.name.removeprefix("./")
            if not is_wanted(path):
                continue
            where = f"{source}!{path.encode('utf-8', 'backslashreplace').decode()}"
            try:
                content = _content(entry, path, budget.limits)
                inner = packed.kind(BytesIO(content), path, budget.limits)
                if inner is None:
                    yield path, where, content
                    continue
                if depth + 1 > budget.limits.max_nesting:
                    raise budget.limits.exceeded(path, "max_nesting", f"archives {depth + 1} deep")
                for below, there, held in _walk(BytesIO(content), path, where, depth + 1, budget, refused):
                    yield f"{path}/{below}", there, held
            except RepriseError as error:
                refused.append((where, error))
    except packed.BAD as error:
        if isinstance(error, RepriseError):
            raise
        raise packed.broken(name, str(error) or type(error).__name__) from error


def _content(entry: packed.Entry, path: str, limits: Limits) -> bytes:
    """An entry's bytes, if it may have any.

    Raises:
        RepriseError: what is wrong with it.
        packed.BAD: nothing behind it can be read either.
    """
    if not entry.plain:
        raise FileRefused(
            f"{path!r} is a link or a device, not a file",
            hint="Put the file itself into the archive.",
            code="not_a_file",
        )
    safe_name(path)  # before its bytes are unpacked
    limits.check_size(path, entry.size)
    if entry.packed is not None and packed.is_bomb(entry.size, entry.packed, limits):
        raise limits.exceeded(path, "max_ratio", f"{entry.size / max(1, entry.packed):,.0f} times its size in content")
    try:
        return entry.read()
    except packed.BAD as error:
        if entry.packed is None:  # the stream of a TAR cannot be taken up again
            raise
        raise packed.broken(path, str(error) or type(error).__name__) from error
