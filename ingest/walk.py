"""A look at a folder: which of its files are new, changed, still being written, or as they were.

A file whose size and time are what they were is not read. An archive is a folder in the folder: it has an item of its
own, without a document, and one for each of its files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ingest import archive, folder
from ingest.folder import Seen
from ingest.incoming import Incoming
from ingest.look import Coming, Look
from ingest.names import safe_name
from ingest.sources import content_of
from ingest.tables import WatchItem
from kernel.errors import RepriseError
from kernel.ids import digest, now_ms

_TRY_AGAIN_MS = 3_600_000
"""How long a file that was refused, and is still the same, is left alone."""


def walk(look: Look) -> None:
    """Take in what the folder holds.

    Raises:
        Refused: the folder is not there, cannot be read, or is empty all at once.
        Cancelled: somebody asked for that.
    """
    root = Path(look.watch.location)
    found = folder.scan(root, look.home)
    if not found.files:
        look.refuse_to_empty(f"the folder {look.watch.location!r} is empty")
    look.present |= {name for name in look.items if found.unknown(name)} | found.files.keys()
    wanted: dict[str, Seen] = {}
    for name, seen in found.files.items():
        known = look.items.get(name)
        if known is None or _differs(known, seen) or _again(look, known):
            wanted[name] = seen
        else:
            look.stands(known)
            _members_stand(look, name)
    written = folder.moving(wanted.items())
    for name in written:
        wanted.pop(name)
        _members_stand(look, name)
    look.outcome.waiting += len(written)
    look.total = len(wanted)
    look.take(_read(look, wanted, str(root)))


def _differs(known: WatchItem, seen: Seen) -> bool:
    return (known.size, known.modified) != (seen.size, str(seen.modified_ns))


def _again(look: Look, known: WatchItem) -> bool:
    """True if it went wrong, and it is time to try again."""
    if known.error is None:
        return False
    return look.asked or known.error["status"] == "failed" or now_ms() - known.seen > _TRY_AGAIN_MS


def _read(look: Look, wanted: dict[str, Seen], root: str) -> Iterator[Coming]:
    for name, seen in wanted.items():
        look.done += 1
        # Its time is remembered only if a change after this would show in it.
        modified = None if seen.fresh else str(seen.modified_ns)
        try:
            content = content_of(seen.path, look.limits)
            if folder.changed(seen):
                look.outcome.waiting += 1
                _members_stand(look, name)
                continue
            file = Incoming(
                path=seen.source,
                name=safe_name(name),
                source=seen.source,
                workspace=look.watch.workspace,
                content=content,
                root=root,
            )
            coming = Coming(item=name, file=file, sha256=digest(content), size=seen.size, modified=modified)
            if name.lower().endswith(archive.ARCHIVES):
                yield from _members(look, coming)
            else:
                yield coming
        except RepriseError as error:
            if os.path.lexists(seen.path):
                look.fail(name, error, size=seen.size, modified=modified)
                _members_stand(look, name)
            else:  # it went away while we looked
                look.present.discard(name)


def _members(look: Look, packed: Coming) -> Iterator[Coming]:
    """The files of an archive, unless it has the bytes that it had.

    Raises:
        RepriseError: what is wrong with the archive as a whole.
    """
    known = look.items.get(packed.item)
    if known is not None and known.sha256 == packed.sha256 and known.error is None:
        _members_stand(look, packed.item)
        look.outcome.unchanged += 1
    else:
        refused: archive.Refusals = []
        for file in archive.expand(packed.file, look.limits, refused):
            item = f"{packed.item}!{file.name}"
            named = replace(file, name=safe_name(f"{packed.file.name}/{file.name}"))
            yield Coming(item=item, file=named, sha256=digest(file.content), size=len(file.content))
        for source, error in refused:
            if source == packed.file.source:
                raise error
            look.fail(f"{packed.item}{source.removeprefix(packed.file.source)}", error)
    look.keep(packed, None)


def _members_stand(look: Look, name: str) -> None:
    look.present |= {item for item in look.items if item.startswith(f"{name}!")}
