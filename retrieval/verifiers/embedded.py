"""The verifier that needs no model of its own: words, numbers, names, negation and the embedder's cosine.

Support is calibrated on answers of ClapNQ, true and spoilt, for the packaged embedder; `benchmarks/calibrate_claims.py`
fits the constants again and judges them on sets that were left out. What it cannot do is follow an argument: that a
study contradicts a claim in other words is seen barely better than by chance. For that take a model (`verifiers/nli`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernel.ports import Embedder
from kernel.types import Judgement
from retrieval.claims import Comparison, Reading, compare, read

if TYPE_CHECKING:
    import numpy as np

SUPPORT_WEIGHTS = {"said": 4.4, "cosine": 2.7}
SUPPORT_BIAS = -4.2
"""Log odds that the evidence says the claim."""

SUNK = 0.3
"""What is left of the support of a claim with a number, a name or a negation that its evidence does not have."""

CONTRADICTION_WEIGHT = 2.8
CONTRADICTION_BIAS = -0.5
"""Log odds that the evidence denies the claim, per nearness (the mean of `said` and `cosine`) of a sentence that turns
it round or has another value in its place. Where no sentence does, there is no contradiction to be seen: 0."""

_NOTHING = Judgement(support=0.0, contradiction=0.0)


class EmbeddedVerifier:
    """The `Verifier` port. Holds nothing but the embedder."""

    name = "embedded"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def judge(self, claims: Sequence[str], evidence: Sequence[Sequence[str]]) -> list[Judgement]:
        """As the port has it. Claims and all their sentences are embedded in one call, each text once."""
        readings = [read(texts) for texts in evidence]
        wanted = [(c, r) for c, r in zip(claims, readings, strict=True) if c.strip() and r.sentences]
        texts = sorted({text for claim, reading in wanted for text in (claim, *reading.sentences)})
        vectors = dict(zip(texts, self._embedder.embed_documents(texts), strict=True)) if texts else {}
        return [_judged(claim, reading, vectors) for claim, reading in zip(claims, readings, strict=True)]


def _judged(claim: str, reading: Reading, vectors: dict[str, np.ndarray]) -> Judgement:
    if claim not in vectors or not reading.sentences:
        return _NOTHING
    cosines = [float(vectors[sentence] @ vectors[claim]) for sentence in reading.sentences]
    found = compare(claim, reading, cosines)
    return _NOTHING if found is None else judgement(found)


def judgement(found: Comparison) -> Judgement:
    """What a comparison amounts to."""
    odds = SUPPORT_BIAS + SUPPORT_WEIGHTS["said"] * found.said + SUPPORT_WEIGHTS["cosine"] * found.cosine
    sunk = found.number or found.turned or found.swapped
    denies = found.turned or found.other_number or found.swapped
    nearness = max(0.0, (found.said + found.cosine) / 2)
    return Judgement(
        support=_logistic(odds) * (SUNK if sunk else 1.0),
        contradiction=_logistic(CONTRADICTION_BIAS + CONTRADICTION_WEIGHT * nearness) if denies else 0.0,
    )


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, odds))))
