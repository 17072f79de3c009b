"""Replacing the index while it serves: another embedder's, or the same one's made anew without what was deleted.

    step         where                                                          if the process dies here
    begun        one row names the new collection, which is made                resumed, or dropped by a cancel
    filled       every point is copied: id and payload as they are, vectors     resumed: what is there need not be
                 made by the new embedder, or copied where it is the same       copied again
    optimized    search structures are built, in a process of its own           resumed
    still        the flip lock is held: nothing is born, nothing dies           others take the lock when it expires
    reconciled   what came, changed or went since the copy is made good         the same
    switched     one row names the new collection and an epoch: it serves       the next start serves it
    rewired      this process serves it; others do when they read the epoch     the next start serves it
    settled      what a delete took from the old one between the last two       done again at the next start
                 looks is taken from the new one
    removed      the old collection is gone                                     done again at the next start

Points that wait for their flip are not copied. Their owners learn at the flip that another index serves, and start over
(`Epochs._claim`). A delete takes a point from whatever serves and looks afterwards whether that was replaced
(`ServingIndex.delete`): one that looked before the commit has changed the old collection before `settled` compares.

This module knows points and collections. What a point's text is it asks `Texts`.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from qdrant_client import models
from sqlalchemy.orm import Session

from kernel.audit import record as enter
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.errors import Failed, TryAgain
from kernel.ids import now_ms
from kernel.index.compact import optimize
from kernel.index.physical import Collections
from kernel.index.schema import DENSE, SPARSE, number, sparse_document
from kernel.index.terms import TERMS
from kernel.jobs import Cancelled
from kernel.ports import VectorIndex
from kernel.serving import EMBEDDER, LocalEmbedder, Pair, Serving, record_of
from kernel.tables import Fact
from kernel.types import OPEN, Progress

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

REPLACEMENT = "replacement"
"""Key of the row that names the collection being filled."""
Why = Literal["switch", "maintain"]
Texts = Callable[[Sequence[str]], dict[str, tuple[str, bool]]]
"""(text, whether it is embedded as a question) of each point; a point of nobody has none."""

_BATCH, _FEW, _ROUNDS = 256, 256, 8
OPTIMIZE_FROM = 10_000
"""Points from which a switch builds search structures too: exact search is fast enough below."""


class Replacer:
    """Fills another collection and lets it serve. One at a time per platform."""

    def __init__(
        self,
        db: Database,
        serving: Serving,
        epochs: Epochs,
        collections: Collections,
        texts: Texts,
        *,
        grace_ms: int = 0,
        step: Callable[[str], None] | None = None,
    ) -> None:
        """`grace_ms`: how long other processes may still ask an old collection."""
        self._db, self._serving, self._epochs, self._texts = db, serving, epochs, texts
        self._collections, self._grace_ms = collections, grace_ms
        self._alone = threading.Lock()
        self.step = step or (lambda _name: None)

    # --- looking ---------------------------------------------------------------------------------

    def serves(self) -> dict[str, Any]:
        """The record of what serves."""
        with self._db.read() as session:
            return record_of(session)

    def filling(self) -> dict[str, Any] | None:
        """The record of what is being filled, or waits for that to go on."""
        with self._db.read() as session:
            fact = session.get(Fact, REPLACEMENT)
            return dict(fact.value) if fact else None

    # --- doing -----------------------------------------------------------------------------------

    def run(self, why: Why, embedder: LocalEmbedder, progress: Progress, job: str | None = None) -> dict[str, Any]:
        """Replace what serves by a new collection of `embedder`. Goes on where an earlier run died.

        Raises:
            Cancelled: `progress` said so; what was filled is gone.
            TryAgain: another replacement was committed meanwhile.
        """
        with self._only():
            serving = self.serves()
            already = why == "switch" and serving["fingerprint"] == embedder.fingerprint
            if not already and (job is None or serving.get("job") != job):
                filling = self._begin(why, embedder, job)
                try:
                    self._replace(filling, embedder, progress)
                except Cancelled:
                    self._abandon(by_us=True)
                    raise
            self._tidy(timeout=60)
        now = self.serves()
        shown = ("name", "fingerprint", "dimension", "collection", "epoch")
        return {"why": why, "already": already, **{k: now.get(k) for k in shown}, "points": self._serving.index.count()}

    def abandon(self) -> str | None:
        """Drop what is being filled; its collection's name, None if there was nothing. Cancel its job before.

        Raises:
            TryAgain: a run of this process is still at it.
        """
        with self._only():
            return self._abandon()

    def tidy(self) -> None:
        """Settle and remove what served before, if nobody is at it. Repeatable, and for every start."""
        if self._alone.acquire(blocking=False):
            try:
                self._tidy(timeout=0)
            finally:
                self._alone.release()

    # --- one at a time ---------------------------------------------------------------------------

    @contextmanager
    def _only(self) -> Iterator[None]:
        if not self._alone.acquire(blocking=False):
            raise TryAgain("the index is being replaced", hint="wait for that job to end, or cancel it", code="busy")
        try:
            yield
        finally:
            self._alone.release()

    def _abandon(self, *, by_us: bool = False) -> str | None:
        filling = self.filling()
        if filling is None or (by_us and filling["owner"] != self._epochs.owner):
            return None
        if filling["collection"] != self.serves()["collection"]:
            self._collections.remove(filling["collection"])
        with self._db.write() as session:
            fact = session.get(Fact, REPLACEMENT)
            if fact is not None and fact.value["collection"] == filling["collection"]:
                session.delete(fact)
        return str(filling["collection"])

    def _tidy(self, timeout: float) -> None:
        self._serving.refresh()
        for old in self.serves().get("previous", []):
            if self._collections.folder(old["collection"]) is not None and not self._serving.close_left(timeout):
                return  # a reader is at it; the next tick looks again
            if not old["settled"]:
                self._settle(old)
                self._note(old["collection"], settled=True)
                self.step("settled")
            if now_ms() - old["left"] >= self._grace_ms:
                self._serving.close_left(timeout)
                self._collections.remove(old["collection"])
                self.step("removed")
                self._note(old["collection"], gone=True)

    # --- the steps -------------------------------------------------------------------------------

    def _begin(self, why: Why, embedder: LocalEmbedder, job: str | None) -> dict[str, Any]:
        goal = {
            "why": why,
            "name": embedder.name,
            "fingerprint": embedder.fingerprint,
            "serial": self.serves().get("serial", 0) + 1,
            "terms": TERMS,
        }
        filling = self.filling()
        if filling is not None and any(filling.get(key) != value for key, value in goal.items()):
            self._abandon()
            filling = None
        if filling is None:
            filling = goal | {"collection": self._collections.another(), "dimension": embedder.dimension}
        filling |= {"job": job, "owner": self._epochs.owner}
        with self._db.write() as session:
            session.merge(Fact(key=REPLACEMENT, value=filling))
        self.step("begun")
        return filling

    def _replace(self, filling: dict[str, Any], embedder: LocalEmbedder, progress: Progress) -> None:
        pair = self._open(filling, embedder)
        try:
            with self._serving.held() as old:
                for _ in range(_ROUNDS):
                    if self._sync(old, pair, filling["why"], progress) <= _FEW:
                        break
                self.step("filled")
                pair = self._optimized(pair, filling["why"], progress)
                self.step("optimized")
                self._sync(old, pair, filling["why"], progress)
                with self._epochs.still() as epoch:
                    self._check(filling)
                    self.step("still")
                    self._sync(old, pair, filling["why"], progress, final=True)
                    self.step("reconciled")
                    self._serving.candidate = pair
                    with self._db.write() as session:
                        self._commit(session, filling, epoch, pair.index.count())
                    self.step("switched")
                    self._serving.refresh()
        finally:
            with suppress(Exception):
                self._serving.refresh()  # if it was committed, it serves
            if self._serving.current is not pair:
                self._serving.candidate = None
                pair.index.close()
        self.step("rewired")

    def _check(self, filling: dict[str, Any]) -> None:
        """Raises:
        TryAgain: another process replaced the index meanwhile, or took over what this one was filling.
        """
        now = self.filling()
        if now is None or any(now[key] != filling[key] for key in ("collection", "owner")):
            raise TryAgain("another process took over this replacement", hint="try again", code="switched")

    def _commit(self, session: Session, filling: dict[str, Any], epoch: int, points: int) -> None:
        served = record_of(session)
        self._epochs.advance(session, epoch)
        left = {key: served[key] for key in ("collection", "dimension")}
        left |= {"epoch": epoch, "left": now_ms(), "settled": False}
        record = {key: filling[key] for key in ("name", "fingerprint", "dimension", "collection", "serial", "job")}
        record |= {"terms": TERMS, "points": points, "epoch": epoch, "previous": [*served.get("previous", []), left]}
        session.merge(Fact(key=EMBEDDER, value=record))
        fact = session.get(Fact, REPLACEMENT)
        if fact is not None:
            session.delete(fact)
        enter(session, f"index-{filling['why']}", filling["collection"], embedder=filling["name"], epoch=epoch)

    def _optimized(self, pair: Pair, why: Why, progress: Progress) -> Pair:
        """The pair, opened again, with search structures where that is worth it."""
        folder = self._collections.folder(pair.collection)
        if folder is None or (why == "switch" and pair.index.count() < OPTIMIZE_FROM):
            return pair
        pair.index.close()
        try:
            optimize(folder, lambda: progress("optimizing", 0, 0))
        except Failed:
            self._collections.remove(pair.collection)  # nobody knows what that process left
            raise
        index = self._collections.open(pair.collection, pair.embedder.dimension)
        return Pair(serial=pair.serial, collection=pair.collection, index=index, embedder=pair.embedder)

    def _open(self, filling: dict[str, Any], embedder: LocalEmbedder) -> Pair:
        name, dimension = filling["collection"], filling["dimension"]
        try:
            index = self._collections.open(name, dimension)
        except Failed:
            if not self._collections.exists(name):
                raise
            log.exception("what was filled of %r cannot be opened; it is filled anew", name)
            self._collections.remove(name)
            index = self._collections.open(name, dimension)
        return Pair(serial=filling["serial"], collection=name, index=index, embedder=embedder)

    def _settle(self, old: dict[str, Any]) -> None:
        """Take from what serves what had come into it and was deleted from `old` before that was left."""
        if not self._collections.exists(old["collection"]):
            return
        index = self._collections.open(old["collection"], old["dimension"])
        try:
            there = {str(point.id) for point in index.scroll(None)}
        finally:
            index.close()
        before = models.Filter(must=[number("born", lt=old["epoch"])])
        gone = [str(point.id) for point in self._serving.index.scroll(before) if str(point.id) not in there]
        self._serving.index.delete(gone)

    def _note(self, collection: str, *, settled: bool = False, gone: bool = False) -> None:
        with self._db.write() as session:
            record = record_of(session)
            listed = [dict(old) for old in record.get("previous", []) if not (gone and old["collection"] == collection)]
            for old in listed:
                old["settled"] |= settled and old["collection"] == collection
            session.merge(Fact(key=EMBEDDER, value=record | {"previous": listed}))

    # --- copying ---------------------------------------------------------------------------------

    def _sync(self, old: Pair, new: Pair, why: Why, progress: Progress, *, final: bool = False) -> int:
        """Copy to `new` what it lacks; how many points. In the end, under the lock, make them equal.

        Only then: a process that was thought dead, and is about to find that out, must take nothing from what serves.
        """
        total, seen, copied = old.index.count(), 0, 0
        copies: list[models.Record] = []
        changed: dict[str, tuple[dict[str, Any], list[str]]] = defaultdict(lambda: ({}, []))
        dropped: list[str] = []
        for what, point in _differences(old.index, new.index):
            seen += what != "drop"
            if what == "copy":
                copies.append(point)
            elif what == "set":
                payload = dict(point.payload or {})
                key = repr(sorted(payload.items()))
                changed[key] = (payload, [*changed[key][1], str(point.id)])
            elif what == "drop":
                dropped.append(str(point.id))
            if len(copies) >= _BATCH:
                copied += self._copy(copies, old, new, why, lambda done, at=seen: progress("filling", at, total))  # type: ignore[misc]
                copies = []
                self.step("page")
        copied += self._copy(copies, old, new, why, lambda _done: progress("filling", seen, total))
        if final:
            for payload, ids in changed.values():
                new.index.set_payload(payload, ids)
            new.index.delete(dropped)
        return copied

    def _copy(self, points: list[models.Record], old: Pair, new: Pair, why: Why, alive: Callable[[int], None]) -> int:
        alive(0)
        texts = self._texts([str(p.id) for p in points])
        points = [p for p in points if str(p.id) in texts]  # one without a text is nobody's: it goes
        if not points:
            return 0
        vectors: dict[str, list[float]] = {}
        if why == "maintain":
            for stored in old.index.retrieve([str(p.id) for p in points], with_vectors=True):
                assert isinstance(stored.vector, dict)
                vectors[str(stored.id)] = list(stored.vector[DENSE])  # type: ignore[arg-type]
        else:
            vectors = _embedded({str(p.id): texts[str(p.id)] for p in points}, new.embedder, alive)
        made = [
            models.PointStruct(
                id=str(p.id),
                vector={DENSE: vectors[str(p.id)], SPARSE: sparse_document(texts[str(p.id)][0])},
                payload=p.payload,
            )
            for p in points
            if str(p.id) in vectors  # else it was deleted since it was listed
        ]
        new.index.insert(made)
        return len(made)


def _embedded(
    texts: dict[str, tuple[str, bool]], embedder: LocalEmbedder, alive: Callable[[int], None]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for question in (False, True):
        ids = [point for point, (_, asked) in texts.items() if asked is question]
        if ids:
            some = [texts[point][0] for point in ids]
            rows: np.ndarray = embedder.embed_queries(some) if question else embedder.embed_documents(some, alive)
            found |= {point: row.tolist() for point, row in zip(ids, rows, strict=True)}
    return found


def _differences(old: VectorIndex, new: VectorIndex) -> Iterator[tuple[str, models.Record]]:
    """What makes `new` differ, from one walk through both in order of id; points that are equal are told too."""
    left = old.scroll(models.Filter(must=[number("born", lt=OPEN)]))
    right = new.scroll(None)
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and str(a.id) < str(b.id)):
            assert a is not None
            yield "copy", a
            a = next(left, None)
        elif a is None or str(b.id) < str(a.id):
            yield "drop", b
            b = next(right, None)
        else:
            yield ("same" if a.payload == b.payload else "set"), a
            a, b = next(left, None), next(right, None)
