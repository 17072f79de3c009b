"""One look at a watched source: what is there now, against what was there at the last look.

    there now            last look          what follows
    not known            -                  moved here, if a document's file has just left; else published
    size, time differ    known              read; other bytes are published as the next version
    the same             known              nothing is read
    not there            known              its document is deleted, if the source says so for sure

What goes wrong with one file or page is kept with it and tried again; it never ends the look. A source that is empty
all at once deletes nothing. A document that a person deleted comes back when its file changes. What is there is told
by `walk` for a folder and by `visit` for pages; what follows from it is decided here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from ingest.add import Ingest
from ingest.delete import DeleteHandler
from ingest.incoming import Incoming
from ingest.moved import Moves
from ingest.parse.limits import Limits
from ingest.tables import Document, Version, Watch, WatchItem
from kernel.audit import record
from kernel.database import Database
from kernel.errors import NotFound, Refused, RepriseError
from kernel.ids import now_ms
from kernel.jobs import Cancelled
from kernel.types import Progress

_BATCH_FILES, _BATCH_BYTES = 64, 32 * 2**20


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a look found and did. `waiting`: files somebody was still writing. `error`: what ended it before its end."""

    created: int = 0
    changed: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0
    waiting: int = 0
    error: dict[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """Something that is new or may have changed, with its bytes. The other fields are those of `WatchItem`."""

    item: str
    file: Incoming
    sha256: str
    size: int | None = None
    modified: str | None = None
    etag: str | None = None


class Look:
    """A look, from its beginning to its end. `asked`: a person wants it now, so what was refused is tried again."""

    def __init__(
        self,
        db: Database,
        ingest: Ingest,
        deleting: DeleteHandler,
        limits: Limits,
        home: Path,
        watch: Watch,
        progress: Progress,
        *,
        asked: bool,
    ) -> None:
        self._db, self._ingest, self._delete, self._progress = db, ingest, deleting, progress
        self.watch, self.limits, self.home, self.asked = watch, limits, home, asked
        self.outcome = Outcome()
        self.present: set[str] = set()
        """Items that are there now, or may be: their documents stay."""
        with db.read() as session:
            rows = session.scalars(select(WatchItem).where(WatchItem.watch == watch.id))
            self.items = {row.item: row for row in rows}
        self.done = self.total = 0
        self._moves = Moves()
        self._unsaved: list[WatchItem] = []

    # --- what is there ---------------------------------------------------------------------------

    def take(self, comings: Iterable[Coming]) -> None:
        """Publish what differs from what is known, a batch at a time.

        Raises:
            Cancelled: somebody asked for that, or removed the watch meanwhile.
        """
        batch: list[Coming] = []
        size = 0
        try:
            for coming in comings:
                batch.append(coming)
                size += len(coming.file.content)
                if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
                    full, batch, size = batch, [], 0
                    self._take(full)
        except RepriseError:  # what came before it is taken all the same
            self._take(batch)
            raise
        self._take(batch)

    def stands(self, item: WatchItem) -> None:
        """The item is as it was, and was not read."""
        self.present.add(item.item)
        if item.error is None:
            self.outcome.unchanged += 1
        else:
            self.outcome.failed += 1

    def same(self, item: WatchItem) -> None:
        """The item was asked for, and is as it was."""
        item.seen, item.error = now_ms(), None
        self._unsaved.append(item)
        self.stands(item)

    def keep(self, coming: Coming, document: str | None) -> None:
        """The item is now as it came, and that is `document`."""
        self._remember(
            coming.item,
            document=document,
            sha256=coming.sha256,
            size=coming.size,
            modified=coming.modified,
            etag=coming.etag,
            error=None,
        )

    def fail(self, name: str, error: RepriseError, *, size: int | None = None, modified: str | None = None) -> None:
        """Keep what went wrong with an item, and how it was when it did. What it was when all went well stays known."""
        self.outcome.failed += 1
        last = self.items.get(name)
        page = last is not None and self.watch.kind != "folder"
        self._remember(
            name,
            document=last.document if last else None,
            sha256=last.sha256 if last else None,
            size=last.size if last and page else size,
            modified=last.modified if last and page else modified,
            etag=last.etag if last else None,
            error=error.as_json() | {"status": "refused" if error.status < 500 else "failed"},
        )

    def refuse_to_empty(self, why: str) -> None:
        """An empty source is more often one that is not mounted than one that was emptied.

        Raises:
            Refused: documents came from there.
        """
        kept = sum(self.live(item.document) is not None for item in self.items.values())
        if kept:
            raise Refused(
                f"{why}, and {kept:,} document(s) came from there: none of them was deleted",
                hint="if that is meant, delete the documents or remove the watch; else bring the source back",
                code="source_empty",
            )

    def tell(self, stage: str) -> None:
        self._progress(stage, self.done, self.total)

    def live(self, document: str | None) -> Document | None:
        """The document, if it was not deleted."""
        if document is None:
            return None
        with self._db.read() as session:
            found = session.get(Document, document)
        return found if found is not None and found.state == "live" else None

    # --- what follows ----------------------------------------------------------------------------

    def _take(self, batch: list[Coming]) -> None:
        new: list[Coming] = []
        for coming in batch:
            known = self.items.get(coming.item)
            if known is not None and known.sha256 == coming.sha256 and known.error is None:
                self.keep(coming, known.document)
                self.outcome.unchanged += 1
            elif known is None and (document := self._moved(coming)) is not None:
                self.keep(coming, document.id)
                self.outcome.moved += 1
            else:
                new.append(coming)
        self.tell("reading")
        if new:
            rows = self._ingest.add([c.file for c in new], lambda stage, _done, _of: self.tell(stage))["documents"]
            for coming, row in zip(new, rows, strict=True):
                self._became(coming, row)
        self._save()

    def _moved(self, coming: Coming) -> Document | None:
        if coming.file.root is None:
            return None
        with self._db.read() as session:  # most new files are new: asking first spares them a transaction
            same = select(Version.number).where(Version.sha256 == coming.sha256, Version.state == "live").limit(1)
            if session.scalars(same).first() is None:
                return None
        with self._db.write() as session:
            return self._moves.follow(session, coming.file, coming.sha256)

    def _became(self, coming: Coming, row: dict[str, Any]) -> None:
        status = row["status"]
        if status in ("refused", "failed"):
            told = Refused if status == "refused" else RepriseError
            error = told(row["error"]["message"], hint=row["error"]["hint"], code=row["error"]["code"])
            self.fail(coming.item, error, size=coming.size, modified=coming.modified)
            return
        self.keep(coming, row["document"])
        if status == "published":
            status = "created" if row["version"] == 1 else "changed"
        what = status if status in ("created", "changed", "moved") else "unchanged"
        setattr(self.outcome, what, getattr(self.outcome, what) + 1)

    def follow_deletes(self) -> None:
        """Delete the documents of items that are not there any more, each with its receipt in the audit log."""
        gone = [item for name, item in self.items.items() if name not in self.present]
        claimed = {item.document for name, item in self.items.items() if name in self.present}
        for number, item in enumerate(gone):
            self._progress("deleting", number, len(gone))
            document = self.live(item.document)
            if document is not None and document.id not in claimed and not self._lives_elsewhere(document, item):
                try:
                    receipt = self._delete.delete(document.id)
                except NotFound:  # a person was quicker
                    pass
                except RepriseError as error:
                    self.fail(item.item, error)
                    continue
                else:
                    self.outcome.deleted += 1
                    with self._db.write() as session:  # nobody else asked for it; it is named by its id alone
                        record(session, "watch.delete", document.id, watch=self.watch.id, receipt=receipt)
            self._forget(item)
        self._save()

    def _lives_elsewhere(self, document: Document, item: WatchItem) -> bool:
        """True if the document has come to be another file's or page's."""
        if self.watch.kind == "folder":
            return os.path.lexists(document.source)
        return document.source != item.item

    # --- what is remembered ----------------------------------------------------------------------

    def _remember(self, name: str, **facts: Any) -> None:
        item = WatchItem(watch=self.watch.id, item=name, seen=now_ms(), **facts)
        self.items[name] = item
        self._unsaved.append(item)
        self.present.add(name)

    def _forget(self, item: WatchItem) -> None:
        with self._db.write() as session:
            session.execute(delete(WatchItem).where(WatchItem.watch == item.watch, WatchItem.item == item.item))

    def _save(self) -> None:
        with self._db.write() as session:
            if session.get(Watch, self.watch.id) is None:
                raise Cancelled
            for item in self._unsaved:
                session.merge(item)
        self._unsaved = []
