"""What serves: an index, and the embedder that made its vectors. The two change together or not at all.

Services keep `Serving.index` and `Serving.embedder` for life; behind these stands the pair that one row in SQL names.
Another row there, and every process goes over to another pair: the one that wrote it at once, others at the next time
they read the committed epoch (`follow`). Pairs are numbered and only ever go up.

    who                                     sees
    a call of `index` or `embedder`         the pair of this moment; it stays open until the call returns
    a thread within `held()`                one and the same pair, whatever happens meanwhile: between a text's
                                            embedding and the use of its vector nothing may change
    a delete                                the pair of this moment and, if it was replaced meanwhile, its successor

This module does not know how a pair is opened, nor what it takes to make the next one (`kernel.index.replace`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.orm import Session

from kernel.database import Database
from kernel.errors import TryAgain
from kernel.ports import Embedder, VectorIndex
from kernel.tables import Fact

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import models

EMBEDDER = "embedder"
"""Key of the row that names what serves: name, fingerprint, dimension, collection, serial, epoch, previous."""


class LocalEmbedder(Embedder, Protocol):
    """An embedder whose model lies in a folder here."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> str: ...

    def load(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An open index and the embedder of its vectors."""

    serial: int
    collection: str
    index: VectorIndex
    embedder: LocalEmbedder


def record_of(session: Session) -> dict[str, Any]:
    """What SQL says that serves; empty before the first start."""
    fact = session.get(Fact, EMBEDDER)
    return dict(fact.value) if fact is not None else {}


class Held:
    """A pair that a thread keeps; `moved` once another one serves."""

    def __init__(self, serving: Serving | None, pair: Pair | None) -> None:
        self._serving, self._pair = serving, pair

    @property
    def moved(self) -> bool:
        return self._serving is not None and self._pair is not None and self._serving.current != self._pair


class Serving:
    """The pair that serves in this process. Safe from several threads."""

    def __init__(self, db: Database, first: Pair, open_pair: Callable[[dict[str, Any]], Pair]) -> None:
        self._db, self._open = db, open_pair
        self.current = first
        self.candidate: Pair | None = None
        """A pair that is open already and may be named next: an embedded index opens only once."""
        self._thread = threading.local()
        self._users: Counter[int] = Counter()
        self._calm = threading.Condition()
        self._changing = threading.RLock()
        self._closing = threading.Lock()
        self._left: list[Pair] = []
        self.index = ServingIndex(self)
        self.embedder = ServingEmbedder(self)

    # --- the pair --------------------------------------------------------------------------------

    def pair(self) -> Pair:
        """The pair this thread holds, else the one of this moment."""
        held: list[Pair] = getattr(self._thread, "held", [])
        return held[-1] if held else self.current

    @contextmanager
    def using(self, *, newest: bool = False) -> Iterator[Pair]:
        """A pair that stays open until the block ends: this thread's, or the newest."""
        with self._calm:
            pair = self.current if newest else self.pair()
            self._users[pair.serial] += 1
        try:
            yield pair
        finally:
            with self._calm:
                self._users[pair.serial] -= 1
                self._calm.notify_all()

    @contextmanager
    def held(self, *, newest: bool = False) -> Iterator[Pair]:
        """Keep one pair for this thread until the block ends; within another `held` it is that one's."""
        with self.using(newest=newest) as pair:
            stack: list[Pair] = self._thread.__dict__.setdefault("held", [])
            stack.append(pair)
            try:
                yield pair
            finally:
                stack.pop()

    # --- going over ------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Serve what SQL names now."""
        with self._db.read() as session:
            record = record_of(session)
        self.follow(record)

    def follow(self, record: dict[str, Any]) -> None:
        """Serve what `record` names, unless something newer serves. `record` is committed."""
        if self._left:
            self.close_left(wait=False)
        if record.get("serial", 0) <= self.current.serial:
            return
        with self._changing:
            if record["serial"] <= self.current.serial:
                return
            ready = self.candidate
            pair = ready if ready is not None and ready.serial == record["serial"] else self._open(record)
            with self._calm:
                self._left.append(self.current)
                self.index.deleted = 0
                self.current, self.candidate = pair, None

    def close_left(self, timeout: float = 0, *, wait: bool = True) -> bool:
        """Close the pairs that serve no more, once nobody uses them; False if somebody still does at the timeout.

        Without `wait` it is also False if another thread is at it: when it is True, all of them are closed.
        """
        if not self._closing.acquire(blocking=wait):
            return False
        try:
            for pair in list(self._left):
                with self._calm:
                    if not self._calm.wait_for(lambda serial=pair.serial: not self._users[serial], timeout):  # type: ignore[misc]
                        return False
                pair.index.close()
                self._left.remove(pair)
            return True
        finally:
            self._closing.release()

    def close(self) -> None:
        for pair in (*self._left, *([self.candidate] if self.candidate else ()), self.current):
            pair.index.close()
        self._left, self.candidate = [], None


class ServingIndex:
    """The `VectorIndex` port over whatever serves."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.deleted = 0
        """Points that this process asked to delete from what serves: an engine keeps them until it is maintained."""

    def insert(self, points: Sequence[models.PointStruct]) -> None:
        with self._serving.using() as pair:
            if points and _dense_size(points[0]) not in (None, pair.embedder.dimension):
                raise TryAgain("the embedder was switched meanwhile", hint="try again", code="switched")
            pair.index.insert(points)

    def set_payload(self, payload: dict[str, Any], ids: Sequence[str]) -> None:
        with self._serving.using() as pair:
            pair.index.set_payload(payload, ids)

    def delete(self, ids: Sequence[str]) -> None:
        with self._serving.using() as pair:
            pair.index.delete(ids)
            done = pair.serial
        self.deleted += len(ids)
        # Only a successor that is named after this look can hold them still; its maker looks for that (replace.settle).
        self._serving.refresh()
        while done < self._serving.current.serial:
            with self._serving.using(newest=True) as pair:
                pair.index.delete(ids)
                done = pair.serial
            self._serving.refresh()

    def query(self, requests: Sequence[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        with self._serving.using() as pair:
            return pair.index.query(requests)

    def scroll(
        self, filter: models.Filter | None, *, with_vectors: bool = False, page_size: int = 1000
    ) -> Iterator[models.Record]:
        with self._serving.using() as pair:
            yield from pair.index.scroll(filter, with_vectors=with_vectors, page_size=page_size)

    def retrieve(self, ids: Sequence[str], *, with_vectors: bool = False) -> list[models.Record]:
        with self._serving.using() as pair:
            return pair.index.retrieve(ids, with_vectors=with_vectors)

    def count(self, filter: models.Filter | None = None) -> int:
        with self._serving.using() as pair:
            return pair.index.count(filter)

    def maintain(self) -> None:
        with self._serving.using() as pair:
            pair.index.maintain()

    def close(self) -> None:
        self._serving.close()


class ServingEmbedder:
    """The `Embedder` port over whatever serves."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    @property
    def _now(self) -> LocalEmbedder:
        return self._serving.pair().embedder

    @property
    def name(self) -> str:
        return self._now.name

    @property
    def path(self) -> str:
        return self._now.path

    @property
    def dimension(self) -> int:
        return self._now.dimension

    @property
    def fingerprint(self) -> str:
        return self._now.fingerprint

    @property
    def max_tokens(self) -> int:
        return self._now.max_tokens

    def load(self) -> None:
        self._now.load()

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        return self._now.embed_documents(texts, progress)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._now.embed_queries(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._now.count_tokens(texts)


def _dense_size(point: models.PointStruct) -> int | None:
    from kernel.index.schema import DENSE

    vector = point.vector.get(DENSE) if isinstance(point.vector, dict) else None
    return len(vector) if isinstance(vector, list) else None
