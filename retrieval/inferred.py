"""The scope a question asks for in its own words: "in handbook.pdf", "laut der Reiserichtlinie", "Nike in FY2021".

Precision goes first: a scope that is wrong loses the answer, and no scope costs next to nothing. So a document is meant
only where the question says that it speaks of a document: by a file name, by a quoted title, by a name with a word such
as policy or 10-K after a word such as "according to", or by whom and which year a yearly document is about. That a
question has the words of a title is no such sign. What is less than sure is a suggestion.

Nothing here knows the world but a few kinds of documents (`retrieval.naming`); names come from the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from retrieval.catalogue import Card, Catalogue, spelled
from retrieval.mentions import Mention, cued, file_names, quotations
from retrieval.naming import FORMS, GENERIC, LOCATORS, PERIOD, SPECIFIC, STOP, Word, bare_kind, is_kind, words_of

FEW = 5
"""More documents than this are no scope, but for those of a tag."""
SURE = 0.7
"""Confidence from which a scope is used; below it is a suggestion."""
_SPANNING = re.compile(
    r"\b(?:from|between|von|zwischen)?\s*(?:FY|fiscal(?: year)?)?\s*((?:19|20)\d\d)\s*(?:-|–|to|through|until|bis)\s*"
    r"(?:FY|fiscal(?: year)?)?\s*((?:19|20)\d\d)\b",
    re.IGNORECASE,
)
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "ersten": 1, "zweiten": 2, "dritten": 3, "vierten": 4}
_GERMAN = {"der", "die", "das", "und", "ist", "wie", "was", "war", "im", "wird", "wurde", "laut", "welche", "wann"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """Documents a question is about, the phrase that says so, and why it is taken to."""

    documents: tuple[str, ...]
    """Ids."""
    names: tuple[str, ...]
    """Of the documents, in the same order."""
    phrase: str
    reason: str
    """file name | quoted title | named | period | tag"""
    confidence: float

    @property
    def sure(self) -> bool:
        return self.confidence >= SURE


def infer(question: str, catalogue: Catalogue) -> Inferred | None:
    """What `question` says of where its answer stands; None where it says nothing. It may be less than sure."""
    if len(catalogue) < 2:
        return None
    words = words_of(question)
    read = (
        *_by_file(question, catalogue),
        *_by_quotation(question, catalogue),
        *_by_name(question, catalogue),
        *_by_period(question, words, catalogue),
    )
    sure = [found for found in read if found.sure]
    if not sure:
        return next(iter(read), None)
    # A comparison leads up to one of its documents only, so all that are named anywhere come with it.
    named = {id for found in sure for id in found.documents} | _also(words, catalogue)
    if len(named) == len(catalogue):
        return None
    phrase = ", ".join(dict.fromkeys(found.phrase for found in sure))
    return _made(catalogue, named, phrase, sure[0].reason, max(found.confidence for found in sure))


def _by_file(question: str, catalogue: Catalogue) -> Iterator[Inferred]:
    """File names, with their suffix, as they are written."""
    folded = question.casefold()
    if len(folded) != len(question):  # folding changed the places
        folded = question.lower() if len(question.lower()) == len(question) else question
    for places in file_names(question):
        for start, end in places:
            there = catalogue.filed(folded[start:end].removeprefix("./"))
            if there:
                if len(there) <= FEW:
                    yield _made(catalogue, there, question[start:end], "file name", 1.0)
                break


def _by_quotation(question: str, catalogue: Catalogue) -> Iterator[Inferred]:
    """Titles and file names in quotation marks, whole; a single word may be quoted for any reason."""
    for quoted, _start, _end in quotations(question):
        title = spelled(quoted)
        there = catalogue.by_title.get(title, frozenset())
        if 0 < len(there) <= FEW and " " in title:
            yield _made(catalogue, there, quoted, "quoted title", 0.95)


def _by_name(question: str, catalogue: Catalogue) -> Iterator[Inferred]:
    """A name, or the only part of one that fits, where the question leads up to a document."""
    for mention in cued(question):
        phrase = question[mention.start : mention.end]
        found, confidence = _named(mention, catalogue)
        if 0 < len(found) <= FEW:
            yield _made(catalogue, found, phrase, "named", confidence)
        elif not found and mention.located and (tagged := _tagged(mention, catalogue)):
            yield _made(catalogue, tagged, phrase, "tag", 0.8)


def _named(mention: Mention, catalogue: Catalogue) -> tuple[list[str], float]:
    """Documents that a mention names, and how surely."""
    telling = frozenset(word for word in mention.words if not bare_kind(word))
    tail = frozenset(filter(None, map(catalogue.known, mention.tail)))
    for also in [tail, frozenset()] if tail else [frozenset()]:
        asked = frozenset(catalogue.known(word) or word for word in telling) | (mention.words - telling) | also
        specific = {word for word in asked if not bare_kind(word)}
        if not specific:
            if mention.tail and not tail:
                return [], 0.0  # "the annual report of …" somebody whom no name has
            exact = _of_years(catalogue, catalogue.having(asked), mention.years)
            # A kind alone is a name where one document is of it, or one of that year.
            told = mention.years and asked & SPECIFIC and asked & (GENERIC | FORMS.keys())
            return exact, 0.8 if len(exact) == 1 and asked and (mention.strong or told) else 0.4
        there = catalogue.having(asked)
        if not there and mention.words - telling:  # "the travel policy" for a page that is called Travel
            there = frozenset(n for n in catalogue.having(specific) if _covers(catalogue.cards[n], asked))
        there_now = _of_years(catalogue, there, mention.years)
        if not there_now:
            continue
        whole = [n for n in there_now if _covers(catalogue.cards[n], asked)]
        if whole:
            return whole, 0.9
        by_year = bool(mention.years) and len(there_now) == 1
        only = len(there_now) == 1
        return there_now, 0.75 if only and (mention.strong or by_year) else 0.4
    return [], 0.0


def _covers(card: Card, asked: frozenset[str]) -> bool:
    """Whether everything that one of the document's names says is asked for; what kind it is need not be said."""
    for name in card.names:
        telling = frozenset(word for word in name if not bare_kind(word))
        if telling and telling <= asked:
            return True
    return False


