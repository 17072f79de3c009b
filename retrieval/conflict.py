"""Where two sources answer the same question with values that cannot both be right.

Precision goes first: a conflict that is none makes people distrust a right answer. So two sentences are compared only
where they say the same but for one thing, a number, a date, a name or a negation, or where both give one number of the
same unit to a question that asks for one. What is worded too differently to be compared is not called a conflict.
It knows no index and embeds nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from kernel.types import Passage, Sentence
from retrieval import words
from retrieval.dates import Dated, newest
from retrieval.evidence import Candidate, Evidence, kind_asked
from retrieval.polarity import opposed

Subject = Literal["number", "date", "name", "negation"]

SAME = 0.7
"""Share of the content words, values left out, that two sentences must have in common to say the same."""
SHARED = 3
"""Content words that they have in common at the least."""
ALIKE = 0.6
"""Cosine from which differently worded sentences with one number of one unit each are taken to speak of one thing."""
ON_THE_QUESTION = 0.6
"""Share of the question's words that each of those must hold, by rarity."""

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:['’.-][^\W\d_]+)*")
_MONTHS_TEXT = """
    january february march april may june july august september october november december jan feb mar apr jun jul aug
    sep sept oct nov dec januar februar märz mai juni juli oktober dezember enero febrero marzo abril mayo junio julio
    agosto septiembre octubre noviembre diciembre
"""
_MONTHS = frozenset(_MONTHS_TEXT.split())
_MEASURE = re.compile(r"(?<![\w.,])(\d+(?:[.,]\d+)*|[^\W\d_]+)[\s-]?(%|[^\W\d_]+)")
_YEAR = re.compile(r"1[5-9]\d\d|20\d\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two sentences of different sources that disagree."""

    marks: tuple[int, int]
    """The passages, the one that the answer quotes first."""
    quotes: tuple[tuple[int, int, int], tuple[int, int, int]]
    """(mark, start, end) of both sentences, in the same order."""
    about: Subject
    values: tuple[str, str]
    """What they say, in their own words: `30 days` and `14 days`."""
    preferred: int | None
    """The mark of the newer source, where both are dated; otherwise it is for a person to decide."""
    reason: str
    """The same for people, in one sentence."""


def conflicts(
    question: str,
    passages: Sequence[Passage],
    evidence: Evidence,
    sentences: Sequence[Sentence],
    dates: Sequence[int | None] | None = None,
) -> tuple[Conflict, ...]:
    """What other passages say against the sentences of an answer. `dates` are UTC milliseconds, one per passage."""
    kind, named = kind_asked(question), _named(question)
    quoted = {quote for sentence in sentences for quote in sentence.quotes}
    said = [i for i, c in enumerate(evidence.candidates) if _is_quoted(c, quoted)]
    found: dict[tuple[str, str], Conflict] = {}
    compared = [_compared(candidate.text, kind) for candidate in evidence.candidates] if said else []
    for i in said:
        for j, other in enumerate(evidence.candidates):
            one = evidence.candidates[i]
            if other.asks or other.kind == "heading" or not _apart(one, other, passages):
                continue
            clash = _disagree(compared[i], compared[j], kind, named) if _may_say_the_same(one, other) else None
            clash = clash or _one_number_each(question, evidence, i, j, kind)
            if clash is None:
                continue
            about, values = clash
            key = (values[0], values[1])
            if key in found or (values[1], values[0]) in found:
                continue
            newer = newest(passages[one.mark - 1], passages[other.mark - 1], _date(dates, one), _date(dates, other))
            found[key] = Conflict(
                marks=(one.mark, other.mark),
                quotes=((one.mark, one.start, one.end), (other.mark, other.start, other.end)),
                about=about,
                values=values,
                preferred=None if newer is None else (one.mark, other.mark)[newer.which],
                reason=_reason(passages[one.mark - 1], passages[other.mark - 1], values, newer),
            )
    return tuple(found.values())


def superseded(question: str, one: Candidate, other: Candidate, passages: Sequence[Passage]) -> bool:
    """Whether `other` says the same with another value, and its source is the newer one."""
    if other.kind == "heading" or not _apart(one, other, passages) or not _may_say_the_same(one, other):
        return False
    if disagree(one.text, other.text, kind_asked(question), _named(question)) is None:
        return False
    a, b = passages[one.mark - 1], passages[other.mark - 1]
    newer = newest(a, b, a.since, b.since)
    return newer is not None and newer.which == 1


def _may_say_the_same(one: Candidate, other: Candidate) -> bool:
    """A look at words that are known already: hundreds of pairs are compared for an answer, and few say the same."""
    shared = len(one.stems & other.stems)
    return shared >= SHARED - 1 and 3 * shared >= min(len(one.stems), len(other.stems))


def disagree(
    one: str, other: str, kind: str = "", named: frozenset[str] = frozenset()
) -> tuple[Subject, tuple[str, str]] | None:
    """What two sentences that otherwise say the same disagree on, and the two values; None if they do not.

    `kind` is what the question asks for (`number`, `name` or nothing), `named` the stems of its own words: sentences
    that differ in what the question is about do not disagree.
    """
    return _disagree(_compared(one, kind), _compared(other, kind), kind, named)


def _disagree(
    first: _Compared, second: _Compared, kind: str, named: frozenset[str]
) -> tuple[Subject, tuple[str, str]] | None:
    if (first.keys & second.keys).total() < SHARED - 1:
        return None  # however they are aligned, too little is shared
    one, other, a, b = first.text, second.text, first.content, second.content
    same = SequenceMatcher(None, [w.key for w in a], [w.key for w in b], autojunk=False)
    shared, mine, theirs = 0, list[_Word](), list[_Word]()
    for how, a1, a2, b1, b2 in same.get_opcodes():
        if how == "equal":
            shared += sum(w.sort in ("plain", "name") for w in a[a1:a2])
        else:
            mine += a[a1:a2]
            theirs += b[b1:b2]
            if {w.sort for w in a[a1:a2]} != {w.sort for w in b[b1:b2]} and not _plain(a[a1:a2]) & _plain(b[b1:b2]):
                return None  # the values do not stand in one place
    kinds = {w.sort for w in (*mine, *theirs)} - {"plain"}
    plain = max(sum(w.sort == "plain" for w in words_) for words_ in (mine, theirs))
    fits = kind == "number" and kinds and kinds <= {"number", "date"}
    if shared < (SHARED - 1 if fits else SHARED) or shared < SAME * (shared + plain) or plain > 1:
        return None
    denied, turned = bool(words.negated(one)) != bool(words.negated(other)), bool(opposed(one, other))
    if denied or turned:
        # Both at once agree again, as "not allowed" and "forbidden" do.
        return ("negation", (one, other)) if denied != turned and not kinds else None
    if len(kinds) != 1:
        return None  # nothing differs, or what the values belong to does
    about: Subject = "name" if "name" in kinds else "date" if "date" in kinds else "number"
    values = _values(mine, about), _values(theirs, about)
    if not all(values):
        return None
    if about == "name":
        others = {w.key for w in (*mine, *theirs)} & named
        return None if kind != "name" or others else ("name", (" ".join(values[0]), " ".join(values[1])))
    if kind == "name":
        return None
    return about, (_with_unit(one, values[0]), _with_unit(other, values[1]))


class _Word(NamedTuple):
    key: str
    text: str
    sort: Literal["number", "name", "date", "plain"]


class _Compared(NamedTuple):
    """A sentence as it is compared; read once, as an answer's sentences are compared with all that were read."""

    text: str
    content: list[_Word]
    keys: Counter[str]
    """Of its content words, values left out but for names."""


def _compared(text: str, kind: str) -> _Compared:
    content = _content(text, kind)
    return _Compared(text, content, Counter(w.key for w in content if w.sort in ("plain", "name")))


def _content(text: str, kind: str) -> list[_Word]:
    """The content words in order; months and years are dates, whatever else has digits is a number."""
    found: list[_Word] = []
    matches = list(_TOKEN.finditer(text))
    for n, match in enumerate(matches):
        token = match.group()
        near = {m.group().casefold() for m in matches[max(0, n - 1) : n + 2]}
        sort: Literal["number", "name", "date", "plain"] = "plain"
        if token.casefold() in _MONTHS or _YEAR.fullmatch(token):
            sort = "date"
        elif words.numbers(token):
            sort = "date" if _MONTHS & near else "number"
        elif token[0].isupper() and (n > 0 or kind == "name"):
            sort = "name"
        # May is a word of grammar too, and its stem nothing.
        keys = [token.casefold()] if sort == "date" else words.stems(token)[:1]
        found += [_Word(key, token, sort) for key in keys]
    return found


def _plain(some: Sequence[_Word]) -> bool:
    return all(word.sort == "plain" for word in some)


def _values(some: Sequence[_Word], sort: str) -> list[str]:
    return list(dict.fromkeys(word.text for word in some if word.sort == sort))


def _one_number_each(
    question: str, evidence: Evidence, i: int, j: int, kind: str
) -> tuple[Subject, tuple[str, str]] | None:
    """The same for two sentences in different words, each with one number of one unit, that both fit the question."""
    one, other = evidence.candidates[i], evidence.candidates[j]
    if kind != "number" or float(evidence.vectors[i] @ evidence.vectors[j]) < ALIKE:
        return None
    if any(words.coverage(evidence.wanted, c.stems, evidence.wanted) < ON_THE_QUESTION for c in (one, other)):
        return None
    if bool(words.negated(one.text)) != bool(words.negated(other.text)):
        return None
    asked = words.numbers(question)
    mine, theirs = _measures(one.text, asked), _measures(other.text, asked)
    for unit in mine.keys() & theirs.keys():
        a, b = mine[unit], theirs[unit]
        if len(a) == len(b) == 1 and a != b:
            return "number", (f"{next(iter(a))} {unit}", f"{next(iter(b))} {unit}")
    return None


def _measures(text: str, without: AbstractSet[str]) -> dict[str, set[str]]:
    """Unit -> the numbers that stand before it: `30 days` is {day: {30}}."""
    found: dict[str, set[str]] = {}
    for match in _MEASURE.finditer(text):
        number, unit = words.numbers(match.group(1)), match.group(2)
        if number and not number & without and words.stems(unit):
            found.setdefault(words.stems(unit)[0], set()).update(number)
    return found


def _with_unit(text: str, values: Sequence[str]) -> str:
    """The values with the word that follows each, where one does: a number alone says little."""
    if len(values) > 1:
        return " ".join(values)
    after = re.search(rf"(?<!\w){re.escape(values[0])}(?:\s?%|[\s-]+([^\W\d_]+))?", text)
    return after.group() if after and (after.group(1) is None or words.stems(after.group(1))) else values[0]


def _apart(one: Candidate, other: Candidate, passages: Sequence[Passage]) -> bool:
    """Whether the two stand in different documents, or in different sections of one."""
    a, b = passages[one.mark - 1], passages[other.mark - 1]
    if one.mark == other.mark:
        return False
    return a.document != b.document or (a.heading != b.heading and bool(a.heading and b.heading))


def _is_quoted(candidate: Candidate, quoted: AbstractSet[tuple[int, int, int]]) -> bool:
    return any(
        mark == candidate.mark and start < candidate.end and candidate.start < end for mark, start, end in quoted
    )


def _named(question: str) -> frozenset[str]:
    return frozenset(words.stems(question))


def _date(dates: Sequence[int | None] | None, candidate: Candidate) -> int | None:
    return dates[candidate.mark - 1] if dates is not None else None


def _reason(one: Passage, other: Passage, values: tuple[str, str], newer: Dated | None) -> str:
    a, b = _where(one), _where(other)
    said = f"{a} says “{values[0]}”, {b} says “{values[1]}”"
    if newer is None:
        return f"The sources disagree: {said}."
    if one.name != other.name:
        a, b = one.name, other.name  # where in them was said already
    newest_name, older_name = (a, b) if newer.which == 0 else (b, a)
    new, old = newer.dates if newer.which == 0 else newer.dates[::-1]
    return f"The sources disagree: {said}. {newest_name} ({new}) is newer than {older_name} ({old})."


def _where(passage: Passage) -> str:
    return f"{passage.name} ({passage.heading})" if passage.heading else passage.name
