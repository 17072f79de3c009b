"""What of a question its answer covers: the parts of the question, and which of them the passages support.

A question is taken apart only where its own words say so: two question marks, `and who …`, `compare A and B`. Most
questions have one part, and a part that is missing is named in the words in which it was asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retrieval import words

_ASKING = (
    r"who(?:m|se)?|what|which|when|where|why|how|does|do|did|is|are|was|were|can|could|may|"
    r"wer|wem|wen|wessen|was|welche[rsn]?|wann|wo|warum|wie|kann|darf|muss|ist|sind|hat|haben|"
    r"qui[eé]n(?:es)?|qu[eé]|cu[aá]l(?:es)?|cu[aá]ndo|d[oó]nde|por qu[eé]|c[oó]mo|cu[aá]nt[oa]s?"
)
_AND = re.compile(rf"(?:\s*[,;]\s*|\s+)(?:and|as well as|und|y|e)\s+(?:also\s+|auch\s+)?(?=(?:{_ASKING})\b)", re.I)
_COMPARE = re.compile(
    r"(?:\bcompar(?:e|ison (?:of|between))|\bdifferences? between|\bvergleiche?|\bunterschiede? zwischen|"
    r"\bcompara(?:r|ción (?:de|entre))?|\bdiferencias? entre)\s+"
    r"(?P<one>.+?)\s+(?:and|with|to|und|mit|y|con)\s+(?P<other>.+)",
    re.I,
)
_VERSUS = re.compile(r"(?P<one>.+?)\s+(?:vs\.?|versus)\s+(?P<other>.+)", re.I)
_PRONOUN = re.compile(r"\b(?:it|its|they|them|their|this|that|these|those|es|sie|ihn|ihm)\b", re.I)
_SUBJECT = re.compile(r".*\b(?P<subject>(?:the|a|an|our|my|der|die|das|el|la|los|las|un|una)\s+\S.*)$", re.I)
_BETWEEN = re.compile(r"\b(?:between|zwischen|entre)\b(?!.*\b(?:and|und|y)\b)", re.I)
_TAIL = re.compile(r"[\s?.!,;:]+$")

_MOST = 4
"""Parts of a question; where there seem to be more, it is a text rather than a question."""
_SHORT = 5
"""Words of each side of `A versus B`, where nothing else says that two things are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a question."""

    text: str
    """As it was asked, for people."""
    standalone: str
    """The same so that it can be understood alone: a pronoun becomes what the first part is about."""
    compared: bool = False
    """Whether it is one side of a comparison: then it asks for nothing itself, and only has to be spoken of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Parts of a question by whether the passages answer them, in the words in which they were asked."""

    covered: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def partial(self) -> bool:
        return bool(self.covered and self.missing)


def parts(question: str) -> tuple[Part, ...]:
    """The parts of a question in order; the question itself where it has one part only."""
    whole = (Part(text=_TAIL.sub("", question).strip(), standalone=question.strip()),)
    asked = [_TAIL.sub("", piece).strip() for piece in re.split(r"\?+\s+", question.strip())]
    asked = [_TAIL.sub("", piece).strip() for one in asked for piece in _AND.split(one)]
    asked = [piece for piece in asked if piece]
    if len(asked) == 1:
        return _compared(asked[0]) or whole
    if len(asked) > _MOST or any(not words.stems(piece) for piece in asked) or _BETWEEN.search(asked[0]):
        return whole
    named = _SUBJECT.match(asked[0])
    subject = named.group("subject") if named else ""
    return tuple(
        Part(text=piece, standalone=piece if n == 0 else _stand_alone(piece, subject)) for n, piece in enumerate(asked)
    )


def _compared(question: str) -> tuple[Part, ...]:
    match = _COMPARE.search(question) or _VERSUS.fullmatch(question)
    if match is None or (match.re is _VERSUS and max(len(side.split()) for side in match.groups()) > _SHORT):
        return ()
    sides = [_TAIL.sub("", match.group(name)).strip() for name in ("one", "other")]
    if any(not words.stems(side) for side in sides) or set(words.stems(sides[0])) == set(words.stems(sides[1])):
        return ()
    return tuple(Part(text=side, standalone=side, compared=True) for side in sides)


def _stand_alone(piece: str, subject: str) -> str:
    """`who approves it` beside `what is the fee` is `who approves the fee`."""
    if not subject or len(subject.split()) > 8:
        return piece
    return _PRONOUN.sub(subject, piece, count=1)


def own_words(part: Part, others: Sequence[Part]) -> set[str]:
    """Stems of the part that no other part has: what tells whether a text speaks of this part."""
    elsewhere = {stem for other in others if other is not part for stem in words.stems(other.text)}
    own = set(words.stems(part.text))
    return own - elsewhere or own
