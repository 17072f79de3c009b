"""Watches: folders, pages and sitemaps that are looked at again and again, and followed.

A watch is a row, and a look at it a job. Beat starts the looks that are due; a live node also looks when the file
system says that something happened (`ingest.events`). Either way the look finds out for itself what there is to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Text, cast, delete, func, select, update
from sqlalchemy.orm import Session

from ingest.add import Ingest
from ingest.delete import DeleteHandler
from ingest.parse.limits import Limits
from ingest.tables import Document, Watch, WatchItem
from kernel import items
from kernel.audit import record
from kernel.database import Database, affected
from kernel.errors import Conflict, NotFound, Refused, RepriseError, UserError
from kernel.ids import fresh, iso, now_ms
from kernel.leases import acquire
from kernel.settings import Settings
from kernel.tables import Job, JobKey, Lease
from kernel.types import Progress, silent

JOB = "look"
SHORTEST, LONGEST = 10, 30 * 86_400
_LEASE_SECONDS = 5
"""Long enough for a beat to move the due time on; shorter than the shortest interval."""
_SOON_MS = 5_000
"""When a look follows one that found files still being written."""
_KEPT_JOBS, _TOLD_ITEMS = 20, 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def key(watch: str) -> str:
    """The key of a watch's jobs: its looks run one after another."""
    return f"watch:{watch}"


