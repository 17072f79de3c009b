"""The pool that a mix is drawn from: facts of every old example from SQL, vectors of a bounded part from the index.

    new        all, with their vectors
    near       the nearest old examples of up to `ASKED` new ones: batches of nearest queries
    spread     of every stratum a draw by chance, for where it lies and what is far
    the rest   facts alone: a policy that draws by chance needs no vector

SQL proposes and the index disposes: whatever is read from the index passes the one visibility rule (`_rule`), and what
is picked without a vector passes it before it stands in a mix. Chance is a hash of seed and id: the engine's own random
sampling takes no seed, and the same seed and epoch have to give the same mix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from qdrant_client import models
from sqlalchemy import and_, func, select, true

from kernel.database import Database
from kernel.epochs import Epochs
from kernel.errors import UserError
from kernel.ids import now_ms
from kernel.index.schema import DENSE, keyword, visible
from kernel.ports import VectorIndex
from kernel.types import When
from rehearsal.controller import Replay
from rehearsal.ground import made_of
from rehearsal.policies import BY_LIKENESS, POLICIES, Candidate, NewExamples, n_old
from rehearsal.policies.memory import DAY
from rehearsal.policies.nearness import CENTRE, NEIGHBOURS
from rehearsal.policies.picks import chance
from rehearsal.suited import Suited
from rehearsal.tables import Example, ExampleMemory

ASKED = 128
"""New examples, by chance, whose neighbours are looked for."""
FEWEST, MOST = 4, 8
"""Rows with vectors, near and spread, for each that is recalled: at least and at most, as far as there are so many."""
NO_STORAGE = "no-storage"
"""A licence that begins so allows to use an answer and not to keep it: the champion answers in its place."""
_BATCH = 512
_QUERIES, _MOST_NAMED = 32, 100_000
"""Queries sent at once, at most, and ids that they name together: each names all that is new, and a server takes so
many bytes and no more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """What may stand in a mix at `epoch`. `wanted` old ones are to be picked."""

    policy: str
    epoch: int
    workspace: str | None
    seed: int
    replay: Replay
    wanted: int
    old: tuple[Candidate, ...]
    new: NewExamples
    facts: Mapping[str, Any]
    """Row of `examples` (id, point, slice, …) by example."""
    left_out: int = 0
    """Examples that are in neither part because a document they stand on was left out."""
    unsuited: int = 0
    """Examples that are in neither part because the adapter could not learn from them."""
    lacking: str = ""
    """What those do not hold, as in `without an answer`."""


