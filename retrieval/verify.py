"""Sentences checked against the passages they cite, a whole answer in one call or one sentence as it comes.

A quotation is its own proof and is left as it is; whatever else a generator wrote is judged by a `Verifier`. What to do
with a sentence that is not supported, to drop or to flag it, is for whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kernel.ports import Verifier
from kernel.types import Judgement, Passage, Sentence
from retrieval.claims import quote

CLAIM_THRESHOLD = 0.5
"""A generated sentence with less support from what it cites is not supported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A sentence with marks that resolve, its support, and a quote for each mark."""

    sentence: Sentence
    judgement: Judgement

    @property
    def supported(self) -> bool:
        return bool(self.sentence.marks) and self.judgement.support >= CLAIM_THRESHOLD


def check(sentences: Sequence[Sentence], passages: Sequence[Passage], verifier: Verifier) -> list[Checked]:
    """Each sentence checked, in order. Marks outside the passages are gone; a sentence without any has no support."""
    cleaned = [replace(s, marks=tuple(m for m in s.marks if 1 <= m <= len(passages))) for s in sentences]
    open_ = [n for n, s in enumerate(cleaned) if s.marks and not s.quotes and s.text.strip()]
    judged = (
        verifier.judge(
            [cleaned[n].text for n in open_], [[passages[m - 1].text for m in cleaned[n].marks] for n in open_]
        )
        if open_
        else []
    )
    by_place = dict(zip(open_, judged, strict=True))
    return [_checked(s, by_place.get(n), passages) for n, s in enumerate(cleaned)]


def _checked(sentence: Sentence, judged: Judgement | None, passages: Sequence[Passage]) -> Checked:
    if judged is None:
        proven = bool(sentence.quotes and sentence.marks and sentence.text.strip())
        return Checked(sentence=sentence, judgement=Judgement(support=1.0 if proven else 0.0, contradiction=0.0))
    quotes = tuple(_quote(sentence.text, mark, passages[mark - 1]) for mark in sentence.marks)
    return Checked(sentence=replace(sentence, quotes=quotes, support=judged.support), judgement=judged)


def _quote(claim: str, mark: int, passage: Passage) -> tuple[int, int, int]:
    start, end = quote(claim, passage.text)
    return mark, passage.start + start, passage.start + end
