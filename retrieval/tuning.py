"""How a workspace's searches are fused: what was measured for it, and what serves until something was.

A tuning is one row in SQL, read at every question as the adapter's pointer is, so that a change reaches every process
at once. Who measures is `finetune.tune`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from kernel.database import Database
from kernel.tables import Fact
from retrieval.fusion import WEIGHT

_PREFIX = "tuning:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What serves a workspace."""

    weight: float = WEIGHT
    """Of BM25 in the fusion, 0 to 1."""
    rerank: bool = False
    """Whether the reranker `measured_with` looks at each search: only where it was measured to help."""
    measured: dict[str, Any] = field(default_factory=dict)
    """What it was chosen by; empty for the default. See docs/contract.md."""

    @property
    def measured_with(self) -> str | None:
        """Name of the reranker that `rerank` is about: of another one nothing was measured. None where none was."""
        return (self.measured.get("rerank") or {}).get("reranker")


DEFAULT = Tuning()


class Tunings:
    """Tunings by workspace. Safe from several threads."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def of(self, workspace: str | None) -> Tuning:
        """What serves; the default for a workspace that nothing was measured for, and for several at once."""
        if workspace is None:
            return DEFAULT
        with self._db.read() as session:
            fact = session.get(Fact, _PREFIX + workspace)
            return Tuning(**fact.value) if fact is not None else DEFAULT

    def set(self, session: Session, workspace: str, tuning: Tuning) -> None:
        """Serve `tuning` from the caller's commit on."""
        session.merge(Fact(key=_PREFIX + workspace, value=asdict(tuning)))
