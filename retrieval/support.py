"""How well passages support a question: the probability that one of them answers it, at even odds beforehand.

The constants hold for the packaged embedder, all-MiniLM-L6-v2 without an adapter, as cosines of others are spread
differently; `benchmarks/calibrate_support.py` fits them again and prints how good they are on documents, and on whole
data sets, that were not fitted. They cannot tell a passage that answers from one that asks the same question in
other words, nor check whether a period covers a date.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from retrieval.evidence import FEATURES, PASSAGE_FEATURES, Evidence

if TYPE_CHECKING:
    import numpy as np

ANSWER_WEIGHTS = {"joint": 4.4, "apart": 5.1, "passage_cosine": 3.7, "numbers": 1.0}
"""Log odds that a passage answers, per column of `Evidence.passages`; `ANSWER_BIAS` is added."""
ANSWER_BIAS = -5.9

REFUSAL_THRESHOLD = 0.4
"""Below this support an answer is a refusal. It leans towards answering: a quotation can be judged by its reader."""


def answerable(evidence: Evidence) -> float:
    """The support of a question by the passage that supports it best, 0 to 1. Nothing read is 0."""
    return max((_answer_support(row) for row in evidence.passages), default=0.0)


def sentence_supports(evidence: Evidence) -> np.ndarray:
    """The same score as if each sentence were the best of its passage. Shape (candidates,)."""
    import numpy as np

    supports = []
    for candidate, own in zip(evidence.candidates, evidence.features, strict=True):
        row = evidence.passages[evidence.marks.index(candidate.mark)].copy()
        for name in ("joint", "apart"):
            row[PASSAGE_FEATURES.index(name)] = own[FEATURES.index(name)]
        supports.append(_answer_support(row))
    return np.array(supports)


def _answer_support(row: np.ndarray) -> float:
    named = zip(PASSAGE_FEATURES, row, strict=True)
    return _logistic(ANSWER_BIAS + sum(ANSWER_WEIGHTS[name] * float(value) for name, value in named))


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, odds))))
