"""Retention: a standing rule about old versions. What a rule no longer keeps expires, and its text is gone for good.

    step      where   if the process dies here
    1 mark    SQL     nothing is lost, nothing is half gone: the versions count no more, at any time
    2 erase   all     the same erasing again, at the next start or the next time the rules are applied
    3 record  SQL     done: the rows of the versions stay as tombstones

Only versions that were followed by one that counts now can expire, oldest first, so what is kept of a document is
always its newest part: the version that counts, those that are to come, and as many before as the rule says. A
version's row is a tombstone when it has no `text_key` left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from threading import Lock
from typing import Any, Protocol

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from ingest.changes import happened
from ingest.library import Library, needed
from ingest.place import PUBLISHED, counting
from ingest.tables import Chunk, Document, Embedding, Position, Retention, Version
from kernel.audit import record
from kernel.database import Database, alone
from kernel.errors import UserError
from kernel.ids import now_ms
from kernel.ports import Blobs, VectorIndex
from kernel.tables import Fact

DAY_MS = 86_400_000
EVERY_MS = 3_600_000
"""How often `tick` applies the rules."""
_NEXT = "retention"
"""Name of the fact that says when."""
_PORTION = 200
"""Documents that one `tick` looks after; what is left over follows at the next."""
_IDS = 500
_MOST = 1_000_000


class Expirer(Protocol):
    """Somebody else who keeps words of versions: examples, run folders."""

    def expire(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """Remove what stands on these chunks of the document and on nothing else; what was removed. Repeatable."""


class Keeper:
    """The rules of retention, by workspace. Safe from several threads."""

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        index: VectorIndex,
        library: Library,
        expirers: Sequence[Expirer] = (),
    ) -> None:
        self._db, self._blobs, self._index, self._library = db, blobs, index, library
        self._expirers = tuple(expirers)
        self._turn = Lock()
        self.step: Callable[[str], None] = lambda _name: None

    # --- rules -----------------------------------------------------------------------------------

    def set(self, workspace: str, versions: int | None = None, days: int | None = None) -> dict[str, Any]:
        """Keep the newest `versions`, or what was superseded less than `days` ago, or everything; the rule.

        Raises:
            UserError: both are given, or one is no number to count with.
        """
        if versions is not None and days is not None:
            raise UserError("both versions and days were given", hint="give one of them; a workspace has one rule")
        for name, number in (("versions", versions), ("days", days)):
            if number is not None and not 1 <= number <= _MOST:
                raise UserError(f"{name} is {number}", hint="give a whole number from 1; the live version always stays")
        with self._db.write() as session:
            session.execute(delete(Retention).where(Retention.workspace == workspace))
            rule = Retention(workspace=workspace, keep_versions=versions, keep_days=days)
            if versions is not None or days is not None:
                session.add(rule)
            session.execute(delete(Fact).where(Fact.key == _NEXT))  # beat need not wait for its hour
            record(session, "retention", workspace, policy=_words(rule))
        return _json(rule)

    def policy(self, workspace: str) -> dict[str, Any]:
        """The rule of a workspace."""
        with self._db.read() as session:
            rule = session.get(Retention, workspace)
        return _json(rule or Retention(workspace=workspace, keep_versions=None, keep_days=None))

    def policies(self) -> list[dict[str, Any]]:
        """All rules but `keep all`, by workspace."""
        with self._db.read() as session:
            return [_json(rule) for rule in session.scalars(select(Retention).order_by(Retention.workspace))]

    # --- applying them ---------------------------------------------------------------------------

    def apply(self, workspace: str | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        """Let go of what the rules no longer keep; what went. `dry_run` says what would go, and touches nothing."""
        due = self._due(workspace)
        report: dict[str, Any] = {"dry_run": dry_run, "expired": [row for row, _ in due]}
        gone: dict[str, Any] = {"points": 0, "blobs": 0, "cache_entries": 0, "examples": 0}
        if not dry_run:
            report["expired"] = []
            with self._turn:
                for row, policy in due:
                    self._expire(row, policy, report["expired"], gone)
                self._finish(gone)
            self._db.erase_traces()
        return report | gone

    def tick(self) -> int:
        """Beat's part: apply the rules once an hour, a portion at a time, and finish what died elsewhere; how many
        versions expired."""
        now = now_ms()
        with self._db.read() as session:
            fact = session.get(Fact, _NEXT)
            if fact is not None and now < fact.value["next"]:
                return 0
        due = self._due(None)
        expired: list[dict[str, Any]] = []
        with self._turn:
            for row, policy in due[:_PORTION]:
                self._expire(row, policy, expired, {})
            finished = self._finish({})
        if expired or finished:
            self._db.erase_traces()
        with self._db.write() as session:
            soon = 0 if len(due) > _PORTION else EVERY_MS
            session.merge(Fact(key=_NEXT, value={"next": now + soon}))
        return sum(len(row["versions"]) for row in expired)

    def finish_interrupted(self) -> int:
        """Erase what is left of versions whose expiry died in the middle; of how many documents."""
        with self._turn:
            finished = self._finish({})
        if finished:
            self._db.erase_traces()
        return finished

    # --- step 1 ----------------------------------------------------------------------------------

    def _due(self, workspace: str | None) -> list[tuple[dict[str, Any], str]]:
        """What is to expire by document, with the words of the rule."""
        with self._db.read() as session:
            rules = {rule.workspace: rule for rule in session.scalars(select(Retention))}
            wanted = [w for w in rules if workspace in (None, w)]
            old = select(Version.document).where(Version.state == "superseded").group_by(Version.document)
            documents = select(Document).where(
                Document.state == "live", Document.workspace.in_(wanted), Document.id.in_(old)
            )
            due = []
            for document in session.scalars(documents.order_by(Document.workspace, Document.name)):
                rule = rules[document.workspace]
                numbers = [v.number for v in _overdue(_published(session, document.id), rule, now_ms())]
                if numbers:
                    row = {
                        "document": document.id,
                        "name": document.name,
                        "workspace": document.workspace,
                        "versions": numbers,
                    }
                    due.append((row, _words(rule)))
        return due

    def _expire(self, row: dict[str, Any], policy: str, told: list[dict[str, Any]], gone: dict[str, Any]) -> None:
        marked = self._mark(row["document"])
        if marked:
            told.append(row | {"versions": marked})
            self.step("marked")
            _add(gone, self._erase(row["document"]))

    def _mark(self, document: str) -> list[int]:
        """The versions of a document that are expired from now on; decided again, under the lock of writers."""
        with self._db.write() as session:
            alone(session, "library")
            found = session.get(Document, document)
            rule = session.get(Retention, found.workspace) if found is not None else None
            if found is None or rule is None or found.state != "live":
                return []
            numbers = [v.number for v in _overdue(_published(session, document), rule, now_ms())]
            if numbers:
                ours = (Version.document == document, Version.number.in_(numbers), Version.state == "superseded")
                session.execute(update(Version).where(*ours).values(state="expired"))
                happened(session, "expire", document, versions=numbers, policy=_words(rule))
        return numbers

    # --- steps 2 and 3 ---------------------------------------------------------------------------

    def _finish(self, gone: dict[str, Any]) -> int:
        with self._db.read() as session:
            half = select(Version.document).where(Version.state == "expired", Version.text_key != "").distinct()
            documents = list(session.scalars(half))
        for document in documents:
            _add(gone, self._erase(document))
        return len(documents)

    def _erase(self, document: str) -> dict[str, Any]:
        """Everything that only expired versions of the document need. Repeatable."""
        with self._db.read() as session:
            # Chunks before positions: a version that is being staged meanwhile brings both in one transaction.
            rows = session.execute(select(Chunk.point, Chunk.version).where(Chunk.document == document))
            born = {point: number for point, number in rows}  # noqa: C416 (rows are no tuples to mypy)
            versions = list(session.scalars(select(Version).where(Version.document == document)))
            expired = [v for v in versions if v.state == "expired" and v.text_key]
            first = min((v for v in versions if v.state in PUBLISHED), key=lambda v: v.number, default=None)
            elsewhere = Position.version.not_in([v.number for v in versions if v.state == "expired"])
            shown = set(session.scalars(select(Position.point).where(Position.document == document, elsewhere)))
        dead = sorted(born.keys() - shown)
        # A chunk that a later version shows too stays, and counts from that one on: index and rows must agree, and a
        # backup finds its text there.
        moved = sorted(p for p in shown & born.keys() if first is not None and born[p] < first.number)
        found: dict[str, Any] = {"points": len(dead), "blobs": 0, "cache_entries": 0}
        for expirer in self._expirers:
            _add(found, expirer.expire(document, dead))
        self.step("followed")
        if moved and first is not None:
            self._index.set_payload({"born": first.born, "from": first.valid_from}, moved)
        self.step("moved")
        self._index.delete(dead)
        self.step("deleted")
        found["cache_entries"] += self._library.forget([v.text_key for v in expired])
        with self._db.write() as session:
            alone(session, "library")
            numbers = [v.number for v in expired]
            session.execute(delete(Position).where(Position.document == document, Position.version.in_(numbers)))
            found["cache_entries"] += forget_chunks(session, dead)
            if first is not None:
                for some in _portions(moved):
                    session.execute(update(Chunk).where(Chunk.point.in_(some)).values(version=first.number))
            for key in sorted({key for v in expired for key in (v.sha256, v.text_key)}):
                if not needed(session, key):
                    found["blobs"] += self._blobs.delete(key)
            ours = (Version.document == document, Version.number.in_(numbers), Version.state == "expired")
            session.execute(update(Version).where(*ours).values(text_key="", pages=[], notes=[]))
            found["cache_entries"] += self._library.forget([v.text_key for v in expired])  # a reader may be quicker
        self.step("recorded")
        return found


def forget_chunks(session: Session, points: Sequence[str]) -> int:
    """Remove chunks' rows, and cached vectors of texts that no chunk has any more; how many of the latter."""
    digests: set[str] = set()
    for some in _portions(points):
        digests |= set(session.scalars(select(Chunk.digest).where(Chunk.point.in_(some))))
        session.execute(delete(Chunk).where(Chunk.point.in_(some)))
    removed = 0
    for some in _portions(sorted(digests)):
        standing = set(session.scalars(select(Chunk.digest).where(Chunk.digest.in_(some))))
        unused = Embedding.digest.in_([digest for digest in some if digest not in standing])
        removed += session.scalar(select(func.count()).select_from(Embedding).where(unused)) or 0
        session.execute(delete(Embedding).where(unused))
    return removed


