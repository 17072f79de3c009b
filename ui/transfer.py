"""Backup to one file and back: the database, the blobs, the index and the run folders of an embedded home."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel.errors import Conflict, DiskFull, NotFound, Refused, UserError
from kernel.index.schema import DENSE
from kernel.settings import Settings
from ui.home import HomeLock

if TYPE_CHECKING:
    from ui.wiring import Wired

FORMAT = 1
_CARD = "backup.json"


def backup(wired: Wired, file: Path) -> dict[str, Any]:
    """Write a backup. Serving goes on; what is published while it runs may or may not be in it, whole either way.

    The database is copied first and the index after it, so every point the copied rows name is there; points of later
    publishes are invisible at the copied epoch and are left out by their `born`.

    Raises:
        Conflict: the file exists.
        UserError: it cannot be written there.
        DiskFull: there is no room for it.
        Refused: the platform runs on servers, which have backups of their own.
    """
    if not wired.settings.embedded or wired.db.engine.dialect.name != "sqlite":
        raise Refused("a cluster is backed up by its servers' own tools", hint="see docs/cluster.md")
    if file.exists():
        raise Conflict(f"{str(file)!r} exists", hint="name a new file; a backup never overwrites")
    aside = file.with_name(f".{file.name}.part")
    try:
        with tempfile.TemporaryDirectory(dir=wired.home) as folder:
            work = Path(folder)
            card = _copy(wired, work)
            (work / _CARD).write_text(json.dumps(card))
            with tarfile.open(aside, "w:gz", compresslevel=1) as tar:
                for name in (_CARD, "reprise.db", "points.jsonl"):
                    tar.add(work / name, name)
                for name in ("blobs", "runs"):
                    if (wired.home / name).exists():
                        tar.add(wired.home / name, name, filter=_plain)
        aside.replace(file)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no room for the backup {str(file)!r}", hint="free some space, or write it to another disk"
            ) from error
        raise UserError(
            f"{str(file)!r} cannot be written: {error.strerror or error}",
            hint="name a new file in a folder that exists and that you may write",
            code="unwritable_file",
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        **{k: card[k] for k in ("epoch", "documents", "adapters")},
    }


def restore(settings: Settings, file: Path) -> dict[str, Any]:
    """Unpack a backup into the settings' home, which must be new or empty.

    Raises:
        NotFound: no such file.
        Conflict: the home holds something.
        UserError: not a backup of a format this release reads.
    """
    if not file.is_file():
        raise NotFound(f"no file {str(file)!r}", hint="give a file that `reprise backup` wrote", code="missing_path")
    home = settings.home.absolute()
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Conflict(
            f"the home folder {str(home)!r} is not an empty folder", hint="restore into a new one with --home"
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{home.name}-restore-", dir=home.parent))
    try:
        card = _unpack(file, aside)
        _load_points(aside, int(card["dimension"]))
        if home.exists():
            home.rmdir()
        aside.rename(home)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    HomeLock(home).release()
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        **{k: card[k] for k in ("epoch", "documents", "adapters")},
    }


def _copy(wired: Wired, work: Path) -> dict[str, Any]:
    """Database and points of one index, which may be replaced meanwhile; the backup's card."""
    while True:
        with wired.epochs.one_index():
            _copy_database(wired.home / "reprise.db", work / "reprise.db")
            if wired.replacer.serves()["collection"] != wired.serving.pair().collection:
                continue
            _copy_points(wired, work / "points.jsonl")
            return _card(wired)


def _card(wired: Wired) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "epoch": wired.epochs.committed(),
        "documents": wired.library.counts()["documents"],
        "adapters": len(wired.registry.listing()),
        "embedder": wired.embedder.fingerprint,
        "dimension": wired.embedder.dimension,
    }


def _copy_database(source: Path, target: Path) -> None:
    """SQLite's online backup: a consistent copy while others write."""
    with sqlite3.connect(source) as there, sqlite3.connect(target) as here:
        there.backup(here)
    here.close()
    there.close()


def _copy_points(wired: Wired, file: Path) -> None:
    with file.open("w") as out:
        for point in wired.index.scroll(None, with_vectors=True):
            vector = point.vector[DENSE] if isinstance(point.vector, dict) else None
            out.write(json.dumps({"id": str(point.id), "dense": vector, "payload": point.payload}) + "\n")


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files and folders only, no half-written ones, nobody's user name."""
    if not (member.isfile() or member.isdir()) or Path(member.name).name.startswith("."):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _unpack(file: Path, folder: Path) -> dict[str, Any]:
    try:
        with tarfile.open(file) as tar:
            tar.extractall(folder, filter="data")
        card: dict[str, Any] = dict(json.loads((folder / _CARD).read_text()))
    except (tarfile.TarError, zlib.error, OSError, TypeError, ValueError, EOFError) as error:
        raise UserError(
            f"{str(file)!r} is not a backup: {error}", hint="give a file that `reprise backup` wrote"
        ) from error
    if card.get("format") != FORMAT:
        raise UserError(f"{str(file)!r} has format {card.get('format')!r}", hint=f"this release reads format {FORMAT}")
    (folder / _CARD).unlink()
    return card


def _load_points(folder: Path, dimension: int) -> None:
    """Fill a new index. Sparse vectors are made again from the texts, which are in the database and the blobs."""
    from ui.rebuild import fill

    fill(folder, dimension)
    (folder / "points.jsonl").unlink()
