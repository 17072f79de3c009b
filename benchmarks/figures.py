"""Figures of a yes-or-no judgement: how well a score ranks, how far it is a probability, what refusing by it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def wilson(hits: int, n: int) -> str:
    """`0.812 (130/160, .744-.865)`: a share with its 95 % interval. Wilson, JASA 22, 1927."""
    if not n:
        return "none"
    low, high = interval(hits, n)
    return f"{hits / n:.3f} ({hits}/{n}, {low:.3f}-{high:.3f})"


def interval(hits: int, n: int) -> tuple[float, float]:
    z, p = 1.96, hits / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def auc(scores: np.ndarray, y: np.ndarray) -> float:
    """Probability that a positive scores above a negative; ties count half. NaN without both."""
    if not y.any() or y.all():
        return math.nan
    from scipy.stats import rankdata

    n = int(y.sum())
    return float((rankdata(scores)[y].sum() - n * (n + 1) / 2) / (n * (len(y) - n)))


def balanced(scores: np.ndarray, y: np.ndarray, threshold: float) -> float:
    """Mean of the shares of positives at or above the threshold and of negatives below it."""
    return float(((scores >= threshold)[y].mean() + (scores < threshold)[~y].mean()) / 2)


def calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over equally wide bins. Guo et al., ICML 2017."""
    place = np.minimum((p * bins).astype(int), bins - 1)
    return float(
        sum(
            (inside := place == b).mean() * abs(p[inside].mean() - y[inside].mean())
            for b in range(bins)
            if (place == b).any()
        )
    )


def brier(p: np.ndarray, y: np.ndarray) -> float:
    return float(((p - y) ** 2).mean())


def risk_coverage(
    scores: np.ndarray, right: np.ndarray, shares: Sequence[float] = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
) -> list[tuple[float, float]]:
    """(coverage, risk): the share of wrong answers when only the best-supported `coverage` of questions is answered.

    El-Yaniv and Wiener, On the foundations of noise-free selective classification, JMLR 11, 2010.
    """
    order = np.argsort(-scores, kind="stable")
    wrong = np.cumsum(~right[order])
    counts = [max(1, round(share * len(order))) for share in shares]
    return [(share, float(wrong[n - 1] / n)) for share, n in zip(shares, counts, strict=True)]
