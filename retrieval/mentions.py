"""Where a question speaks of a document: file names, quotations, and what stands after "according to" or "laut".

It reads the question alone. Which document is meant, if any, is for `retrieval.inferred` to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from retrieval.naming import LOCATORS, NOISE, STOP, Word, is_kind, words_of

_STRONG = (
    r"according to|as (?:stated|described|defined|specified|set out|explained|mentioned|outlined|listed|required) "
    r"(?:in|by)|"
    r"as per|pursuant to|laut|gemäß|gemäss|zufolge|nach ma[ßs]gabe|selon|d'après|conformément [àa]|"
    r"según|conforme a|de acuerdo con|secondo|volgens"
)
_WEAK = r"in|of|from|within|by|to|on|per|under|does|do|did|aus|von|nach|dans|de|en|uit"
_DETERMINED = (
    r"the|our|your|this|my|der|die|das|dem|den|des|unser\w{0,2}|dieser|diesem|le|la|les|notre|el|los|las|il|lo|het|de"
)
_CUE = re.compile(
    rf"\b(?:(?P<strong>{_STRONG})\b(?:\s+(?:{_DETERMINED})\b)?"
    rf"|(?P<weak>{_WEAK})\s+(?:(?:{_DETERMINED})\b|(?=[\w.&-]+['’]s\b))"
    rf"|(?:im|vom|zum|zur|beim|du|del|nel|nella)\b)",
    re.IGNORECASE,
)
_SAYS = re.compile(
    r"\s+(?:says?|states?|requires?|allows?|permits?|forbids?|prohibits?|mentions?|defines?|recommends?|covers?|specif(?:y|ies)|"
    r"explains?|describes?|provides?|sagt|steht|schreibt|regelt|dit|dice)\b",
    re.IGNORECASE,
)
_BOUND = re.compile(r"[,;:?!()\n]|\.(?:\s|$)")
_QUOTED = re.compile(
    r"“([^”]{2,200})”|„([^“”]{2,200})[“”]|«([^»]{2,200})»|\"([^\"]{2,200})\"|(?<!\w)'([^'\n]{4,200})'(?!\w)"
)
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,5}\b")
_RUN = re.compile(r"\w+")
_WINDOW, _TAIL = 9, 4
_JOINING = {"of", "for", "from", "by", "de", "du", "des", "von", "vom", "der", "di", "del"}
_SMALL = _JOINING | {"a", "an", "the", "our", "your", "this", "my", "and", "to", "in", "on", "und", "die", "das", "la"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A phrase that may name a document: `question[start:end]`, from its first word to its last."""

    words: frozenset[str]
    """Of the phrase up to the word that says it is a document, that word included unless it names no kind."""
    tail: frozenset[str]
    """Of what follows after "of", "for", "from": perhaps a part of the name, perhaps not."""
    years: frozenset[int]
    strong: bool
    located: bool
    """Said to be a document by a word such as file, page or document."""
    start: int
    end: int


def quotations(question: str) -> Iterator[tuple[str, int, int]]:
    """(words, start, end) of what stands in quotation marks."""
    for match in _QUOTED.finditer(question):
        group = next(n for n in range(1, 6) if match[n] is not None)
        yield match[group], match.start(group), match.end(group)


def file_names(question: str) -> Iterator[list[tuple[int, int]]]:
    """For each suffix such as `.pdf` the places where a file name that ends in it may be, longest first."""
    for match in _SUFFIX.finditer(question):
        begins = [w.start() for w in _RUN.finditer(question, max(0, match.start() - 200), match.start())]
        places = []
        for start in begins[-14:]:
            while start > 0 and question[start - 1] in "./_-":  # a folder, a hidden file
                start -= 1
            places.append((start, match.end()))
        if places:
            yield sorted(set(places))


def cued(question: str) -> Iterator[Mention]:
    """What stands after the words that lead up to a document, with a word in it that says it is one."""
    for match in _CUE.finditer(question):
        begin = match.end()
        bound = _BOUND.search(question, begin)
        window = words_of(question[begin : bound.start() if bound else len(question)])[:_WINDOW]
        found = _read(window, begin)
        if found is None:
            continue
        asked = (match["weak"] or "").casefold() in ("does", "do", "did")
        says = asked and _SAYS.match(question, found.end) is not None
        if asked and not says:
            continue  # "does the policy …" begins a question about anything
        yield replace(found, strong=says or match["strong"] is not None)


def _read(window: list[Word], offset: int) -> Mention | None:
    """The mention at the beginning of a window of words; None where no word says that it is a document."""
    begun = [w for w in window if w.key not in _SMALL or w is not window[0]]
    first = next((n for n, w in enumerate(begun) if is_kind(w.key) or w.key in LOCATORS), None)
    if first is None or first > 6:
        return None
    head = begun[: first + 1]
    if any(w.key in STOP and w.key not in _SMALL for w in head[:-1]):
        return None  # another clause came between
    last = first
    while last + 1 < len(begun) and (is_kind(begun[last + 1].key) or begun[last + 1].key in LOCATORS):
        last += 1
        head.append(begun[last])
    years = {w.year for w in head if w.year is not None}
    rest = begun[last + 1 :]
    if rest and rest[0].year is not None:
        years.add(rest[0].year)
        head, rest = [*head, rest[0]], rest[1:]
    tail: list[Word] = []
    if rest and rest[0].key in _JOINING:
        for word in rest[1 : 1 + _TAIL]:
            if word.key in STOP:
                continue
            if word.year is not None:
                years.add(word.year)
            tail.append(word)
    return Mention(
        words=frozenset(
            w.key for w in head if w.year is None and w.key not in STOP and w.key not in NOISE and w.key not in LOCATORS
        ),
        tail=frozenset(w.key for w in tail if w.year is None and w.key not in NOISE),
        years=frozenset(years),
        strong=False,
        located=any(w.key in LOCATORS for w in head),
        start=offset + head[0].start,
        end=offset + head[-1].end,
    )
