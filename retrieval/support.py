"""How well evidence supports: a question (does it answer?) and a claim (does it say so?).

Both scores are between 0 and 1, with a threshold beside them. The constants hold for the packaged embedder,
all-MiniLM-L6-v2 without an adapter, as cosines of other models are spread otherwise; `benchmarks/calibrate_support.py`
fits them again and prints how good they are on halves of the data that were not fitted. What they cannot do: tell a
passage that answers from one that asks the same question in other words, or check whether a period covers a date.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernel.ports import Embedder
from kernel.types import Passage
from retrieval import words
from retrieval.evidence import FEATURES, PASSAGE_FEATURES, Evidence, read
from retrieval.sentences import split

if TYPE_CHECKING:
    import numpy as np

ANSWER_WEIGHTS = {"joint": 4.4, "apart": 5.1, "passage_cosine": 3.7, "numbers": 1.0}
"""Log odds that a passage answers, per column of `Evidence.passages`; `ANSWER_BIAS` is added."""
ANSWER_BIAS = -5.9

REFUSAL_THRESHOLD = 0.4
"""Below this support an answer is a refusal. It leans towards answering: a quotation can be judged by its reader."""

CLAIM_WEIGHTS = {"said": 4.4, "cosine": 2.7}
CLAIM_BIAS = -4.2
CLAIM_WEIGHTS_WORDS_ONLY = {"said": 5.6}
CLAIM_BIAS_WORDS_ONLY = -3.1

CLAIM_THRESHOLD = 0.5
"""A generated sentence with less support from what it cites is not shown."""

_SUNK = 0.2
_NAME_WEIGHT = 2.0


def answerable(evidence: Evidence) -> float:
    """The support of a question by the passage that supports it best, 0 to 1. Nothing read is 0."""
    return max((_answer_support(row) for row in evidence.passages), default=0.0)


def question_support(question: str, passages: Sequence[Passage], embedder: Embedder) -> float:
    """As `answerable`, for passages that were not read yet. Lets a refusal happen before a model is asked."""
    return answerable(read(question, passages, embedder))


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


class ClaimChecker:
    """Checks generated sentences against the texts they cite. With an embedder, other words for the same count too."""

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder

    def support(self, claim: str, evidence: Sequence[str]) -> float:
        return claim_support(claim, evidence, self._embedder)

    def quote(self, claim: str, text: str) -> tuple[int, int]:
        """The span of the sentence of `text` that says most of the claim. Words only: no embedding."""
        spans = split(text) or [(0, len(text))]
        weight = _claim_weight(claim)
        numbers = words.numbers(claim)

        def said(span: tuple[int, int]) -> tuple[float, int]:
            sentence = text[span[0] : span[1]]
            return words.coverage(weight, set(words.stems(sentence)), weight), len(numbers & words.numbers(sentence))

        return max(spans, key=said)


def claim_support(claim: str, evidence: Sequence[str], embedder: Embedder | None = None) -> float:
    """How far the texts `evidence` say what `claim` says, 0 to 1.

    The share of the claim's content words, names twice, that one sentence or two neighbours hold, and with an embedder
    the cosine to the nearest sentence. A number that the sentences in question do not name, and a negation that stands
    on one side only, sink it whatever else agrees.
    """
    weight = _claim_weight(claim)
    texts = [[text[a:b] for a, b in split(text)] or [text] for text in evidence if text.strip()]
    sentences = [sentence for text in texts for sentence in text]
    if not weight or not sentences:
        return 0.0
    held = [set(words.stems(sentence)) for sentence in sentences]
    said = [words.coverage(weight, stems, weight) for stems in held]
    best = max(said)
    first = 0
    for text in texts:  # neighbours of one text only
        for i in range(first, first + len(text) - 1):
            best = max(best, words.coverage(weight, held[i] | held[i + 1], weight))
        first += len(text)
    if embedder is None:
        support = _logistic(CLAIM_BIAS_WORDS_ONLY + CLAIM_WEIGHTS_WORDS_ONLY["said"] * best)
    else:
        cosine = float((embedder.embed_documents(sentences) @ embedder.embed_documents([claim])[0]).max())
        support = _logistic(CLAIM_BIAS + CLAIM_WEIGHTS["said"] * best + CLAIM_WEIGHTS["cosine"] * cosine)
    sunk = _number_unsaid(claim, sentences, said) or _negation_differs(claim, sentences, said, weight)
    return min(support, _SUNK) if sunk else support


def _number_unsaid(claim: str, sentences: Sequence[str], said: Sequence[float]) -> bool:
    """Whether the claim has a number that no sentence near its matter names."""
    asked = words.numbers(claim)
    if not asked:
        return False
    near = [i for i, share in enumerate(said) if share >= 0.3 * max(said)]
    named = {n for i in near for j in (i - 1, i, i + 1) if 0 <= j < len(sentences) for n in words.numbers(sentences[j])}
    return not asked <= named


def _negation_differs(claim: str, sentences: Sequence[str], said: Sequence[float], weight: dict[str, float]) -> bool:
    """Whether the claim denies what its evidence does not deny, or asserts what its evidence denies."""
    denied = words.negated(claim)
    top = max(said)
    if denied and not any(words.negated(s) for s, share in zip(sentences, said, strict=True) if share >= 0.5 * top):
        return True
    closest = [words.negated(s) for s, share in zip(sentences, said, strict=True) if share >= 0.8 * top]
    return not denied and all(stems & weight.keys() for stems in closest)


def _claim_weight(claim: str) -> dict[str, float]:
    names = {words.stem(t) for name in _NAME.findall(claim) for t in words.tokens(name)}
    return {stem: _NAME_WEIGHT if stem in names else 1.0 for stem in words.stems(claim)}


_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-ZÀ-Þ][\w'’-]+")


def _answer_support(row: np.ndarray) -> float:
    named = zip(PASSAGE_FEATURES, row, strict=True)
    return _logistic(ANSWER_BIAS + sum(ANSWER_WEIGHTS[name] * float(value) for name, value in named))


def _logistic(odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, odds))))
