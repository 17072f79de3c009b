"""What one answer is worth, as figures of 0 to 1, higher is better. Pure: sentences in, numbers out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from kernel.types import Passage
from retrieval import words
from retrieval.verify import Checked


def token_f1(written: str, wanted: str) -> float:
    """Overlap of words, as of SQuAD: the harmonic mean of precision and recall (Rajpurkar et al., EMNLP 2016)."""
    mine, theirs = Counter(words.stems(written)), Counter(words.stems(wanted))
    shared = sum((mine & theirs).values())
    return 2 * shared / (sum(mine.values()) + sum(theirs.values())) if shared else 0.0


def contains(written: str, wanted: str) -> float:
    """Share of the words of `wanted` that were written: high also where much else was."""
    mine, theirs = set(words.stems(written)), set(words.stems(wanted))
    return len(mine & theirs) / len(theirs) if theirs else 0.0


def probability(mean_logprob: float) -> float:
    """The geometric mean of the probabilities of an answer's tokens. NaN stays NaN, for the gate to see."""
    return math.exp(mean_logprob)


def shown(checked: Sequence[Checked]) -> str:
    """What a reader would be shown of an answer: the sentences that their sources support."""
    return " ".join(c.sentence.text for c in checked if c.supported)


def refused(checked: Sequence[Checked]) -> bool:
    """Whether nothing would be shown."""
    return not any(c.supported for c in checked)


def citations(checked: Sequence[Checked], gold: frozenset[str], passages: Sequence[Passage]) -> float:
    """Share of the sentences that cite what supports them, and a passage that is known to answer; a refusal has 0."""
    good = [c.supported and any(passages[m - 1].chunk in gold for m in c.sentence.marks) for c in checked]
    return sum(good) / len(good) if good else 0.0


def faithfulness(checked: Sequence[Checked]) -> float:
    """Mean support of the sentences that were written, shown or not; who writes nothing says nothing unsupported."""
    return sum(c.judgement.support for c in checked) / len(checked) if checked else 1.0
