"""How much of a loss is chance: the noise floor of a comparison, measured and never assumed.

Two things make a figure move that are no loss: which questions happened to be held out, and, where evaluation itself
draws random numbers, its seed. The first is measured by drawing the questions again, the second by evaluating again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

_EXACT = 14
"""Differences up to which all 2^n sign patterns are looked at; above they are drawn."""


def chance_loss(diff: np.ndarray, tail: float, seed: int, resamples: int = 10_000) -> float:
    """The mean loss (0 or more) that questions without any true loss would show with a chance of `tail`.

    The differences are centred, so that the truth is no loss, and drawn again with replacement; the floor is the
    quantile of their means. The bootstrap is too narrow by sqrt((n - 1) / n), which is put right.

    Papers: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 16 (testing by centred resampling);
    Hesterberg, What teachers should know about the bootstrap, The American Statistician 69(4), 2015 (small samples).

    Args:
        diff: (n,) challenger minus champion, one per question, all finite.
        tail: a chance, 0 to .5.
        seed: of the resampling.
        resamples: how many times to draw.
    """
    n = len(diff)
    if n < 2:
        return 0.0
    centred = np.asarray(diff, dtype=np.float64) - float(np.mean(diff))
    if not centred.any():
        return 0.0
    rng = np.random.default_rng(seed)
    at_once = max(1, 2_000_000 // n)
    means = np.concatenate(
        [
            centred[rng.integers(0, n, (min(at_once, resamples - done), n))].mean(axis=1)
            for done in range(0, resamples, at_once)
        ]
    )
    return max(0.0, -float(np.quantile(means, tail)) * math.sqrt(n / (n - 1)))


def spread(repeats: Sequence[float]) -> float:
    """How far apart repeated evaluations of the same thing came out; 0 for fewer than two."""
    return max(repeats) - min(repeats) if len(repeats) > 1 else 0.0


def sign_test(diff: np.ndarray, seed: int, resamples: int = 10_000) -> float:
    """The chance of a mean at least as high if each difference had been as likely to have the other sign.

    Exact for few differences, and then right for any distribution that is symmetric under no effect, which a bootstrap
    of few is not.

    Paper: Fisher, The design of experiments, 1935, section 21 (randomisation test of paired differences); for comparing
    retrieval systems, Smucker, Allan and Carterette, CIKM 2007.
    """
    values = np.asarray(diff, dtype=np.float64)
    values = values[values != 0]
    if not len(values):
        return 1.0
    if len(values) <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), (resamples, len(values)))
        signs[0] = 1.0  # what was seen is one of the patterns, or the chance could come out as 0
    return float((signs @ values >= values.sum() - 1e-12).mean())


def poisson_tail(n: int, mean: float) -> float:
    """The chance of `n` or more where `mean` (above 0) are expected: for rare things that happen independently."""
    below = math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(n))
    return min(1.0, max(0.0, 1.0 - below))