def _also(words: list[Word], catalogue: Catalogue) -> set[str]:
    """Documents whose whole name stands before a word that says it is one, wherever that is in the question."""
    found: set[str] = set()
    years = {word.year for word in words if word.year is not None}

    def meant(card: Card, kind: str, before: frozenset[str]) -> bool:
        of_kind = not card.kinds or kind in card.words or kind in LOCATORS
        return of_kind and (not card.years or bool(card.years & years)) and _covers(card, before)

    for at, word in enumerate(words):
        if not is_kind(word.key) and word.key not in LOCATORS:
            continue
        before: set[str] = set() if bare_kind(word.key) or word.key in LOCATORS else {word.key}
        for earlier in reversed(words[max(0, at - 4) : at]):
            if earlier.key in STOP:
                break
            before |= {catalogue.known(earlier.key) or earlier.key}
        some = frozenset().union(*(catalogue.by_word.get(key, frozenset()) for key in before))
        whole = {id for id in some if meant(catalogue.cards[id], word.key, frozenset(before))}
        found |= whole if len(whole) <= FEW else set()
    return found


def _tagged(mention: Mention, catalogue: Catalogue) -> list[str]:
    return sorted(catalogue.by_tag.get(next(iter(mention.words)), ())) if len(mention.words) == 1 else []


def _by_period(question: str, words: list[Word], catalogue: Catalogue) -> Iterator[Inferred]:
    """Whom a yearly document is about, and its year: `NIKE_2021_10K.pdf` by "Nike" and "FY2021"."""
    years = {word.year for word in words if word.year is not None} | _between(question)
    if not years:
        return
    known = _known(words, catalogue)
    covered: dict[frozenset[str], set[str]] = {}
    for number in frozenset().union(*(catalogue.by_subject.get(word, frozenset()) for word in known)):
        for rest in catalogue.cards[number].rests:
            if rest <= known.keys():
                covered.setdefault(rest, set()).add(number)
    # Of names within names the longest: "Acme Bank" is not Acme.
    subjects = [rest for rest in covered if not any(rest < other for other in covered)]
    found: set[str] = set()
    left_out = False
    for rest in subjects:
        of_year = {n for n in covered[rest] if catalogue.cards[n].years & years}
        found |= of_year
        left_out |= not of_year
    if not found:
        return
    narrowed = _of_kind(catalogue, found, words)
    said = [known[word] for rest in subjects for word in rest]
    fiscal = any(word.fiscal for word in words)
    # A plain year is less of a sign: then nothing else may be about them, as a page of news of that year would be.
    alone = all(catalogue.having(rest) <= covered[rest] for rest in subjects)
    proper = alone and _proper(question, words, said)
    sure = (fiscal or proper or narrowed != found) and not left_out and len(narrowed) <= FEW
    phrase = ", ".join(
        dict.fromkeys(question[w.start : w.end] for w in (*said, *_years_met(words, catalogue, narrowed)))
    )
    if len(narrowed) <= FEW:
        yield _made(catalogue, narrowed, phrase, "period", 0.85 if sure else 0.4)


