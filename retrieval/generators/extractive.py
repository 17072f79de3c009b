"""The generator that needs no model of its own: it quotes the sentences that answer best, word for word.

It cannot invent: every sentence it gives is a span of a version's text. It always gives its best; whether that is
good enough is for whoever compares their `support` with a threshold. On XQuAD (1,190 questions, 6 passages of
240) the answer stands in up to two quoted sentences for 91 % of the questions, and for 87 % after refusals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from kernel.errors import UserError
from kernel.ports import Embedder
from kernel.types import Ask, Exchange, Passage, Sentence, Sentences
from retrieval import support
from retrieval.conflict import superseded
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

CLOSE = 2.5
"""A further sentence is quoted if its log odds are this close to the best one's. Asking besides that it adds words of
the question was measured and dropped: at equal length it finds fewer answers."""

SENTENCES = {"short": 1, "long": 5}
"""Sentences at most by the length that is wished for; any other length leaves the generator's own limit."""

SENTENCES_BY_DEFAULT = 3

Why = Literal["quoted", "heading", "question", "older", "repeats", "weaker", "enough"]
"""What becomes of a sentence. It is quoted; or it names its subject and answers nothing (heading, question), a newer
source says otherwise, it repeats what is quoted, is too far behind the best one, or enough is quoted."""

_AFTER_QUESTION = 0.5
_SAME = 0.8
_BEGINS = re.compile(
    r"(?:However|Moreover|Furthermore|Additionally|In addition|Besides|Also|Therefore|Thus|Hence|Consequently|"
    r"As a result|Accordingly|Nevertheless|Nonetheless|Meanwhile|Similarly|Likewise|In turn),\s+(?=\w)"
)
"""Ties a sentence to one before that is not quoted. "For example" is not among them: it says how much is said."""
_ENDS = re.compile(r"(?:\s*\[\d{1,3}\])+$")
"""Footnote marks of the source."""


class ExtractiveGenerator:
    """Quotes up to `max_sentences` sentences. The embedder is the base one: no adapter's query side goes in here."""

    def __init__(self, embedder: Embedder, max_sentences: int = SENTENCES_BY_DEFAULT) -> None:
        if max_sentences < 1:
            raise UserError(
                f"max_sentences is {max_sentences!r}", hint="an answer quotes one sentence or more, 3 by default"
            )
        self._embedder, self._max = embedder, max_sentences

    @property
    def name(self) -> str:
        return "extractive"

    def stream(self, ask: Ask, passages: Sequence[Passage]) -> Sentences:
        evidence = read(ask.question, passages, self._embedder)
        if not evidence.candidates:
            return {"sentences_read": 0}
        limit = SENTENCES.get(ask.wishes.length or "", self._max)
        chosen = _newest(ask.question, _choose(evidence, passages, limit), evidence, passages)
        supports = support.sentence_supports(evidence)
        best = support.answerable(evidence)
        sentences = []
        for position, i in enumerate(chosen):
            candidate = evidence.candidates[i]
            twins = [_trimmed(t, passages, chosen, evidence) for t in _twins(candidate, evidence.candidates)]
            sentences.append(
                (
                    candidate,
                    Sentence(
                        text=twins[0].text,
                        marks=tuple(dict.fromkeys(t.mark for t in twins)),
                        quotes=tuple((t.mark, t.start, t.end) for t in twins),
                        support=best if position == 0 else min(best, float(supports[i])),
                    ),
                )
            )
        yield from (sentence for _, sentence in _in_order(sentences))
        return {"sentences_read": len(evidence.candidates)}

    def rewrite(self, question: str, history: Sequence[Exchange]) -> str | None:
        """None: it has no words of its own."""
        return None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A sentence that was read for an answer, and what became of it."""

    candidate: Candidate
    score: float
    """Log odds that it answers, up to a constant."""
    support: float
    """0 to 1, as if it were the best of its passage."""
    why: Why


def weighed(
    question: str, evidence: Evidence, passages: Sequence[Passage], limit: int = SENTENCES_BY_DEFAULT
) -> tuple[Weighed, ...]:
    """Every sentence that was read, best first: the quoted ones, and why the others were not."""
    if not evidence.candidates:
        return ()
    candidates, scored = evidence.candidates, scores(evidence)
    chosen = _newest(question, _choose(evidence, passages, limit), evidence, passages)
    supports = support.sentence_supports(evidence)

    def why(i: int) -> Why:
        if i in chosen:
            return "quoted"
        if candidates[i].kind == "heading":
            return "heading"
        if candidates[i].asks:
            return "question"
        if any(superseded(question, candidates[i], candidates[j], passages) for j in chosen):
            return "older"
        if any(_repeats(candidates[i], candidates[j], passages) for j in chosen):
            return "repeats"
        return "weaker" if scored[i] < scored[chosen[0]] - CLOSE else "enough"

    order = sorted(range(len(candidates)), key=lambda i: (i not in chosen, -scored[i]))
    return tuple(
        Weighed(candidate=candidates[i], score=float(scored[i]), support=float(supports[i]), why=why(i)) for i in order
    )


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


def _newest(question: str, chosen: Sequence[int], evidence: Evidence, passages: Sequence[Passage]) -> list[int]:
    """The choice with the newer source's sentence in place of one that says the same with another value.

    The older one is not hidden: the note on the conflict cites both.
    """
    current = []
    for i in chosen:
        for j, other in enumerate(evidence.candidates):
            if superseded(question, evidence.candidates[i], other, passages):
                i = j
        current.append(i)
    return list(dict.fromkeys(current))


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


def _trimmed(candidate: Candidate, passages: Sequence[Passage], chosen: Sequence[int], evidence: Evidence) -> Candidate:
    """The candidate without what is redundant at its ends; still exact words, in one piece."""
    if candidate.kind not in ("prose", "item"):
        return candidate
    passage = passages[candidate.mark - 1]
    raw = passage.text[candidate.start - passage.start : candidate.end - passage.start]
    begins, ends = _BEGINS.match(raw), _ENDS.search(raw)
    if begins and any(_follows(evidence.candidates[i], candidate) for i in chosen):
        begins = None
    start, end = begins.end() if begins else 0, ends.start() if ends else len(raw)
    if end - start < len(raw) / 2:
        return candidate
    text = " ".join(raw[start:end].split())
    return replace(candidate, start=candidate.start + start, end=candidate.start + end, text=text)


def _in_order(sentences: list[tuple[Candidate, Sentence]]) -> list[tuple[Candidate, Sentence]]:
    """Passages in the order of their best sentence; the sentences of one passage as they stand in it."""
    order = {mark: n for n, mark in reversed(list(enumerate(c.mark for c, _ in sentences)))}
    return sorted(sentences, key=lambda pair: (order[pair[0].mark], pair[0].start))
