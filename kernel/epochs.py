"""Epochs: the one way anything becomes visible or stops being so.

    step                                        where   if the process dies here
    1 stage    record the change and its ids    SQL     swept when its lease has expired, own ids only
    2          insert points, born = OPEN       index   invisible; swept likewise
    3 flip     one row `flipping`, plan fixed   SQL     whoever finds it expired rolls it forward
    4          set born, died, until by id      index   the same writes again
    5          commit the epoch and the rows    SQL     done

Who excludes whom: staging excludes nobody. The partial unique index on `flips.state` lets one flip at a time through,
in all processes; everything that decides from the current state (`Handler.settle`) runs while that row is held. Readers
take no lock: they read the committed epoch and filter by it.
Whoever replaces the index holds the same lock (`still`) while it copies what came last and commits the replacement.

This module knows points, epochs and leases; what a change means is its handler's business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel.database import Database, affected
from kernel.errors import Failed, TryAgain
from kernel.ids import fresh, now_ms
from kernel.ports import VectorIndex
from kernel.serving import EMBEDDER, Held, Serving, record_of
from kernel.tables import Change, Clock, Fact, Flip

log = logging.getLogger(__name__)

_COLLECTION = "collection"
"""In a change's body: the index that had its points inserted."""

Step = Callable[[str], None]
"""Called between the steps of a flip with the step's name; tests kill the process there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Points that stop being visible with the flip, and until when (ms) they counted in the world."""

    points: tuple[str, ...]
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a flip writes to the index for one change."""

    births: tuple[str, ...] = ()
    deaths: tuple[Death, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    """Facts the handler decided under the lock and needs again at the commit."""


class Handler(Protocol):
    """What a kind of change means in SQL."""

    kind: str

    def settle(self, session: Session, change: Change, epoch: int) -> Plan:
        """Decide, under the flip lock, what is born and what dies in `epoch`. Writes nothing.

        Raises:
            TryAgain: the state moved since the change was staged; it is swept and the caller starts over.
        """

    def commit(self, session: Session, change: Change, epoch: int, at: int) -> None:
        """Write the rows that make the change true. Same transaction as the new epoch. Runs once."""

    def sweep(self, session: Session, change: Change) -> None:
        """Forget a change that was staged and will not be flipped; its points are gone already."""


class Epochs:
    """Stages changes and flips them. One per process; safe from several threads."""

    def __init__(
        self,
        db: Database,
        index: VectorIndex,
        owner: str,
        lease_seconds: float = 30,
        step: Step | None = None,
        serving: Serving | None = None,
    ):
        """`serving` is given where `index` may be replaced while this process runs (`Serving.index`)."""
        self._db, self._index, self.owner, self._serving = db, index, owner, serving
        self._lease_ms = int(lease_seconds * 1000)
        self._handlers: dict[str, Handler] = {}
        self._turn = threading.Lock()
        self.step: Step = step or (lambda _name: None)
        with suppress(IntegrityError), db.write() as session:  # another process that starts now may be first
            if session.get(Clock, 1) is None:
                session.add(Clock(id=1, epoch=0))

    def register(self, handler: Handler) -> None:
        self._handlers[handler.kind] = handler

    def committed(self) -> int:
        """The epoch readers use now. The index that serves from here on has everything up to it."""
        serves = select(Clock.epoch, Fact.value).outerjoin(Fact, Fact.key == EMBEDDER)
        with self._db.read() as session:
            epoch, record = session.execute(serves).one()
        if self._serving is not None:
            self._serving.follow(record or {})
        return int(epoch)

    @contextmanager
    def one_index(self) -> Iterator[Held]:
        """Let this thread use one index and its embedder, whatever is switched meanwhile.

        From the embedding of a text to the end of what its vector is for. A reader asks, once it has the committed
        epoch, whether what it holds has `moved`; a writer learns that at its flip (TryAgain), and starts over outside.
        """
        if self._serving is None:
            yield Held(None, None)
            return
        with self._serving.held() as pair:
            yield Held(self._serving, pair)

    # --- step 1 ----------------------------------------------------------------------------------

    def stage(self, session: Session, kind: str, subject: str, points: Sequence[str], body: dict[str, Any]) -> str:
        """Record, in the caller's transaction, a change and the points it is going to insert."""
        if self._serving is not None:
            body = body | {_COLLECTION: self._serving.pair().collection}
        change = Change(
            id=fresh("chg"),
            kind=kind,
            subject=subject,
            state="staged",
            owner=self.owner,
            lease_until=now_ms() + self._lease_ms,
            points=list(points),
            plan={},
            body=body,
            epoch=None,
            created=now_ms(),
        )
        session.add(change)
        session.flush()
        return change.id

    @contextmanager
    def keeping(self, change_ids: Sequence[str]) -> Iterator[None]:
        """Renew the leases of staged changes for as long as their owner embeds, inserts and waits for its flip.

        This thread uses one index meanwhile.
        """

        def ours() -> Sequence[ColumnElement[bool]]:  # asked each time: a release stages more as it goes
            return (Change.id.in_(change_ids), Change.state == "staged", Change.owner == self.owner)

        with self._renewing(Change, ours), self.one_index():
            yield

    def abandon(self, change_id: str, points: Sequence[str] = ()) -> None:
        """Sweep a change of ours that failed before its flip. Does nothing when a flip has taken it.

        `points` are what it may have inserted: if somebody swept it before we did, some of them came after that.
        """
        with self._db.write() as session:
            change = session.get(Change, change_id, with_for_update=True)
            if change is not None and change.state not in ("staged", "sweeping"):
                return
            if change is not None:
                change.state = "sweeping"
        if change is None:
            self._index.delete(points)
        else:
            self._sweep(change_id)

    # --- steps 3 to 5 ----------------------------------------------------------------------------

    def flip(self, change_ids: Sequence[str], timeout: float = 120) -> int:
        """Make staged changes visible together. Returns the committed epoch in which they are.

        Raises:
            TryAgain: the state moved under a change (they were all swept), or the lock was not to be had in time.
        """
        with self._turn:
            epoch = self._take(change_ids, timeout)
            try:
                self.step("flipping")
                self._finish(epoch)
            except BaseException:
                self._let_go(epoch)
                raise
            return epoch

    @contextmanager
    def still(self, timeout: float = 600) -> Iterator[int]:
        """Hold the flip lock: nothing is born and nothing dies meanwhile. Yields the epoch that `advance` may commit.

        If this process dies, whoever finds the lock expired commits that epoch, in which then nothing happened.

        Raises:
            TryAgain: the lock was not to be had in time.
        """
        with self._turn:
            epoch = self._take((), timeout)
            ours = (Flip.epoch == epoch, Flip.state == "flipping", Flip.owner == self.owner)
            try:
                with self._renewing(Flip, lambda: ours):
                    yield epoch
            finally:
                with self._db.write() as session:
                    session.execute(delete(Flip).where(*ours))  # nothing, once it was advanced

    def advance(self, session: Session, epoch: int) -> None:
        """Commit the epoch that `still` gave, in the caller's transaction: what that writes is true from it on.

        Raises:
            TryAgain: the lock was lost; others may have flipped meanwhile.
        """
        ours = (Flip.epoch == epoch, Flip.state == "flipping", Flip.owner == self.owner)
        held = affected(session, update(Flip).where(*ours).values(state="done"))
        if not held or not affected(session, update(Clock).where(Clock.epoch == epoch - 1).values(epoch=epoch)):
            raise TryAgain("the flip lock was lost", hint="this process was silent too long; try again", code="busy")

    def recover(self, *, orphaned: bool = False) -> dict[str, int]:
        """Roll expired flips forward and sweep expired stages. `orphaned` says that all other owners are dead."""
        with self._turn, self._db.read() as session:
            now = now_ms()
            flips = [
                f.epoch
                for f in session.scalars(select(Flip).where(Flip.state == "flipping"))
                if orphaned or f.lease_until <= now
            ]
        for epoch in flips:
            if self._adopt(epoch, orphaned=orphaned):
                self._finish(epoch)
        with self._db.write() as session:
            stale = select(Change).where(Change.state.in_(("staged", "sweeping")))
            if not orphaned:
                stale = stale.where(Change.lease_until <= now_ms())
            swept = list(session.scalars(stale.with_for_update()))
            for change in swept:
                change.state = "sweeping"
        for change in swept:
            self._sweep(change.id)
        return {"rolled_forward": len(flips), "swept": len(swept)}

    def _take(self, change_ids: Sequence[str], timeout: float) -> int:
        """Step 3. Returns the epoch being flipped to."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                with self._db.write() as session:
                    busy = session.scalars(select(Flip).where(Flip.state == "flipping")).first()
                    if busy is None:
                        return self._claim(session, change_ids)
            except IntegrityError:
                continue  # another process inserted its row first
            except TryAgain:
                for change_id in change_ids:
                    self.abandon(change_id)
                if self._serving is not None:
                    self._serving.refresh()
                raise
            ours = busy.owner == self.owner  # it failed, and could not even be let go of: nobody else of ours flips now
            if (ours or busy.lease_until <= now_ms()) and self._adopt(busy.epoch, orphaned=ours):
                self._finish(busy.epoch)
            elif time.monotonic() > deadline:
                raise TryAgain("another publish holds the flip lock", hint="try again in a moment", code="busy")
            else:
                time.sleep(0.02)

    def _claim(self, session: Session, change_ids: Sequence[str]) -> int:
        now = now_ms()
        epoch = session.execute(select(Clock.epoch)).scalar_one() + 1
        serves = record_of(session).get("collection")
        for change_id in change_ids:
            change = session.get(Change, change_id, with_for_update=True)
            if change is None or change.state != "staged":
                raise TryAgain(f"change {change_id!r} is not staged any more", hint="try again")
            if serves is not None and change.body.get(_COLLECTION, serves) != serves:
                raise TryAgain("another index serves since this was staged", hint="try again", code="switched")
            plan = self._handlers[change.kind].settle(session, change, epoch)
            change.plan = {
                "births": list(plan.births),
                "deaths": [{"points": list(d.points), "until": d.until} for d in plan.deaths],
                "notes": plan.notes,
            }
            change.state, change.epoch = "flipping", epoch
        session.add(Flip(epoch=epoch, state="flipping", owner=self.owner, lease_until=now + self._lease_ms, at=now))
        session.flush()
        return epoch

    def _adopt(self, epoch: int, *, orphaned: bool = False) -> bool:
        now = now_ms()
        with self._db.write() as session:
            expired = update(Flip).where(Flip.epoch == epoch, Flip.state == "flipping")
            if not orphaned:
                expired = expired.where(Flip.lease_until <= now)
            taken = affected(session, expired.values(owner=self.owner, lease_until=now + self._lease_ms))
        return bool(taken)

    def _let_go(self, epoch: int) -> None:
        """A flip of ours that could not be finished need not keep others waiting for its lease to expire."""
        try:
            with self._db.write() as session:
                ours = (Flip.epoch == epoch, Flip.state == "flipping", Flip.owner == self.owner)
                session.execute(update(Flip).where(*ours).values(lease_until=0))
        except Exception:
            log.exception("letting go of the flip to epoch %s", epoch)

    def _finish(self, epoch: int) -> None:
        """Steps 4 and 5, repeatable: whoever comes second finds the same writes done."""
        with self._db.read() as session:
            changes = list(session.scalars(select(Change).where(Change.epoch == epoch, Change.state == "flipping")))
        with self._newest():
            for change in changes:
                self._index.set_payload({"born": epoch}, change.plan["births"])
                self.step("born")
                for death in change.plan["deaths"]:
                    self._index.set_payload({"died": epoch, "until": death["until"]}, death["points"])
                    self.step("died")
        self.step("applied")
        with self._db.write() as session:
            moved = affected(session, update(Clock).where(Clock.epoch == epoch - 1).values(epoch=epoch))
            flip = session.get(Flip, epoch)
            if not moved:
                if flip is not None and flip.state == "done":
                    return  # another process rolled this one forward
                raise Failed(f"epoch {epoch} cannot follow the committed one", code="epoch_gap")
            for change in session.scalars(select(Change).where(Change.epoch == epoch)):
                self._handlers[change.kind].commit(session, change, epoch, flip.at if flip else now_ms())
                change.state = "done"
            if flip is not None:
                flip.state = "done"
        self.step("committed")

    @contextmanager
    def _renewing(
        self, table: type[Change] | type[Flip], ours: Callable[[], Sequence[ColumnElement[bool]]]
    ) -> Iterator[None]:
        """Renew the leases of those rows that are ours for as long as the block runs."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self._lease_ms / 4000):
                try:
                    with self._db.write() as session:
                        until = now_ms() + self._lease_ms
                        session.execute(update(table).where(*ours()).values(lease_until=until))
                except Exception:
                    log.exception("renewing leases")

        thread = threading.Thread(target=renew, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def _newest(self) -> Iterator[None]:
        """What a flip writes goes to the index that SQL names: it cannot change while the flip lock is held."""
        if self._serving is None:
            yield
            return
        self._serving.refresh()
        with self._serving.held(newest=True):
            yield

    def _sweep(self, change_id: str) -> None:
        with self._db.read() as session:
            change = session.get(Change, change_id)
        if change is None or change.state != "sweeping":
            return
        self._index.delete(change.points)
        with self._db.write() as session:
            found = session.get(Change, change_id, with_for_update=True)
            if found is not None and found.state == "sweeping":
                self._handlers[found.kind].sweep(session, found)
                session.delete(found)