def _known(words: list[Word], catalogue: Catalogue) -> dict[str, Word]:
    """The words of names that the question has, each where it has it first. Names of files are often written as one
    word, so two or three words that stand together are one, too: Best Buy is in `BESTBUY_2023_10K.pdf`."""
    found: dict[str, Word] = {}
    for at, word in enumerate(words):
        if word.year is not None:
            continue
        single = catalogue.known(word.key) if word.key not in STOP else None
        if single is not None:
            found.setdefault(single, word)
        joined = word.key
        for following in words[at + 1 : at + 3]:
            if following.year is not None:
                break
            joined += following.key
            if joined in catalogue.by_word:
                found.setdefault(joined, word._replace(key=joined, end=following.end))
    return found


def _of_kind(catalogue: Catalogue, found: set[str], words: list[Word]) -> set[str]:
    """Those of the kind and the quarter that the question speaks of, where it speaks of one that some are of."""
    asked: set[str] = set()
    for word, following in zip(words, [*words[1:], None], strict=True):
        document = following is not None and (following.key in GENERIC or following.key in LOCATORS)
        if word.key in FORMS or (word.key in SPECIFIC and document):  # "earnings" alone are money
            asked.add(word.key)
    of_kind = {n for n in found if asked & catalogue.cards[n].kinds}
    found = of_kind or found
    periods = {word.key for word in words if PERIOD.fullmatch(word.key)}
    for word, following in pairwise(words):
        if word.key in _ORDINALS and following.key in ("quarter", "quartal"):
            periods.add(f"q{_ORDINALS[word.key]}")
    return {n for n in found if periods & catalogue.cards[n].words} or found


def _proper(question: str, words: list[Word], said: Iterable[Word]) -> bool:
    """Whether the words are written as a name is: a capital where the sentence does not begin. German says nothing by
    capitals, and so does a question all in capitals."""
    if len({word.key for word in words} & _GERMAN) > 1 or question.isupper():
        return False
    return all(question[word.start].isupper() and not _begins(question, word.start) for word in said)


def _begins(question: str, start: int) -> bool:
    before = question[:start].rstrip(" \"'“„«(")
    return not before or before[-1] in ".?!:\n"


def _between(question: str) -> set[int]:
    """The years of "from 2016 to 2018"."""
    years: set[int] = set()
    for match in _SPANNING.finditer(question):
        first, last = int(match[1]), int(match[2])
        if first <= last <= first + 30:
            years |= set(range(first, last + 1))
    return years


def _years_met(words: list[Word], catalogue: Catalogue, found: set[str]) -> list[Word]:
    theirs = frozenset().union(*(catalogue.cards[n].years for n in found))
    return [word for word in words if word.year in theirs]


def _of_years(catalogue: Catalogue, found: Iterable[str], years: frozenset[int]) -> list[str]:
    """Those of the years that are asked for; one whose name has no year may be of any, if none has the year."""
    there = sorted(found)
    if not years:
        return there
    exact = [n for n in there if catalogue.cards[n].years & years]
    return exact or [n for n in there if not catalogue.cards[n].years]


def _made(catalogue: Catalogue, found: Iterable[str], phrase: str, reason: str, confidence: float) -> Inferred:
    entries = sorted((catalogue.cards[n].entry for n in set(found)), key=lambda entry: (entry.name, entry.id))
    return Inferred(
        documents=tuple(entry.id for entry in entries),
        names=tuple(entry.name for entry in entries),
        phrase=phrase,
        reason=reason,
        confidence=confidence,
    )
