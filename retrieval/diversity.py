"""Maximal marginal relevance: of passages that say the same, the first is shown and the others stand back.

Paper: Carbonell and Goldstein, The use of MMR, diversity-based reranking, SIGIR 1998. Pure: it knows neither index nor
texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def diverse(scores: Sequence[float], vectors: np.ndarray, k: int, diversity: float) -> list[int]:
    """Which `k` candidates to show, in order, as indices.

    Each next one has the highest `(1 - diversity) * relevance - diversity * likeness` to what was chosen, relevance
    being its score between the lowest (0) and the highest (1), likeness the largest cosine.

    Args:
        scores: of the candidates; the higher the better.
        vectors: float of shape (n, d), rows of length 1.
        k: how many to choose; all if there are fewer.
        diversity: 0 keeps the order of the scores, 1 looks at likeness alone.
    """
    import numpy as np

    if not len(scores):
        return []
    given = np.asarray(scores, dtype=np.float64)
    span = given.max() - given.min()
    relevance = (given - given.min()) / span if span > 0 else np.ones(len(given))
    likeness = np.zeros(len(given))
    left = np.ones(len(given), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(k, len(given)):
        worth = np.where(left, (1 - diversity) * relevance - diversity * likeness, -np.inf)
        best = int(worth.argmax())
        chosen.append(best)
        left[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return chosen
