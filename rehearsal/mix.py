"""The mix: new examples and recalled old ones, drawn from the index at one epoch, each row with its reason.

The candidates are examples, visible at the epoch, in the training split (`pool` sees to it). What was superseded,
deleted, quarantined or held out is not there to be drawn. The same seed and epoch give the same mix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import func, select

from kernel.database import Database, listed
from kernel.epochs import Epochs
from kernel.ids import canonical, digest
from kernel.ports import VectorIndex
from rehearsal.controller import Replay
from rehearsal.policies import MEASURED, POLICIES, Candidate, Pick
from rehearsal.policies.picks import Target, chance
from rehearsal.pool import Pool, Pools, stratum
from rehearsal.standing import Moved, Standing
from rehearsal.tables import Example, Ground

NEW = "new: in no mix of what serves"
STEPPED_ON = 320
"""New examples at most that a virtual step is taken on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One example of a mix. `digest` covers its words: a manifest says what was trained on without holding it."""

    example: str
    part: str
    reason: str
    slice: str
    digest: str
    rise: float | None = None
    """How much a virtual step on the new rows raised its loss, where that was measured."""
    target: Target = "stored"
    """What a recalled row is trained towards: what is stored, or what the champion says now."""
    left_out: str | None = None
    """Why training did without it; None where it did not, or is still to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """The loss of an old example before a virtual step on the new ones, and after it."""

    before: float
    after: float

    @property
    def by(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """What a virtual step did to the old examples of a slice that were measured."""

    slice: str
    n: int
    mean_rise: float
    rising: float
    """Share of them whose loss rose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A manifest: drawn at `epoch`, valid as of it, checked again when training starts."""

    epoch: int
    workspace: str | None
    policy: str
    rho: float
    seed: int
    rows: tuple[Row, ...]
    excluded: dict[str, int]
    short: int = 0
    """How many fewer old examples could be recalled than the replay ratio asked for."""
    replay: dict[str, Any] = field(default_factory=dict)
    """rho overall and of slices that differ, with the reasons."""
    interference: tuple[Interference, ...] = ()
    """By slice; empty where nothing was measured."""
    regrounded: tuple[Moved, ...] = ()
    """Old examples that stand on a newer version of their source since they were last rehearsed."""
    evicted: tuple[Moved, ...] = ()
    """Examples that went with a version of their source since the champion was trained."""
    dropped: tuple[str, ...] = ()
    """Rows that went away between drawing and training."""

    @property
    def practised(self) -> tuple[Row, ...]:
        """Rows that training did not leave out."""
        return tuple(row for row in self.rows if row.left_out is None)

    @property
    def new(self) -> int:
        return sum(row.part == "new" for row in self.practised)

    @property
    def recalled(self) -> int:
        return len(self.practised) - self.new

    def leaving_out(self, why: Mapping[str, str]) -> Mix:
        """The same rows, of which exactly these examples are left out, each for its reason."""
        return replace(self, rows=tuple(replace(row, left_out=why.get(row.example)) for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "rows": [asdict(row) for row in self.rows],
            "new": self.new,
            "recalled": self.recalled,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Mix:
        """The mix that `to_json` gave, of this release or an earlier one."""
        plain = ("epoch", "workspace", "policy", "rho", "seed", "excluded", "short", "replay")
        return cls(
            **{name: value[name] for name in plain if name in value},
            rows=tuple(Row(**row) for row in value["rows"]),
            interference=tuple(Interference(**one) for one in value.get("interference", ())),
            regrounded=tuple(Moved(**one) for one in value.get("regrounded", ())),
            evicted=tuple(Moved(**one) for one in value.get("evicted", ())),
            dropped=tuple(value.get("dropped", ())),
        )


class Mixer:
    """Draws mixes: gather a pool, measure it if the policy wants that, pick. Pure but for index and rows it reads."""

    def __init__(self, db: Database, index: VectorIndex, epochs: Epochs) -> None:
        self._db, self._epochs = db, epochs
        self.pools, self._standing = Pools(db, index, epochs), Standing(db)

    def draw(
        self,
        *,
        kind: str,
        policy: str,
        rho: float,
        seed: int,
        workspace: str | None,
        practised: Set[str],
        without: Sequence[str] = (),
    ) -> Mix:
        """A mix for an adapter of this kind at the committed epoch, by one replay ratio and without a measurement.

        Examples that one of the documents `without` grounds are in neither part.

        Raises:
            UserError: no such policy.
        """
        pool = self.pools.gather(
            policy, kind=kind, workspace=workspace, practised=practised, seed=seed, replay=Replay(rho=rho),
            without=without,
        )  # fmt: skip
        return self.pick(pool)

    def pick(self, pool: Pool, rises: Mapping[str, Rise] | None = None, *, since: int = 0, epoch: int = 0) -> Mix:
        """The mix of a pool. The champion was trained at `since` (UTC ms), on a mix of `epoch`.

        What was measured is told of every mix, and only the policies of `MEASURED` choose by it.
        """
        rises = rises or {}
        candidates = self._measured(pool, rises) if pool.policy in MEASURED else list(pool.old)
        picks = self._visible_picks(pool, candidates)
        digests = self._digests([*pool.new.examples, *(p.example for p in picks)])
        rows = [
            Row(example=e, part="new", reason=NEW, slice=stratum(pool.facts[e]), digest=digests[e])
            for e in pool.new.examples
        ]
        rows += [
            Row(
                example=p.example,
                part="recalled",
                reason=p.reason,
                slice=stratum(pool.facts[p.example]),
                digest=digests[p.example],
                rise=round(rises[p.example].by, 4) if p.example in rises else None,
                target=p.target,
            )
            for p in picks
        ]
        old = {c.example: c.last_rehearsed if c.last_rehearsed is not None else since for c in pool.old}
        return Mix(
            epoch=pool.epoch,
            workspace=pool.workspace,
            policy=pool.policy,
            rho=pool.replay.rho,
            seed=pool.seed,
            rows=tuple(rows),
            excluded=self._excluded(pool),
            short=max(0, pool.wanted - len(picks)),
            replay=pool.replay.to_json(),
            interference=_by_slice(pool, rises),
            regrounded=self._standing.regrounded(old),
            evicted=self._standing.evicted(pool.workspace, epoch),
        )

    @staticmethod
    def virtual(pool: Pool, examples: Sequence[str]) -> Mix:
        """What a virtual step is taken on: some new rows, by chance, and the old `examples` to look at."""
        new = sorted(pool.new.examples, key=lambda e: chance(pool.seed, e))[:STEPPED_ON]
        parts = [*((e, "new") for e in new), *((e, "recalled") for e in examples)]
        return Mix(
            epoch=pool.epoch,
            workspace=pool.workspace,
            policy=pool.policy,
            rho=pool.replay.rho,
            seed=pool.seed,
            rows=tuple(
                Row(example=e, part=part, reason="virtual step", slice=stratum(pool.facts[e]), digest="")
                for e, part in parts
            ),
            excluded={},
        )

    def gone(self, mix: Mix) -> list[str]:
        """Examples of a mix that are practised and not to be trained on any more."""
        ids = [row.example for row in mix.practised]
        with self._db.read() as session:
            approved = select(Example.id, Example.point).where(
                Example.id.in_(listed(ids)), Example.status == "approved"
            )
            points = {row.id: row.point for row in session.execute(approved)}
        seen = self.pools.seen(points.values())
        return sorted({e for e in ids if points.get(e) not in seen})

    def _measured(self, pool: Pool, rises: Mapping[str, Rise]) -> list[Candidate]:
        """The candidates with what was measured, and with the vectors by which the rising are spread."""
        return [
            replace(c, rise=rises[c.example].by, last_loss=rises[c.example].before) if c.example in rises else c
            for c in self.pools.with_vectors(pool, rises).old
        ]

    def _visible_picks(self, pool: Pool, candidates: list[Candidate]) -> list[Pick]:
        """Picks that the index shows. What it does not show is no candidate: then the draw is made anew."""
        while True:
            picks = POLICIES[pool.policy](candidates, pool.new, pool.wanted, pool.seed)
            points = {p.example: pool.facts[p.example].point for p in picks}
            seen = self.pools.seen(points.values())
            hidden = {example for example, point in points.items() if point not in seen}
            if not hidden:
                return picks
            candidates = [c for c in candidates if c.example not in hidden]

    def _digests(self, examples: Sequence[str]) -> dict[str, str]:
        with self._db.read() as session:
            quotes: dict[str, list[str]] = {}
            for ground in session.scalars(
                select(Ground).where(Ground.example.in_(listed(examples))).order_by(Ground.id)
            ):
                quotes.setdefault(ground.example, []).append(ground.quote or ground.document)
            rows = session.scalars(select(Example).where(Example.id.in_(listed(examples))))
            return {e.id: digest(canonical([e.question, e.answer, quotes.get(e.id, [])])) for e in rows}

    def _excluded(self, pool: Pool) -> dict[str, int]:
        with self._db.read() as session:
            group = (Example.status, Example.split, Example.reason)
            wanted = select(*group, func.count()).group_by(*group)
            if pool.workspace is not None:
                wanted = wanted.where(Example.workspace == pool.workspace)
            counts: Counter[str] = Counter()
            for status, split, reason, n in session.execute(wanted):
                if status in ("quarantined", "retired"):
                    counts[f"{status}: {reason}"] += n
                elif split == "held-out":
                    counts["held out"] += n
        told = dict(sorted(counts.items())) | {"of documents left out": pool.left_out, pool.lacking: pool.unsuited}
        return {why: n for why, n in told.items() if n}


def _by_slice(pool: Pool, rises: Mapping[str, Rise]) -> tuple[Interference, ...]:
    found: dict[str, list[float]] = {}
    for example in sorted(rises):
        found.setdefault(stratum(pool.facts[example]), []).append(rises[example].by)
    return tuple(
        Interference(
            slice=name,
            n=len(some),
            mean_rise=round(sum(some) / len(some), 4),
            rising=round(sum(rise > 0 for rise in some) / len(some), 4),
        )
        for name, some in sorted(found.items())
    )
