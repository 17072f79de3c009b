"""Why a passage stands where it stands: what each step of a search did to each candidate.

rank and score in each arm ─▶ fused ─▶ reranked ─▶ shown at a rank, or dropped, and why
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from retrieval.fusion import Fused, Standing

Dropped = Literal["rank", "diversity", "gone"]
"""Why a candidate is not shown: others rank higher, others like it are shown, or it was deleted meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One candidate's way through a search."""

    chunk: str
    dense: Standing | None
    words: Standing | None
    fused: float
    fused_rank: int
    rerank: float | None = None
    """As the reranker gave it; None where it did not look."""
    score: float
    """What the final order goes by."""
    rank: int | None = None
    """As shown, from 1."""
    dropped: Dropped | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "chunk": self.chunk,
            "dense": _arm(self.dense),
            "words": _arm(self.words),
            "fused": self.fused,
            "fused_rank": self.fused_rank,
            "rerank": self.rerank,
            "score": self.score,
            "rank": self.rank,
            "dropped": self.dropped,
        }


def traces(
    fused: Sequence[Fused],
    rerank: dict[str, float],
    shown: dict[str, int],
    score: dict[str, float],
    looked: int,
    *,
    diverse: bool,
) -> tuple[Trace, ...]:
    """The ways of all candidates, those that are shown first.

    The rows of the first `looked` were asked for; `score` is what the final order went by, of those that are there.
    """

    def why(rank: int, one: str) -> Dropped | None:
        if one in shown:
            return None
        if rank <= looked and one not in score:
            return "gone"
        # Without diversity what is left out has the lower score; with it, only what scores below all that is shown.
        lowest = min((score[other] for other in shown), default=0.0)
        return "diversity" if diverse and rank <= looked and score[one] > lowest else "rank"

    found = [
        Trace(
            chunk=candidate.id,
            dense=candidate.dense,
            words=candidate.words,
            fused=candidate.score,
            fused_rank=rank,
            rerank=rerank.get(candidate.id),
            score=score.get(candidate.id, candidate.score),
            rank=shown.get(candidate.id),
            dropped=why(rank, candidate.id),
        )
        for rank, candidate in enumerate(fused, 1)
    ]
    return tuple(sorted(found, key=lambda t: (t.rank is None, t.rank or 0, t.fused_rank)))


def _arm(standing: Standing | None) -> dict[str, Any] | None:
    if standing is None:
        return None
    return {"rank": standing.rank, "score": standing.score, "normal": standing.normal}