class Watches:
    """Lists, edits, fires and looks. Safe whatever the number of beats and workers."""

    def __init__(self, db: Database, ingest: Ingest, deleting: DeleteHandler, settings: Settings, owner: str) -> None:
        self._db, self._ingest, self._delete = db, ingest, deleting
        self._settings, self._owner = settings, owner
        self.changed: Callable[[], None] = lambda: None
        """Called when there is another set of watches than before."""

    def listing(self) -> list[dict[str, Any]]:
        """All watches, oldest first."""
        with self._db.read() as session:
            return [_json(session, watch) for watch in session.scalars(select(Watch).order_by(Watch.created, Watch.id))]

    def add(self, location: str, workspace: str, every_seconds: int) -> dict[str, Any]:
        """Watch a folder, a page or a sitemap from now on; its row. The first look is due at once.

        Raises:
            NotFound: no such folder.
            UserError: it is no folder and no address, or looked at too often or too rarely.
            Conflict: it is watched already.
            Refused: it may not be watched from here.
        """
        if not SHORTEST <= every_seconds <= LONGEST:
            raise UserError(
                f"a look every {every_seconds} s is too {'often' if every_seconds < SHORTEST else 'rare'}",
                hint=f"give between {SHORTEST} seconds and {LONGEST // 86_400} days",
                code="bad_interval",
            )
        kind, place = self._kind(location)
        with self._db.write() as session:
            same = select(Watch.id).where(Watch.location == place, Watch.workspace == workspace)
            known = session.scalars(same).first()
            if known is not None:
                raise Conflict(
                    f"{place!r} is watched already, as {known}",
                    hint="`reprise watch list` shows it; remove it first to change it",
                    code="watched_already",
                )
            watch = Watch(
                id=fresh("watch"),
                kind=kind,
                location=place,
                workspace=workspace,
                every_seconds=every_seconds,
                paused=0,
                next=now_ms(),
                last=None,
                outcome={},
                created=now_ms(),
            )
            session.add(watch)
            record(session, "watch.add", watch.id, kind=kind, workspace=workspace, every_seconds=every_seconds)
            session.flush()
            row = _json(session, watch)
        self.changed()
        return row

    def remove(self, watch: str) -> dict[str, Any]:
        """Watch no longer; the row as it was. Documents stay."""
        with self._db.write() as session:
            found = _found(session, watch)
            row = _json(session, found)
            session.execute(delete(WatchItem).where(WatchItem.watch == watch))
            session.execute(delete(Lease).where(Lease.name == key(watch)))
            session.delete(found)
            record(session, "watch.remove", watch)
        self.changed()
        return row

    def pause(self, watch: str) -> dict[str, Any]:
        """Pause, or go on where it is paused, with a look at once; its row."""
        with self._db.write() as session:
            found = _found(session, watch)
            found.paused = 1 - found.paused
            found.next = now_ms()
            record(session, "watch.pause" if found.paused else "watch.resume", watch)
            session.flush()
            row = _json(session, found)
        self.changed()
        return row

    # --- when ------------------------------------------------------------------------------------

    def due(self) -> list[Watch]:
        """Watches whose time has come."""
        with self._db.read() as session:
            return list(session.scalars(select(Watch).where(Watch.paused == 0, Watch.next <= now_ms())))

    def fire(self, start: Callable[[str], str]) -> list[str]:
        """Start a look at each watch that is due; what `start` returned. Of several beats one starts it, and none while
        the last look is still to come to its end."""
        started = []
        for watch in self.due():
            if not acquire(self._db, key(watch.id), self._owner, _LEASE_SECONDS):
                continue
            with self._db.write() as session:
                ours = update(Watch).where(Watch.id == watch.id, Watch.next == watch.next, Watch.paused == 0)
                taken = affected(session, ours.values(next=now_ms() + watch.every_seconds * 1000))
            if taken and not self.has_job(watch.id, ("queued", "running")):
                started.append(start(watch.id))
        return started

    def has_job(self, watch: str, states: Sequence[str]) -> bool:
        """True if a look at it is in one of these states."""
        with self._db.read() as session:
            jobs = select(Job.id).join(JobKey, JobKey.job == Job.id)
            found = jobs.where(JobKey.key == key(watch), Job.kind == JOB, Job.state.in_(states))
            return session.scalars(found.limit(1)).first() is not None

    def folders(self) -> dict[str, Path]:
        """The folders that are watched and not paused, by watch."""
        with self._db.read() as session:
            rows = session.scalars(select(Watch).where(Watch.kind == "folder", Watch.paused == 0))
            return {watch.id: Path(watch.location) for watch in rows}

    # --- looking ---------------------------------------------------------------------------------

    def look(self, watch: str, progress: Progress = silent, *, asked: bool = False) -> dict[str, Any]:
        """Look now, and follow what has changed; the outcome. `asked`: a person wants it.

        Raises:
            NotFound: no such watch.
            Cancelled: by `progress`; what was done until then stays.
        """
        from ingest.look import Look
        from ingest.visit import visit
        from ingest.walk import walk

        with self._db.read() as session:
            found = _found(session, watch)
        limits = Limits.of(self._settings)
        look = Look(self._db, self._ingest, self._delete, limits, self._settings.home, found, progress, asked=asked)
        try:
            (walk if found.kind == "folder" else visit)(look)
            look.follow_deletes()
        except RepriseError as error:
            look.outcome.error = error.as_json()
            if error.status >= 500:  # then the job itself has failed, and may be tried again
                self._ended(found, look.outcome.as_json())
                raise
        outcome = look.outcome.as_json()
        self._ended(found, outcome)
        return outcome

    def _ended(self, watch: Watch, outcome: dict[str, Any]) -> None:
        with self._db.write() as session:
            values: dict[str, Any] = {"last": now_ms(), "outcome": outcome}
            if outcome["waiting"]:
                values["next"] = now_ms() + min(_SOON_MS, watch.every_seconds * 1000)
            session.execute(update(Watch).where(Watch.id == watch.id).values(**values))
            ended = select(Job).where(
                Job.kind == JOB, Job.state == "done", cast(Job.keys, Text).contains(key(watch.id))
            )
            for job in session.scalars(ended.order_by(Job.serial.desc()).offset(_KEPT_JOBS)):
                items.forget(session, job.id)
                session.delete(job)

    # --- what may be watched ---------------------------------------------------------------------

    def _kind(self, location: str) -> tuple[str, str]:
        """(kind, the location as it is kept)."""
        if location.startswith(("http://", "https://")):
            from ingest.fetch import check_address
            from ingest.sitemap import named_like_one

            check_address(location)
            return ("sitemap" if named_like_one(location) else "url"), location
        place = Path(location)
        if not place.is_absolute():
            raise UserError(
                f"{location!r} is neither an address nor a full path",
                hint="give a folder's path from / on, or an http(s) URL",
                code="bad_location",
            )
        try:
            there, folder = place.exists(), place.is_dir()
            place = place.resolve()
        except (OSError, ValueError, RuntimeError):  # a name too long, a null byte, links in a circle
            there = folder = False
        if not there:
            hint = "give a folder on the machine where the node runs"
            raise NotFound(f"no folder {location!r}", hint=hint, code="missing_path")
        if not folder:
            raise UserError(f"{location!r} is a file", hint="watch the folder it lies in", code="not_a_folder")
        self._allowed(place)
        return "folder", str(place)

    def _allowed(self, place: Path) -> None:
        """Whoever may ask a node from afar may not thereby read its machine."""
        if place.is_relative_to(self._settings.home.resolve()):
            raise Refused(f"{str(place)!r} is in Reprise's own home", hint="watch another folder", code="not_watchable")
        roots = [Path(root).resolve() for root in self._settings.watch_roots.split(":") if root]
        if not roots and self._settings.api_host in _LOOPBACK:
            return
        if not any(place.is_relative_to(root) for root in roots):
            raise Refused(
                f"{str(place)!r} is not below a folder that may be watched here",
                hint="name the folders that may in REPRISE_WATCH_ROOTS, joined by :",
                code="not_watchable",
            )


def _found(session: Session, watch: str) -> Watch:
    found = session.get(Watch, watch)
    if found is None:
        raise NotFound(f"no watch {watch!r}", hint="`reprise watch list` shows them")
    return found


def _json(session: Session, watch: Watch) -> dict[str, Any]:
    mine = WatchItem.watch == watch.id
    failing = select(WatchItem).where(mine, WatchItem.error.is_not(None)).order_by(WatchItem.item).limit(_TOLD_ITEMS)
    live = WatchItem.document.in_(select(Document.id).where(Document.state == "live"))
    count = select(func.count()).select_from(WatchItem).where(mine, live)
    return {
        "watch": watch.id,
        "kind": watch.kind,
        "location": watch.location,
        "workspace": watch.workspace,
        "every_seconds": watch.every_seconds,
        "paused": bool(watch.paused),
        "last": iso(watch.last),
        "next": None if watch.paused else iso(watch.next),
        "documents": session.scalar(count) or 0,
        "outcome": watch.outcome or None,
        "failing": [{"item": item.item, "error": item.error} for item in session.scalars(failing)],
    }
