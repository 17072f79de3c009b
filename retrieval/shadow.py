"""The shadow: a challenger answers what the champion has answered, unseen, and the differences are written down.

It is nobody's business but the trial's. A shown answer is never delayed and never fails because of it: the work begins
after the answer was kept, one turn at a time, when no request is underway; it waits in a short line, and what finds the
line full is dropped and counted. Ids and figures are kept, and no words: those stand with the turn, and go with it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import IntegrityError

from kernel.database import Database
from kernel.errors import RepriseError
from kernel.ids import now_ms
from kernel.types import When
from retrieval.answer import Answered, Answerer, Asked
from retrieval.choosing import Choice
from retrieval.lending import Lending, Lent
from retrieval.live import RETRIEVER
from retrieval.scoping import Scoped
from retrieval.search import How, Search
from retrieval.tables import Difference, Turn

log = logging.getLogger(__name__)
WAITING = 32
"""Turns that wait for their shadow at most, each with its question in memory."""
DEPTH = 10
"""Passages that are compared."""
PERSISTENCE = 0.9
"""p of the rank-biased overlap: the first ten ranks carry 86 % of what it weighs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A turn that a challenger is to answer as well."""

    answered: Answered
    choice: Choice


class Shadows:
    """Takes answers, and compares them in a thread of its own that starts with the first. `close` ends it."""

    def __init__(
        self, db: Database, answerer: Answerer, search: Search, lending: Lending, waiting: int = WAITING
    ) -> None:
        self._db, self._answerer, self._search, self._lending = db, answerer, search, lending
        self._line: queue.Queue[_Wanted] = queue.Queue(waiting)
        self._stopped = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropped = 0

    def offer(self, answered: Answered) -> None:
        """Take an answer that was shown, for each trial that has a shadow. Returns at once, and never raises."""
        for choice in answered.lent.choices.values():
            if choice.shadow is None or self._stopped.is_set():
                continue
            try:
                self._line.put_nowait(_Wanted(answered=answered, choice=choice))
            except queue.Full:
                self._dropped += 1
                continue
            self._start()

    def settle(self) -> None:
        """Wait until everything that was taken is written down."""
        self._line.join()

    def close(self) -> None:
        """Finish what is in work, and drop the rest."""
        self._stopped.set()
        self._lending.wake()
        with self._starting:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                wanted = self._line.get(timeout=0.5)
            except queue.Empty:
                continue
            try:
                if self._lending.when_calm(self._stopped):
                    self._compare(wanted)
            except Exception:
                log.exception("the shadow of a turn was not written down; what was shown is not concerned")
            finally:
                self._line.task_done()

    def _compare(self, wanted: _Wanted) -> None:
        shown = wanted.answered.done
        figures: dict[str, Any] = {"overlap": None, "rbo": None, "shadow_ms": None, "error": None}
        figures |= {"first_changed": 0, "shadow_abstained": int(shown["abstained"])}
        try:
            figures |= self._figures(wanted)
        except RepriseError as error:
            figures["error"] = error.code
        except Exception as error:
            log.exception("a challenger failed in the shadow")
            figures["error"] = type(error).__name__
        dropped, self._dropped = self._dropped, 0
        row = Difference(
            rollout=str(wanted.choice.rollout),
            turn=shown["turn"],
            abstained=int(shown["abstained"]),
            ms=shown["ms"]["total"],
            dropped=dropped,
            created=now_ms(),
            **figures,
        )
        try:
            with self._db.write() as session:
                if session.get(Turn, shown["turn"]) is not None:  # else its person took it away meanwhile
                    session.add(row)
        except IntegrityError:  # written down already
            log.warning("turn %s has its shadow already", shown["turn"])

    def _figures(self, wanted: _Wanted) -> dict[str, Any]:
        """What the challenger makes of the turn, at the epoch and time of what was shown."""
        answered, choice, shown = wanted.answered, wanted.choice, wanted.answered.done
        when = When(epoch=shown["epoch"], at=answered.at)
        asked = replace(answered.asked, scoped=_at(answered.asked.scoped, when))
        assert choice.shadow is not None
        as_challenger = replace(choice, order=(replace(choice.shadow, strict=True),), shadow=None)
        choices = {**answered.lent.choices, choice.kind: as_challenger}
        with self._lending.borrow(choices) as lent:
            found = self._answerer.again(asked, lent)
            ranks = self._ranks(asked, answered.lent, lent) if choice.kind == RETRIEVER else {}
        return {
            **ranks,
            "first_changed": int(_first(shown) != _first(found)),
            "shadow_abstained": int(found["abstained"]),
            "shadow_ms": found["ms"]["total"],
        }

    def _ranks(self, asked: Asked, shown: Lent, shadow: Lent) -> dict[str, float]:
        one, two = (
            [
                passage.chunk
                for passage in self._search.search(
                    asked.question, DEPTH, asked.scoped.scope, how=How(adapter=lent.pinned(RETRIEVER))
                ).passages
            ]
            for lent in (shown, shadow)
        )
        return {"overlap": overlap(one, two), "rbo": rank_biased_overlap(one, two)}


def overlap(one: Sequence[str], two: Sequence[str]) -> float:
    """The share that both lists have in common, of the longer one; 1 where both are empty."""
    return len(set(one) & set(two)) / max(len(one), len(two)) if one or two else 1.0


def rank_biased_overlap(one: Sequence[str], two: Sequence[str], p: float = PERSISTENCE) -> float:
    """Agreement of two rankings, 0 to 1, where the first ranks count most.

    RBO extrapolated from the depth that is seen (Webber, Moffat & Zobel 2010, "A similarity measure for indefinite
    rankings", eq. 23): the agreement at each depth d weighs p^d, and what is below is taken to agree as the last depth
    does. A list that ended earlier agrees with nothing from there on; two empty ones agree.
    """
    depth = max(len(one), len(two))
    if not depth:
        return 1.0
    agreement, total = 0.0, 0.0
    for d in range(1, depth + 1):
        agreement = len(set(one[:d]) & set(two[:d])) / d
        total += agreement * p**d
    return agreement * p**depth + (1 - p) / p * total


def _first(shown: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What the first citation points at; None where nothing is cited."""
    for citation in shown["citations"]:
        return citation["document"], citation["version"], citation["start"], citation["end"]
    return None


def _at(scoped: Scoped, when: When) -> Scoped:
    return replace(scoped, scope=replace(scoped.scope, when=when), wide=replace(scoped.wide, when=when))
