"""The generator that needs no model of its own: it quotes the sentences that answer best, word for word.

It cannot invent: every sentence it drafts is a span of a version's text. It always drafts its best; whether that is
good enough is for whoever compares the drafted `support` with a threshold. On XQuAD (1,190 questions, 6 passages of
240) the answer stands in up to two quoted sentences for 91 % of the questions, and for 87 % after refusals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernel.errors import UserError
from kernel.ports import Embedder
from kernel.types import Draft, Passage, Sentence
from retrieval import support
from retrieval.evidence import FEATURES, Candidate, Evidence, read

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = {
    "apart": 5.2,
    "coverage": 3.9,
    "context_coverage": 1.3,
    "passage_coverage": 2.6,
    "rank": 0.4,
    "kind": 0.8,
    "numbers": 2.4,
}
"""Log odds that a sentence answers, per feature: a conditional logit fitted by `benchmarks/calibrate_support.py`."""

CLOSE = 2.0
"""A further sentence is quoted if its log odds are this close to the best one's. Asking besides that it adds words of
the question was measured and dropped: at equal length it finds fewer answers."""

_AFTER_QUESTION = 0.5
_SAME = 0.8


class ExtractiveGenerator:
    """Quotes up to `max_sentences` sentences. The embedder is the base one: no adapter's query side goes in here."""

    def __init__(self, embedder: Embedder, max_sentences: int = 3) -> None:
        if max_sentences < 1:
            raise UserError(
                f"max_sentences is {max_sentences!r}", hint="an answer quotes one sentence or more, 3 by default"
            )
        self._embedder, self._max = embedder, max_sentences

    @property
    def name(self) -> str:
        return "extractive"

    def draft(self, question: str, passages: Sequence[Passage]) -> Draft:
        evidence = read(question, passages, self._embedder)
        if not evidence.candidates:
            return Draft(sentences=(), generator=self.name)
        chosen = _choose(evidence, passages, self._max)
        supports = support.sentence_supports(evidence)
        best = support.answerable(evidence)
        sentences = []
        for position, i in enumerate(chosen):
            candidate = evidence.candidates[i]
            twins = _twins(candidate, evidence.candidates)
            sentences.append(
                (
                    candidate,
                    Sentence(
                        text=candidate.text,
                        marks=tuple(dict.fromkeys(t.mark for t in twins)),
                        quotes=tuple((t.mark, t.start, t.end) for t in twins),
                        support=best if position == 0 else min(best, float(supports[i])),
                    ),
                )
            )
        return Draft(
            sentences=tuple(sentence for _, sentence in _in_order(sentences)),
            generator=self.name,
            usage={"sentences_read": len(evidence.candidates)},
        )


def scores(evidence: Evidence) -> np.ndarray:
    """Log odds, up to a constant, that each candidate answers. Shape (candidates,).

    What follows a question, as in a list of questions and answers, is at least nearly as good as that question.
    """
    import numpy as np

    weights = np.array([WEIGHTS.get(name, 0.0) for name in FEATURES])
    scored = evidence.features @ weights
    for i, (candidate, following) in enumerate(zip(evidence.candidates, evidence.candidates[1:], strict=False)):
        if candidate.asks and _follows(candidate, following) and not following.asks:
            scored[i + 1] = max(scored[i + 1], scored[i] - _AFTER_QUESTION)
    return scored


def _choose(evidence: Evidence, passages: Sequence[Passage], limit: int) -> list[int]:
    """Indices of the candidates to quote, best first."""
    candidates, scored = evidence.candidates, scores(evidence)
    ranked = sorted(range(len(candidates)), key=lambda i: -scored[i])
    # A heading or a question names its subject better than any answer, and answers nothing.
    answers = [i for i in ranked if candidates[i].kind != "heading" and not candidates[i].asks] or ranked
    chosen: list[int] = []
    for i in answers:
        if len(chosen) >= limit or (chosen and scored[i] < scored[chosen[0]] - CLOSE):
            break
        if any(_repeats(candidates[i], candidates[j], passages) for j in chosen):
            continue
        chosen.append(_whole(i, candidates, passages))
        introduced = i + 1
        if (
            len(chosen) < limit
            and candidates[i].text.endswith((":", "...", "…"))
            and introduced < len(candidates)
            and _follows(candidates[i], candidates[introduced])
            and candidates[introduced].kind != "heading"
            and not any(_repeats(candidates[introduced], candidates[j], passages) for j in chosen)
        ):
            chosen.append(introduced)  # "Install it with:" is no answer without the line that follows
    return chosen


def _follows(candidate: Candidate, following: Candidate) -> bool:
    return following.mark == candidate.mark and following.place == candidate.place + 1


def _whole(i: int, candidates: Sequence[Candidate], passages: Sequence[Passage]) -> int:
    """The candidate that holds candidate `i` whole, where the edge of a chunk cut it off and another chunk has it."""
    holders = [
        j
        for j, other in enumerate(candidates)
        if j == i or (_same_version(candidates[i], other, passages) and _within(candidates[i], other))
    ]
    return max(holders, key=lambda j: (candidates[j].end - candidates[j].start, j == i))


def _repeats(a: Candidate, b: Candidate, passages: Sequence[Passage]) -> bool:
    if _same_version(a, b, passages) and a.start < b.end and b.start < a.end:
        return True
    return a.text == b.text or len(a.stems & b.stems) > _SAME * len(a.stems | b.stems)


def _same_version(a: Candidate, b: Candidate, passages: Sequence[Passage]) -> bool:
    one, other = passages[a.mark - 1], passages[b.mark - 1]
    return (one.document, one.version) == (other.document, other.version)


def _within(a: Candidate, b: Candidate) -> bool:
    return b.start <= a.start and a.end <= b.end


def _twins(candidate: Candidate, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidate first, then those of other passages with the same words."""
    return [candidate, *(c for c in candidates if c.mark != candidate.mark and c.text == candidate.text)]


def _in_order(sentences: list[tuple[Candidate, Sentence]]) -> list[tuple[Candidate, Sentence]]:
    """Passages in the order of their best sentence; the sentences of one passage as they stand in it."""
    order = {mark: n for n, mark in reversed(list(enumerate(c.mark for c, _ in sentences)))}
    return sorted(sentences, key=lambda pair: (order[pair[0].mark], pair[0].start))
