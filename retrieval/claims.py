"""What evidence says about a claim, as numbers. It decides nothing: weights and thresholds live in the verifier.

A claim is one sentence, its evidence one or more texts. The claim is compared with the sentences that come nearest to
it, as a passage says many things that are neither for nor against it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retrieval import words
from retrieval.conflict import disagree
from retrieval.polarity import opposed
from retrieval.sentences import split

NEAR = 0.3
"""Sentences with this share of what the nearest one says count as near."""

_NAME_WEIGHT = 2.0
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-ZÀ-Þ][\w'’-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The sentences of some evidence, in order."""

    sentences: tuple[str, ...]
    stems: tuple[frozenset[str], ...]
    opens: frozenset[int]
    """Sentences that begin a text: no neighbour of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A claim beside its evidence. All are 0 to 1, but the cosine, which is -1 to 1."""

    said: float
    """Share of the claim's content words, names twice, that one sentence or two neighbours hold."""
    cosine: float
    """To the nearest sentence; 0 where nothing was embedded."""
    number: bool
    """It has a number that no sentence near its matter names."""
    other_number: bool
    """And the nearest sentence has another number of that kind in its place."""
    swapped: bool
    """The nearest sentence says the same but for a number, a date or a name."""
    turned: bool
    """One side denies what the other says, by a negation or by an opposite, but not by both."""


def read(evidence: Sequence[str]) -> Reading:
    """The sentences of all texts. Whitespace is collapsed."""
    sentences, opens = list[str](), set[int]()
    for text in evidence:
        if text.strip():
            opens.add(len(sentences))
            sentences += [" ".join(text[a:b].split()) for a, b in split(text)] or [" ".join(text.split())]
    stems = tuple(frozenset(words.stems(sentence)) for sentence in sentences)
    return Reading(sentences=tuple(sentences), stems=stems, opens=frozenset(opens))


def compare(claim: str, reading: Reading, cosines: Sequence[float] | None = None) -> Comparison | None:
    """The comparison, or None where one side has no words. `cosines` of the claim and each sentence, in order."""
    weight = _weight(claim)
    if not weight or not reading.sentences:
        return None
    said = [words.coverage(weight, stems, weight) for stems in reading.stems]
    pairs = [
        words.coverage(weight, reading.stems[i - 1] | reading.stems[i], weight)
        for i in range(1, len(said))
        if i not in reading.opens
    ]
    likeness = said if cosines is None else [s + c for s, c in zip(said, cosines, strict=True)]
    nearest = reading.sentences[max(range(len(said)), key=likeness.__getitem__)]
    unsaid = _unsaid(claim, reading, said)
    denied = _denial_differs(claim, reading, said, weight)
    return Comparison(
        said=max([*said, *pairs]),
        cosine=0.0 if cosines is None else max(cosines),
        number=bool(unsaid),
        other_number=bool(_kinds(claim, unsaid) & _kinds(nearest, words.numbers(nearest) - words.numbers(claim))),
        swapped=any(disagree(claim, nearest, kind) for kind in ("number", "name")),
        turned=denied != opposed(claim, nearest),
    )


def quote(claim: str, text: str) -> tuple[int, int]:
    """The span of the sentence of `text` that says most of the claim. Words only: nothing is embedded."""
    spans = split(text) or [(0, len(text))]
    weight = _weight(claim)
    numbers = words.numbers(claim)

    def said(span: tuple[int, int]) -> tuple[float, int]:
        sentence = text[span[0] : span[1]]
        return words.coverage(weight, set(words.stems(sentence)), weight), len(numbers & words.numbers(sentence))

    return max(spans, key=said)


def _weight(claim: str) -> dict[str, float]:
    names = _names(claim)
    return {stem: _NAME_WEIGHT if stem in names else 1.0 for stem in words.stems(claim)}


def _names(text: str) -> set[str]:
    return {stem for name in _NAME.findall(text) for stem in words.stems(name)}


def _unsaid(claim: str, reading: Reading, said: Sequence[float]) -> set[str]:
    """The claim's numbers that no sentence near its matter, and none beside those, names."""
    near = [i for i, share in enumerate(said) if share >= NEAR * max(said)]
    beside = {j for i in near for j in (i - 1, i, i + 1) if 0 <= j < len(said)}
    return words.numbers(claim) - {n for j in beside for n in words.numbers(reading.sentences[j])}


def _denial_differs(claim: str, reading: Reading, said: Sequence[float], weight: dict[str, float]) -> bool:
    """Whether the claim denies what its evidence does not deny, or asserts what its evidence denies."""
    top = max(said)
    denials = [words.negated(sentence) for sentence in reading.sentences]
    if words.negated(claim):
        return not any(denial for denial, share in zip(denials, said, strict=True) if share >= 0.5 * top)
    return all(denial & weight.keys() for denial, share in zip(denials, said, strict=True) if share >= 0.8 * top)


def _kinds(text: str, numbers: set[str]) -> set[str]:
    """What the numbers count: the stems of the words that follow them, `%`, and `year` for what looks like one."""
    kinds = {"year" for number in numbers if re.fullmatch(r"1[5-9]\d\d|20\d\d", number)}
    for match in re.finditer(r"(?<![\w.,])(\d+(?:[.,]\d+)*|[^\W\d_]+)\s*(%|[^\W\d_]+)?", text):
        if words.numbers(match.group(1)) & numbers and match.group(2):
            kinds |= set(words.stems(match.group(2))) or ({"%"} if match.group(2) == "%" else set())
    return kinds
