"""Topic clusters of the examples of each workspace, from their vectors in the index to a column of their rows.

A slice that a person named stays what an example is counted in; the others are counted in their topic
(`Example.stratum`). A topic's name is not written to the index: its words come from questions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
from qdrant_client import models
from sqlalchemy import select, update

from kernel.audit import record
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.ids import now_ms
from kernel.index.schema import DENSE, keyword, visible
from kernel.ports import VectorIndex
from kernel.types import When
from rehearsal.clusters import Asked, topics
from rehearsal.tables import UNNAMED, Example


class Topics:
    """Finds and keeps the topics of a platform's examples."""

    def __init__(self, db: Database, index: VectorIndex, epochs: Epochs) -> None:
        self._db, self._index, self._epochs = db, index, epochs

    def find(self, workspace: str | None = None, seed: int = 0) -> dict[str, Any]:
        """Sort the approved examples of a workspace, or of each, into topics.

        Returns `{"examples", "moved", "clusters": [row of `listing`]}`; `moved` counts those whose topic changed.
        """
        with self._db.read() as session:
            wanted = select(Example).where(Example.status == "approved")
            if workspace is not None:
                wanted = wanted.where(Example.workspace == workspace)
            rows = {e.point: e for e in session.scalars(wanted)}
            slices = set(session.scalars(select(Example.slice).distinct()))
            elsewhere = dict(session.execute(select(Example.cluster, Example.workspace).distinct()).all())  # type: ignore[arg-type]
        vectors = self._vectors(workspace)
        groups: dict[str, list[Asked]] = defaultdict(list)
        for point, example in rows.items():
            if point in vectors:
                asked = Asked(
                    example=example.id, question=example.question, vector=vectors[point], cluster=example.cluster
                )
                groups[example.workspace].append(asked)
        found: dict[str, str] = {}
        for name in sorted(groups):
            taken = slices | {cluster for cluster, where in elsewhere.items() if where != name} | set(found.values())
            found |= topics(groups[name], seed=seed, taken=taken | {UNNAMED, ""})
        before = {e.id: e.cluster for e in rows.values()}
        moved = {example: cluster for example, cluster in found.items() if before[example] != cluster}
        with self._db.write() as session:
            for example, cluster in moved.items():
                mine = (Example.id == example, Example.status == "approved")  # a delete may have come meanwhile
                session.execute(update(Example).where(*mine).values(cluster=cluster))
            if moved:
                record(session, "example-cluster", workspace or "all workspaces", moved=len(moved))
        return {"examples": len(found), "moved": len(moved), "clusters": self.listing(workspace)}

    def listing(self, workspace: str | None = None) -> list[dict[str, Any]]:
        """The slices examples are counted in, the largest first: how many of each split, and where they come from.

        Rows `{"workspace", "slice", "named", "train", "held_out", "quarantined", "origins": {…}, "clusters": {…}}`;
        `named` says whether a person named it.
        """
        with self._db.read() as session:
            wanted = select(Example).where(Example.status.in_(("approved", "quarantined")))
            if workspace is not None:
                wanted = wanted.where(Example.workspace == workspace)
            rows = list(session.scalars(wanted))
        groups: dict[tuple[str, str], list[Example]] = defaultdict(list)
        for example in rows:
            groups[example.workspace, example.stratum].append(example)
        listed = []
        for (where, name), ours in groups.items():
            used = [e for e in ours if e.status == "approved"]
            listed.append(
                {
                    "workspace": where,
                    "slice": name,
                    "named": any(e.slice == name and name != UNNAMED for e in ours),
                    "train": sum(e.split == "train" for e in used),
                    "held_out": sum(e.split == "held-out" for e in used),
                    "quarantined": len(ours) - len(used),
                    "origins": dict(sorted(Counter(e.origin for e in ours).items())),
                    "clusters": dict(sorted(Counter(e.cluster for e in ours if e.cluster).items())),
                }
            )
        return sorted(listed, key=lambda row: (-row["train"] - row["held_out"], row["workspace"], row["slice"]))

    def _vectors(self, workspace: str | None) -> dict[str, np.ndarray]:
        with self._epochs.one_index():
            rule = visible(When(epoch=self._epochs.committed(), at=now_ms()))
            must: list[Any] = [keyword("kind", "example"), *(rule.must or [])]  # type: ignore[misc]
            if workspace is not None:
                must.append(keyword("ws", workspace))
            points = self._index.scroll(models.Filter(must=must, must_not=rule.must_not), with_vectors=True)
            return {str(p.id): np.asarray(p.vector[DENSE], dtype=np.float32) for p in points}  # type: ignore[index, call-overload]
