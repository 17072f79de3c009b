"""A folder as it is now: its files with size and time, and where nobody could look.

A folder that cannot be seen is not an empty folder: what lies in it is unknown, and nothing follows from that.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from ingest.archive import is_wanted
from kernel.errors import Refused

_FRESH_SECONDS, _PAUSE_SECONDS = 2.0, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A file as the file system tells of it. `source` is its path with links followed, as text."""

    path: Path
    source: str
    size: int
    modified_ns: int

    @property
    def fresh(self) -> bool:
        """Changed so lately that another change could leave no trace in its time."""
        return time.time_ns() - self.modified_ns < _FRESH_SECONDS * 1e9


@dataclass(slots=True)
class Scan:
    """Files by their path below the folder, with `/`; `blind` is what in it could not be read."""

    files: dict[str, Seen] = field(default_factory=dict)
    blind: list[str] = field(default_factory=list)

    def unknown(self, name: str) -> bool:
        """True if the file may well be there, where nobody could look."""
        return any(name == place or name.startswith(f"{place}/") for place in self.blind)


def scan(root: Path, avoid: Path) -> Scan:
    """Every file below `root` that a person means by the folder: none that is hidden, and none below `avoid`.

    A link is followed to a file within `root`, and nowhere else: whoever may write into the folder must not be able to
    publish what lies outside it.

    Raises:
        Refused: the folder is not there, or cannot be read.
    """
    found = Scan()
    try:
        if not root.is_dir():
            raise Refused(
                f"the folder {str(root)!r} is not there",
                hint="mount or create it again; until then its documents are kept as they are",
                code="folder_missing",
            )
        _into(root, root, avoid.resolve(), found)
    except OSError as error:
        raise Refused(
            f"the folder {str(root)!r} cannot be read: {error.strerror}",
            hint="check its permissions; until then its documents are kept as they are",
            code="folder_unreadable",
        ) from error
    found.files = dict(sorted(found.files.items()))
    return found


def moving(files: Iterable[tuple[str, Seen]]) -> set[str]:
    """Names of files that somebody is still writing: changed a moment ago, and again while we waited for one."""
    fresh = [(name, seen) for name, seen in files if seen.fresh]
    if fresh:
        Event().wait(_PAUSE_SECONDS)
    return {name for name, seen in fresh if changed(seen)}


def changed(seen: Seen) -> bool:
    """True if the file is no longer as it was seen, or no longer there."""
    try:
        now = seen.path.stat()
    except OSError:
        return True
    return (now.st_size, now.st_mtime_ns) != (seen.size, seen.modified_ns)


def _into(folder: Path, root: Path, avoid: Path, found: Scan) -> None:
    for entry in sorted(_entries(folder), key=lambda e: e.name):
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        if not is_wanted(name):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                if path != avoid:
                    _into(path, root, avoid, found)
                continue
            place = path.resolve() if entry.is_symlink() else path
            about = place.stat()
        except OSError:
            if os.path.lexists(path) and not entry.is_symlink():
                found.blind.append(name)
            continue
        if stat.S_ISREG(about.st_mode) and place.is_relative_to(root):
            found.files[_text(name)] = Seen(
                path=place, source=_text(str(place)), size=about.st_size, modified_ns=about.st_mtime_ns
            )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def _text(path: str) -> str:
    """A path need not be text; bytes of it that are none show as escapes."""
    return path.encode("utf-8", "backslashreplace").decode()
