"""What a ranking is worth, and how sure one can be that one ranking is better than another.

Every figure is of one query; averaging, slicing and judging happen elsewhere (`gate`). A ranking comes as its
gains: the grade of what stands at each rank, best rank first, 1 and 0 where relevance is yes or no. What is
relevant at all is given beside it, because what was not found must count. A query without anything relevant
has no figure: the functions return NaN rather than 0, so that it can be neither a gain nor a loss by
accident.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kernel.errors import UserError


def ndcg_at_k(gains: Sequence[float], relevant: int | Sequence[float], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `k` ranks, 0 to 1; NaN with nothing relevant.

        DCG@k  = sum over ranks i = 1..k of gain_i / log2(i + 1)
        nDCG@k = DCG@k / DCG@k of the best possible order

    The gain is the grade itself, as in trec_eval and BEIR (not 2^grade - 1).

    Paper: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), 2002.

    Args:
        gains: grade at each rank; each relevant item at its first rank only.
        relevant: how many relevant items there are, or the grade of each of them.
        k: ranks that count.
    """
    grades = [1.0] * relevant if isinstance(relevant, int) else [g for g in relevant if g > 0]
    if not grades:
        return math.nan
    return _dcg(gains[:k]) / _dcg(sorted(grades, reverse=True)[:k])


def recall_at_k(gains: Sequence[float], relevant: int | Sequence[float], k: int = 10) -> float:
    """Share of the relevant items that stand in the first `k` ranks, 0 to 1; NaN with nothing relevant.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, section 8.3.
    """
    count = relevant if isinstance(relevant, int) else sum(g > 0 for g in relevant)
    return sum(g > 0 for g in gains[:k]) / count if count else math.nan


def mrr_at_k(gains: Sequence[float], relevant: int | Sequence[float], k: int = 10) -> float:
    """1 / rank of the first relevant item, 0 when none is in the first `k`; NaN with nothing relevant.

    Source: Voorhees, The TREC-8 question answering track report, TREC 1999.
    """
    count = relevant if isinstance(relevant, int) else sum(g > 0 for g in relevant)
    return next((1 / i for i, g in enumerate(gains[:k], 1) if g > 0), 0.0) if count else math.nan


def paired_bootstrap(
    diff: np.ndarray, seed: int, resamples: int = 10_000, confidence: float = 0.95
) -> tuple[float, float, float]:
    """(mean, low, high) of per-query differences, bounds by the percentile bootstrap over queries.

    The queries are drawn again with replacement `resamples` times; the bounds are percentiles of the means.
    Both systems saw the same queries, so the spread between queries cancels and only that of the difference
    is left. The same `diff` and `seed` give the same bounds.

    Papers: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; for comparing systems
    over a test collection, Sakai, Evaluating evaluation metrics based on the bootstrap, SIGIR 2006.

    Args:
        diff: float of shape (n,), challenger minus champion, one per query.
        seed: of the resampling.
        resamples: how many times to draw.
        confidence: between 0 and 1; .95 cuts 2.5 % off each end.

    Raises:
        UserError: there is nothing to resample, or a difference is not a finite number.
    """
    values = np.asarray(diff, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise UserError(
            f"the bootstrap was given differences of shape {values.shape}, "
            f"{int((~np.isfinite(values)).sum())} of them not finite",
            hint="it needs at least one, all finite: leave out queries without a figure, and say so",
        )
    rng = np.random.default_rng(seed)
    at_once = max(1, 2_000_000 // len(values))  # draws held in memory: about 16 MB
    means = [
        values[rng.integers(0, len(values), (min(at_once, resamples - done), len(values)))].mean(axis=1)
        for done in range(0, resamples, at_once)
    ]
    tail = (1 - confidence) / 2 * 100
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(values.mean()), float(low), float(high)


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum(max(gain, 0.0) / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
