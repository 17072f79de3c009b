"""A job being run, as its work sees it: where it reports what it does, and learns of a cancel.

It knows the ledger only as a function that records a heartbeat and whatever comes with it in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from sqlalchemy.orm import Session

from kernel import items
from kernel.items import Outcomes, Suspect
from kernel.pace import Pace
from kernel.tables import Job

Change = Callable[[Session], None]
Beat = Callable[[dict[str, Any] | None, Change | None], tuple[bool, bool]]
"""(progress, a change to make with it): record a heartbeat; (the job is still ours, a cancel is asked for)."""


class Cancelled(Exception):
    """Raised inside a job's work when somebody asked to cancel it, or the job is no longer this attempt's."""


class TakenAway(Cancelled):
    """The latter: the process stops in order, or another attempt has the job. What was done is not to be undone."""


class Running:
    """A job being run: where its work reports what it does and learns of a cancel."""

    def __init__(
        self, job: Job, suspects: tuple[Suspect, ...], outcomes: Outcomes, beat: Beat, suspects_turn: Lock
    ) -> None:
        self.id, self.args, self.attempt, self.created = job.id, job.args, job.attempt, job.created
        self.suspects = suspects
        """Items that were in work when earlier attempts died, and of which nothing has become yet."""
        self.outcomes = outcomes
        """What became of items in earlier attempts, by item."""
        self._beat, self._suspects_turn = beat, suspects_turn
        self._pace, self._item = Pace(), ""
        self._told: dict[str, Any] = job.progress

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Raises:
        Cancelled: the job is to stop here.
        """
        told = self._pace.tell(stage, done, total, self._item or None)
        if total:  # a job has got to the end when it has ended, not before
            told["done"] = min(told["done"], max(0, total - 1))
        self._told = told
        self._report(lambda _session: None)

    def mark(self, names: Sequence[str], item: str = "") -> None:
        """Only the items `names` are in work from now on. `item` is what people are shown for them.

        Raises:
            Cancelled: the job is to stop here.
        """
        self._item = item
        self._told = self._told | {"item": item or None}
        self._report(lambda session: items.mark(session, self.id, names))

    def settle(self, outcomes: Outcomes, again: Collection[str] = ()) -> None:
        """Record what became of items, for good: a later attempt finds it. A retry takes up those in `again` once more.

        Raises:
            TakenAway: the job is another attempt's by now.
        """
        ours, _ = self._beat(None, lambda session: items.settle(session, self.id, outcomes, again))
        if not ours:
            raise TakenAway

    @contextmanager
    def by_itself(self) -> Iterator[None]:
        """While suspects are in work no other job of this process has suspects in work."""
        while not self._suspects_turn.acquire(timeout=1):
            self._report(lambda _session: None)
        try:
            yield
        finally:
            self._suspects_turn.release()

    def _report(self, change: Change) -> None:
        ours, cancelled = self._beat(self._told, change)
        if not ours:
            raise TakenAway
        if cancelled:
            raise Cancelled
