"""The mix: new examples and recalled old ones, drawn from the index at one epoch, each row with its reason.

The candidates are what one index query returns: examples, visible at the epoch, in the training split. What was
superseded, deleted, quarantined or held out is not there to be drawn. The same seed and epoch give the same mix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from qdrant_client import models
from sqlalchemy import select

from kernel.database import Database
from kernel.epochs import Epochs
from kernel.errors import UserError
from kernel.ids import canonical, digest, now_ms
from kernel.index.schema import DENSE, keyword, visible
from kernel.ports import VectorIndex
from kernel.types import When
from rehearsal.ground import grounded_on
from rehearsal.policies import POLICIES, Candidate, NewExamples, n_old
from rehearsal.tables import Example, Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One example of a mix. `digest` covers its words: a manifest says what was trained on without holding it."""

    example: str
    part: str
    reason: str
    slice: str
    digest: str


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

    @property
    def new(self) -> int:
        return sum(row.part == "new" for row in self.rows)

    @property
    def recalled(self) -> int:
        return len(self.rows) - self.new

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "rows": [asdict(row) for row in self.rows],
            "new": self.new,
            "recalled": self.recalled,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Mix:
        fields = {name: value[name] for name in ("epoch", "workspace", "policy", "rho", "seed", "excluded")}
        return cls(**fields, rows=tuple(Row(**row) for row in value["rows"]))


class Mixer:
    """Draws mixes. Pure but for the index and the rows it reads."""

    def __init__(self, db: Database, index: VectorIndex, epochs: Epochs) -> None:
        self._db, self._index, self._epochs = db, index, epochs

    def draw(
        self,
        *,
        policy: str,
        rho: float,
        seed: int,
        workspace: str | None,
        practised: set[str],
        without: Collection[str] = (),
    ) -> Mix:
        """A mix at the committed epoch. `practised` are the examples of the champion's lineage; the others are new.

        Examples that one of the documents `without` grounds are in neither part.

        Raises:
            UserError: no such policy.
        """
        if policy not in POLICIES:
            raise UserError(f"no policy {policy!r}", hint=f"there are: {', '.join(sorted(POLICIES))}")
        epoch = self._epochs.committed()
        visible_now, vectors = self._visible(When(epoch=epoch, at=now_ms()), workspace)
        with self._db.read() as session:
            left_out = grounded_on(session, without)
        left_out = {e.id for e in visible_now if e.id in left_out}
        visible_now = [e for e in visible_now if e.id not in left_out]
        new = [e for e in visible_now if e.id not in practised]
        old = [e for e in visible_now if e.id in practised]
        candidates = [
            Candidate(
                example=e.id,
                slice=e.slice,
                pinned=bool(e.pinned),
                vector=np.asarray(vectors[e.id], dtype=np.float32),
                times_rehearsed=e.rehearsed,
                last_loss=e.last_loss,
                documents=(),
            )
            for e in old
        ]
        dimension = len(next(iter(vectors.values()))) if vectors else 0
        fresh = NewExamples(
            examples=tuple(e.id for e in new),
            vectors=np.array([vectors[e.id] for e in new], dtype=np.float32).reshape(len(new), dimension),
        )
        picks = POLICIES[policy](candidates, fresh, min(n_old(len(new), rho), len(old)), seed)
        by_id = {e.id: e for e in visible_now}
        digests = self._digests([e.id for e in new] + [p.example for p in picks])
        rows = [
            Row(
                example=e.id,
                part="new",
                reason="new: in no mix of what serves",
                slice=e.slice,
                digest=digests[e.id],
            )
            for e in new
        ]
        rows += [
            Row(
                example=p.example,
                part="recalled",
                reason=p.reason,
                slice=by_id[p.example].slice,
                digest=digests[p.example],
            )
            for p in picks
        ]
        return Mix(
            epoch=epoch,
            workspace=workspace,
            policy=policy,
            rho=rho,
            seed=seed,
            rows=tuple(rows),
            excluded=self._excluded(workspace) | ({"of documents left out": len(left_out)} if left_out else {}),
        )

    def gone(self, mix: Mix) -> list[str]:
        """Examples of a mix that are not to be trained on any more."""
        now, _ = self._visible(When(epoch=self._epochs.committed(), at=now_ms()), mix.workspace)
        return sorted({row.example for row in mix.rows} - {e.id for e in now})

    def _visible(self, when: When, workspace: str | None) -> tuple[list[Example], dict[str, list[float]]]:
        rule = visible(when)
        must: list[Any] = [keyword("kind", "example"), keyword("split", "train"), *(rule.must or [])]  # type: ignore[misc]
        if workspace is not None:
            must.append(keyword("ws", workspace))
        found = self._index.scroll(models.Filter(must=must, must_not=rule.must_not), with_vectors=True)
        by_point: dict[str, Any] = {str(p.id): p.vector[DENSE] for p in found}  # type: ignore[index, call-overload]
        with self._db.read() as session:
            rows = session.scalars(select(Example).where(Example.status == "approved").order_by(Example.id))
            examples = [e for e in rows if e.point in by_point]
        return examples, {e.id: by_point[e.point] for e in examples}

    def _digests(self, examples: list[str]) -> dict[str, str]:
        with self._db.read() as session:
            quotes: dict[str, list[str]] = {}
            for ground in session.scalars(select(Ground).where(Ground.example.in_(examples)).order_by(Ground.id)):
                quotes.setdefault(ground.example, []).append(ground.quote or ground.document)
            rows = session.scalars(select(Example).where(Example.id.in_(examples)))
            return {e.id: digest(canonical([e.question, e.answer, quotes.get(e.id, [])])) for e in rows}

    def _excluded(self, workspace: str | None) -> dict[str, int]:
        with self._db.read() as session:
            wanted = select(Example.status, Example.split, Example.reason)
            if workspace is not None:
                wanted = wanted.where(Example.workspace == workspace)
            counts: Counter[str] = Counter()
            for status, split, reason in session.execute(wanted):
                if status in ("quarantined", "retired"):
                    counts[f"{status}: {reason}"] += 1
                elif split == "held-out":
                    counts["held out"] += 1
        return dict(sorted(counts.items()))
