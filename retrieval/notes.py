"""What a person should know about an answer beside its sentences: sources that disagree, and parts it does not cover.

It reads what was read for the answer. For a question of several parts, each part costs one query embedding if an
embedder is given; without one, words alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernel.ports import Embedder
from kernel.types import Passage, Sentence
from retrieval import words
from retrieval.conflict import Conflict, conflicts
from retrieval.evidence import Evidence, read, remembering
from retrieval.partial import Coverage, Part, own_words, parts
from retrieval.support import REFUSAL_THRESHOLD, answerable

SPOKEN_OF = 0.5
"""Share of a part's own words in one sentence, or two neighbours, from which the part counts as spoken of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What `notes` found. Both can be shown as they are."""

    conflicts: tuple[Conflict, ...]
    coverage: Coverage


def notes(
    question: str,
    passages: Sequence[Passage],
    evidence: Evidence,
    sentences: Sequence[Sentence],
    dates: Sequence[int | None] | None = None,
    embedder: Embedder | None = None,
) -> Notes:
    """The notes of an answer. `sentences` are those that are shown, with their quotes.

    `dates` are UTC milliseconds from which each passage's version counts, in the order of `passages`.
    """
    return Notes(
        conflicts=conflicts(question, passages, evidence, sentences, dates),
        coverage=coverage(question, passages, evidence, embedder),
    )


def coverage(
    question: str, passages: Sequence[Passage], evidence: Evidence, embedder: Embedder | None = None
) -> Coverage:
    """Which parts of the question the passages support. A question of one part covers itself."""
    found = parts(question)
    if len(found) == 1:
        return Coverage(covered=(found[0].text,), missing=())
    known = None if embedder is None else remembering(embedder, evidence)
    missing = []
    for part in found:
        spoken = _spoken_of(own_words(part, found), evidence)
        answered = (
            spoken
            if known is None or part.compared
            else answerable(read(part.standalone, passages, known)) >= REFUSAL_THRESHOLD
        )
        if not (spoken if part.compared else answered):
            missing.append(part)
    return _named(found, missing)


def _spoken_of(own: set[str], evidence: Evidence) -> bool:
    before, mark = frozenset[str](), 0
    for candidate in evidence.candidates:
        around = candidate.stems | (before if candidate.mark == mark else frozenset())
        if words.coverage(own, around, {}) >= SPOKEN_OF:
            return True
        before, mark = candidate.stems, candidate.mark
    return False


def _named(found: Sequence[Part], missing: Sequence[Part]) -> Coverage:
    return Coverage(
        covered=tuple(part.text for part in found if part not in missing),
        missing=tuple(part.text for part in missing),
    )