class Pools:
    """Gathers pools. What it returns depends on index, rows and arguments alone."""

    def __init__(self, db: Database, index: VectorIndex, epochs: Epochs) -> None:
        self._db, self._index, self._epochs = db, index, epochs

    def gather(
        self,
        policy: str,
        *,
        kind: str,
        workspace: str | None,
        practised: Set[str],
        seed: int,
        replay: Replay,
        recent: Mapping[str, int] | None = None,
        without: Sequence[str] = (),
        suited: Suited | None = None,
    ) -> Pool:
        """The pool at the committed epoch, for an adapter of this kind: what is known of memories is what it remembers.

        `practised` are the examples of the champion's lineage, the others are new; `recent` says how often each was
        recalled lately; examples of the documents `without` stay out, and those that are not `suited`.

        Raises:
            UserError: no such policy.
        """
        if policy not in POLICIES:
            raise UserError(f"no policy {policy!r}", hint=f"there are: {', '.join(sorted(POLICIES))}")
        when = When(epoch=self._epochs.committed(), at=now_ms())
        every = self._facts(workspace, kind, suited)
        with self._db.read() as session:
            out = made_of(session, without)
        stand = [e for e in every if e.id not in out]
        facts = [e for e in stand if (e.old if e.id in practised else e.new)]
        fresh = {e.id: e for e in facts if e.id not in practised}
        old = {e.id: e for e in facts if e.id in practised}
        learnt = self._vectors([e.point for e in fresh.values()], when)
        new = [e for e in fresh.values() if e.point in learnt]
        wanted = n_old(len(new), replay.rho)
        some: set[str] = set()
        if wanted and old and policy in BY_LIKENESS:
            some = self._spread(old.values(), wanted, seed)
            some |= self._near(new, learnt, [e.point for e in fresh.values()], wanted, seed, when, workspace)
        asked = [e for e in old.values() if e.point in some]
        seen = self._vectors([e.point for e in asked], when)
        hidden = {e.id for e in asked if e.point not in seen}
        return Pool(
            policy=policy,
            epoch=when.epoch,
            workspace=workspace,
            seed=seed,
            replay=replay,
            wanted=wanted,
            old=tuple(
                _candidate(e, seen.get(e.point), replay, (recent or {}).get(e.id, 0))
                for e in old.values()
                if e.id not in hidden
            ),
            new=NewExamples(
                examples=tuple(e.id for e in new),
                vectors=_stacked([learnt[e.point] for e in new]),
                at=when.at - when.at % DAY,  # a mix drawn later on the same day is the same
            ),
            facts={**fresh, **old},
            left_out=len(every) - len(stand),
            unsuited=len(stand) - len(facts),
            lacking=suited.otherwise if suited else "",
        )

    def with_vectors(self, pool: Pool, examples: Iterable[str]) -> Pool:
        """The pool with the vectors of these examples as well, and without those of them that are not visible."""
        lacking = {c.example for c in pool.old if c.vector is None} & set(examples)
        found = self._vectors([pool.facts[e].point for e in sorted(lacking)], self._now())
        kept = []
        for c in pool.old:
            if c.example not in lacking:
                kept.append(c)
            elif (vector := found.get(pool.facts[c.example].point)) is not None:
                kept.append(replace(c, vector=vector))
        return replace(pool, old=tuple(kept))

    def seen(self, points: Iterable[str]) -> set[str]:
        """Those of the points that are visible now."""
        return {str(record.id) for record in self._records(list(points), self._now(), vectors=False)}

    # --- the index -------------------------------------------------------------------------------

    def _near(
        self,
        new: Sequence[Any],
        vectors: Mapping[str, np.ndarray],
        fresh: Sequence[str],
        wanted: int,
        seed: int,
        when: When,
        workspace: str | None,
    ) -> set[str]:
        """Points of the nearest examples that are not new."""
        asked = sorted(new, key=lambda e: chance(seed, e.id))[:ASKED]
        if not asked:
            return set()
        rule = _rule(when, workspace)
        rule.must_not = [*_listed(rule.must_not), models.HasIdCondition(has_id=list(fresh))]
        limit = min(max(NEIGHBOURS, math.ceil(FEWEST * wanted / len(asked))), MOST * wanted)
        found: set[str] = set()
        at_once = max(1, min(_QUERIES, _MOST_NAMED // max(1, len(fresh))))
        for start in range(0, len(asked), at_once):
            requests = [
                models.QueryRequest(
                    query=vectors[e.point].tolist(),
                    using=DENSE,
                    filter=rule,
                    limit=limit,
                    params=models.SearchParams(exact=True),  # whether an HNSW was built must not change a mix
                )
                for e in asked[start : start + at_once]
            ]
            found.update(str(p.id) for answer in self._index.query(requests) for p in answer)
        return found

    def _vectors(self, points: Sequence[str], when: When) -> dict[str, np.ndarray]:
        """Vectors of those that are visible, float32 (dimension,)."""
        return {
            str(record.id): np.asarray(record.vector[DENSE], dtype=np.float32)  # type: ignore[index, call-overload]
            for record in self._records(points, when, vectors=True)
        }

    def _records(self, points: Sequence[str], when: When, *, vectors: bool) -> Iterator[models.Record]:
        rule = _rule(when, None)
        for start in range(0, len(points), _BATCH):
            some = models.HasIdCondition(has_id=list(points[start : start + _BATCH]))
            asked = models.Filter(must=[some, *_listed(rule.must)], must_not=rule.must_not)
            yield from self._index.scroll(asked, with_vectors=vectors)

    def _now(self) -> When:
        return When(epoch=self._epochs.committed(), at=now_ms())

    # --- SQL ---------------------------------------------------------------------------------------

    def _facts(self, workspace: str | None, kind: str, suited: Suited | None) -> list[Any]:
        """Approved examples of the training split with what this kind remembers, as light rows, in order of id.

        `new` and `old` say whether one is suited for that part.
        """
        memory = ExampleMemory
        columns = (
            Example.id, Example.point, Example.slice, Example.cluster, Example.pinned, Example.licence,
            Example.answer.is_not(None).label("answered"), memory.last_loss, memory.last_rehearsed,
            func.coalesce(memory.rehearsed, 0).label("rehearsed"),
            func.coalesce(memory.strength, 0.0).label("strength"),
            func.coalesce(memory.forgotten, 0).label("forgotten"),
            (suited.new if suited else true()).label("new"),
            (suited.old if suited else true()).label("old"),
        )  # fmt: skip
        theirs = and_(memory.example == Example.id, memory.kind == kind)
        wanted = select(*columns).outerjoin(memory, theirs).order_by(Example.id)
        wanted = wanted.where(Example.status == "approved", Example.split == "train")
        if workspace is not None:
            wanted = wanted.where(Example.workspace == workspace)
        with self._db.read() as session:
            return list(session.execute(wanted))

    @staticmethod
    def _spread(old: Iterable[Any], wanted: int, seed: int) -> set[str]:
        """Points of a draw from every stratum. As policies draw by the same chance, theirs is a part of it."""
        strata: dict[str, list[Any]] = {}
        for e in old:
            strata.setdefault(stratum(e), []).append(e)
        each = max(CENTRE, min(wanted, MOST * wanted // len(strata)))
        return {e.point for m in strata.values() for e in sorted(m, key=lambda e: chance(seed, e.id))[:each]}


def _rule(when: When, workspace: str | None) -> models.Filter:
    """Who may stand in a mix: visible examples of the training split. The only place that says so to the index."""
    rule = visible(when)
    must: list[Any] = [keyword("kind", "example"), keyword("split", "train"), *_listed(rule.must)]
    if workspace is not None:
        must.append(keyword("ws", workspace))
    return models.Filter(must=must, must_not=rule.must_not)


def stratum(e: Any) -> str:
    """As `Example.stratum`, of a light row."""
    return str(Example.stratum.fget(e))  # type: ignore[attr-defined]


def _candidate(e: Any, vector: np.ndarray | None, replay: Replay, recent: int) -> Candidate:
    counted_in = stratum(e)
    return Candidate(
        example=e.id,
        slice=counted_in,
        pinned=bool(e.pinned),
        vector=vector,
        times_rehearsed=e.rehearsed,
        last_loss=e.last_loss,
        last_rehearsed=e.last_rehearsed,
        strength=e.strength,
        forgotten=e.forgotten,
        cluster=e.cluster or None,
        recent=recent,
        storable=bool(e.answered) and not (e.licence or "").casefold().startswith(NO_STORAGE),
        weight=replay.of(counted_in, e.slice) / replay.rho if replay.rho else 1.0,
    )


def _stacked(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """float32 (len(vectors), dimension), of 0 columns where there are none."""
    return np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)


def _listed(conditions: Any) -> list[Any]:
    return list(conditions or []) if not isinstance(conditions, models.Filter) else [conditions]