def _overdue(versions: Sequence[Version], rule: Retention, now: int) -> list[Version]:
    """What `rule` does not keep of published versions in order, oldest first."""
    counts = counting(versions, now)
    if counts is None:
        return []
    begun = [v for v in versions if v.number <= counts.number]
    if rule.keep_versions is not None:
        # What was only cut into chunks anew is no version of its own to a person who counts them.
        editions = [v.number for v in begun if v.cause != "rechunk"]
        first = editions[-rule.keep_versions] if rule.keep_versions <= len(editions) else 0
        return [v for v in begun if v.number < first]
    overdue = []
    for version, next_one in pairwise(begun):
        # Superseded when its successor counted, and not before that was here: a history that is loaded with its old
        # dates is kept as long as one that grew.
        superseded = max(next_one.valid_from, next_one.created)
        if rule.keep_days is None or superseded > now - rule.keep_days * DAY_MS:
            break
        overdue.append(version)
    return overdue


def _published(session: Session, document: str) -> list[Version]:
    ours = select(Version).where(Version.document == document, Version.state.in_(PUBLISHED))
    return list(session.scalars(ours.order_by(Version.number)))


def _portions(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _IDS] for start in range(0, len(ids), _IDS))


def _add(total: dict[str, Any], more: dict[str, Any]) -> None:
    for name, what in more.items():
        total[name] = total.get(name, type(what)()) + what


def _words(rule: Retention) -> str:
    for number, words in ((rule.keep_versions, "keep {} version"), (rule.keep_days, "keep for {} day")):
        if number is not None:
            return words.format(number) + ("s" if number > 1 else "")
    return "keep all"


def _json(rule: Retention) -> dict[str, Any]:
    return {
        "workspace": rule.workspace,
        "policy": _words(rule),
        "versions": rule.keep_versions,
        "days": rule.keep_days,
    }
