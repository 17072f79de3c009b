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

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from kernel.database import Database, affected
from kernel.errors import Failed, TryAgain
from kernel.ids import fresh, now_ms
from kernel.ports import VectorIndex
from kernel.tables import Change, Clock, Flip

log = logging.getLogger(__name__)

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
    ):
        self._db, self._index, self.owner = db, index, owner
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
        """The epoch readers use now."""
        with self._db.read() as session:
            return session.execute(select(Clock.epoch)).scalar_one()

    # --- step 1 ----------------------------------------------------------------------------------

    def stage(self, session: Session, kind: str, subject: str, points: Sequence[str], body: dict[str, Any]) -> str:
        """Record, in the caller's transaction, a change and the points it is going to insert."""
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

    def renew(self, change_id: str) -> None:
        """Say that a staged change's owner is alive.

        Raises:
            TryAgain: its lease had expired and somebody swept it.
        """
        with self._db.write() as session:
            ours = (Change.id == change_id, Change.state == "staged", Change.owner == self.owner)
            alive = affected(session, update(Change).where(*ours).values(lease_until=now_ms() + self._lease_ms))
        if not alive:
            raise TryAgain(f"change {change_id!r} was swept", hint="its owner was silent too long; try again")

    @contextmanager
    def keeping(self, change_ids: Sequence[str]) -> Iterator[None]:
        """Renew the leases of staged changes for as long as their owner embeds, inserts and waits for its flip."""
        over = threading.Event()

        def renew() -> None:
            ours = (Change.id.in_(change_ids), Change.state == "staged", Change.owner == self.owner)
            while not over.wait(self._lease_ms / 4000):
                try:
                    with self._db.write() as session:
                        until = now_ms() + self._lease_ms
                        if not affected(session, update(Change).where(*ours).values(lease_until=until)):
                            return  # flipped, or swept: their owner learns of that at its flip
                except Exception:
                    log.exception("renewing the leases of %s", change_ids)

        thread = threading.Thread(target=renew, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

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
                raise
            if busy.lease_until <= now_ms() and self._adopt(busy.epoch):
                self._finish(busy.epoch)
            elif time.monotonic() > deadline:
                raise TryAgain("another publish holds the flip lock", hint="try again in a moment", code="busy")
            else:
                time.sleep(0.02)

    def _claim(self, session: Session, change_ids: Sequence[str]) -> int:
        now = now_ms()
        epoch = session.execute(select(Clock.epoch)).scalar_one() + 1
        for change_id in change_ids:
            change = session.get(Change, change_id, with_for_update=True)
            if change is None or change.state != "staged":
                raise TryAgain(f"change {change_id!r} is not staged any more", hint="try again")
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
