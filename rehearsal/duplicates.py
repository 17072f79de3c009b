"""Which of two examples is one too many: the same answer from the same span, asked in nearly the same words.

A paraphrase in other words is no duplicate, it is what a retriever learns from. So what counts as near is told by
words: content stems, numbers and negations. The cosine of question vectors is not asked at all. With the packaged
model, pairs that mean the same and pairs that do not overlap between about .5 and .8, so no threshold parts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from retrieval.words import negated, numbers, stems, tokens

NEAR = 0.8
"""Share of all content stems of two questions that both must have (Jaccard)."""

ORIGINS = ("correction", "import", "thumbs", "document", "replayed")
"""From the best: what a person said was right, what a person wrote, what a person liked, what a machine made."""

_ARTICLES = """a an the der die das ein eine el la los las un una"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """An example as this module sees it. `quotes` are (document, words); no words mean the whole document."""

    example: str
    question: str
    answer: str | None
    quotes: frozenset[tuple[str, str]]
    origin: str
    split: str
    stems: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stems", frozenset(stems(self.question)))


def better(a: str, b: str) -> bool:
    """Whether an example of origin `a` is kept rather than one of origin `b`."""
    return _rank(a) < _rank(b)


def key(stated: Stated) -> tuple[frozenset[str], str]:
    """Duplicates have equal keys: their documents and their normalised answer."""
    return frozenset(document for document, _ in stated.quotes), normalised(stated.answer)


def why(new: Stated, old: Stated) -> str | None:
    """Why two examples are duplicates; None where they are not. Says nothing of which one stays."""
    if not new.quotes or key(new) != key(old) or not _same_spans(new.quotes, old.quotes):
        return None
    if numbers(new.question) != numbers(old.question) or negated(new.question) != negated(old.question):
        return None
    shared, all_ = len(new.stems & old.stems), len(new.stems | old.stems)
    if not all_ or shared / all_ < NEAR:
        return None
    return f"same span, same answer, and {shared} of {all_} words of the question"


def normalised(answer: str | None) -> str:
    """An answer without case, punctuation and articles, as SQuAD compares answers; empty for none."""
    return " ".join(t for t in tokens(answer or "") if t not in _ARTICLE_WORDS)


Kept = Literal["new", "old"]


def kept(new: Stated, old: Stated) -> Kept:
    """Which of two duplicates stays: the one of the better origin, and of equals the one that was there."""
    return "new" if better(new.origin, old.origin) else "old"


def _same_spans(a: Iterable[tuple[str, str]], b: Iterable[tuple[str, str]]) -> bool:
    """Every quote of either has one in the other that it is equal to, holds, or stands in."""
    left, right = list(a), list(b)
    return all(any(_same(x, y) for y in right) for x in left) and all(any(_same(x, y) for x in left) for y in right)


def _same(a: tuple[str, str], b: tuple[str, str]) -> bool:
    if a[0] != b[0]:
        return False
    one, other = (re.sub(r"\s+", " ", text).strip() for text in (a[1], b[1]))
    return one == other if not one or not other else one in other or other in one


def _rank(origin: str) -> int:
    return ORIGINS.index(origin) if origin in ORIGINS else len(ORIGINS)


_ARTICLE_WORDS = frozenset(_ARTICLES.split())
