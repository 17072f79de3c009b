"""Topics of the examples of each workspace, from vectors in the index to a column of their rows.

A slice that a person named stays what an example is counted in; the others are counted in their topic
(`Example.stratum`). A topic's name is not written to the index: its words come from questions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import case, func, select, update

from kernel.audit import record
from kernel.database import Database, listed
from kernel.epochs import Epochs
from kernel.index.schema import DENSE
from kernel.ports import VectorIndex
from rehearsal.clusters import FEWEST, Asked, topics
from rehearsal.tables import UNNAMED, Example, Ground

_AT_ONCE = 512
_UNSORTED = 0.1


class Topics:
    """Finds and keeps the topics of a platform's examples."""

    def __init__(self, db: Database, index: VectorIndex, epochs: Epochs) -> None:
        self._db, self._index, self._epochs = db, index, epochs

    def due(self, since: int = 0) -> list[str]:
        """Workspaces where sorting would help: a tenth or more of what no slice holds has no topic yet.

        Where nothing came after `since` (UTC milliseconds), what stands was looked at then, and is left as it is.
        """
        unnamed = (Example.status == "approved", Example.slice == UNNAMED)
        counted = select(
            Example.workspace,
            func.count(),
            func.sum(case((Example.cluster == "", 1), else_=0)),
            func.max(Example.created),
        )
        with self._db.read() as session:
            rows = session.execute(counted.where(*unnamed).group_by(Example.workspace)).all()
        return sorted(
            where
            for where, total, unsorted, newest in rows
            if newest > since and total >= 2 * FEWEST and unsorted >= max(FEWEST / 2, _UNSORTED * total)
        )

    def find(self, workspace: str | None = None, seed: int = 0) -> dict[str, Any]:
        """Sort the approved examples of a workspace, or of each, into topics.

        Returns `{"examples", "moved", "clusters": [row of `listing`]}`; `moved` counts those whose topic changed.
        """
        with self._db.read() as session:
            wanted = select(Example).where(Example.status == "approved")
            if workspace is not None:
                wanted = wanted.where(Example.workspace == workspace)
            rows = {e.point: e for e in session.scalars(wanted)}
            ids = [e.id for e in rows.values()]
            slices = set(session.scalars(select(Example.slice).distinct()))
            elsewhere = dict(session.execute(select(Example.cluster, Example.workspace).distinct()).all())  # type: ignore[arg-type]
            grounds = session.execute(select(Ground.example, Ground.point).where(Ground.example.in_(listed(ids))))
            standing: dict[str, list[str]] = defaultdict(list)
            for one, point in grounds:
                standing[one].append(point)
        vectors = self._vectors({e.point: standing[e.id] for e in rows.values()})
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
        moved = {ident: cluster for ident, cluster in found.items() if before[ident] != cluster}
        with self._db.write() as session:
            into: dict[str, list[str]] = defaultdict(list)
            for ident, cluster in moved.items():
                into[cluster].append(ident)
            for cluster, theirs in into.items():
                mine = Example.id.in_(listed(theirs))
                stands = Example.status == "approved"  # a delete may have come meanwhile
                session.execute(update(Example).where(mine, stands).values(cluster=cluster))
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
        told = []
        for (where, name), ours in groups.items():
            used = [e for e in ours if e.status == "approved"]
            told.append(
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
        return sorted(told, key=lambda row: (-row["train"] - row["held_out"], row["workspace"], row["slice"]))

    def _vectors(self, grounds: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
        """What each question is about: its own vector and those of the passages it stands on, in equal parts.

        By itself it says how somebody asks as much as what about: questions made by one form would be one topic.
        """
        with self._epochs.one_index():
            wanted = sorted({*grounds, *(chunk for chunks in grounds.values() for chunk in chunks)})
            found: dict[str, np.ndarray] = {}
            for start in range(0, len(wanted), _AT_ONCE):
                for p in self._index.retrieve(wanted[start : start + _AT_ONCE], with_vectors=True):
                    found[str(p.id)] = np.asarray(p.vector[DENSE], dtype=np.float32)  # type: ignore[index, call-overload]
        about: dict[str, np.ndarray] = {}
        for point, chunks in grounds.items():
            here = [found[chunk] for chunk in chunks if chunk in found]
            if point in found:
                passages = np.mean(here, axis=0) if here else np.zeros_like(found[point])
                length = float(np.linalg.norm(passages)) or 1.0
                about[point] = found[point] + passages / length
        return about
