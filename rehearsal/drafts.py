"""Questions about a section of a text, by rule: its headings, definitions, table rows, and lines of a name and a value.

    question    a heading that is a question       as it stands; the section's first sentence answers it
    heading     a heading that names something     "How do I go about …?", "What should I know about …?"
    definition  a sentence "X is a …", "X means …" "What is X?"
    field       a row of a table, a cell by its    "What is the COLUMN of ROW?"
                row and its column
    value       a line "NAME: value"               "What does NAME mean?", or what NAME its subject has

The quote is the very sentence, row or line: an exact span of the text. A rule says nothing rather than something that
no person would ask, so most sentences give no question. What this module proposes is checked elsewhere: kept is only
what retrieval finds its way back from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rehearsal.phrases import LANGUAGES, Phrases
from retrieval.sentences import Unit, units
from retrieval.words import stems

ORDER = ("written", "question", "definition", "value", "field", "heading")
"""Rules, the most natural questions first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What stands under one heading: `text` begins at `start` of the version's text."""

    text: str
    start: int
    heading: str = ""
    """The heading path, outermost first, joined by ` › `."""
    title: str = ""
    language: str = "und"
    small: frozenset[str] = frozenset()
    """Words that the whole text has in small letters: one that begins with a capital has it from its place alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A question with its answer and the span `[start, end)` of the version's text that gives it."""

    question: str
    answer: str
    """Empty where the span is the place of an answer and not the answer."""
    start: int
    end: int
    rule: str


def drafts(section: Section) -> list[Draft]:
    """The questions of a section in the order of the text, none twice of one place.

    What is asked of several places is there for each of them: which is meant the question does not say.
    """
    found: dict[str, list[Draft]] = {}
    pieces = units(section.text)
    for draft in (*_heading(section, pieces), *_definitions(section, pieces), *_lines(section, pieces),
                  *_rows(section, pieces)):  # fmt: skip
        same = found.setdefault(draft.question.casefold(), [])
        if _askable(draft.question) and all(d.end <= draft.start or draft.end <= d.start for d in same):
            same.append(draft)
    return sorted((draft for same in found.values() for draft in same), key=lambda d: (d.start, d.end))


# --- rules --------------------------------------------------------------------------------------


def _heading(section: Section, pieces: list[Unit]) -> Iterator[Draft]:
    """What a section answers by its heading: the heading itself where it asks, or else how, or what there is to know.

    Only a heading that asks is answered by the section's first words; of the others they are but the place.
    """
    path = [_NUMBERED.sub("", _clean(part)) for part in section.heading.split(" › ")]
    heading, prose = path[-1], [p for p in pieces if p.kind in ("prose", "item")][:2]
    if not heading or not prose or prose[0].kind != "prose":
        return
    first = prose[0]
    if first.end - first.start < _SHORT and len(prose) > 1 and prose[1].kind == "prose":
        first = Unit(first.start, prose[1].end, "prose")
    sentence = _clean(section.text[first.start : first.end])
    if not _substantial(sentence):
        return
    phrases = LANGUAGES.get(section.language)
    if heading.endswith("?"):
        opens = heading.split()[0].casefold()
        told = phrases is None or not phrases.asking or opens in phrases.asking
        if told and len(heading.split()) > 2 and sentence.split()[0].casefold() not in _POINTING:
            yield _draft(section, heading, sentence, first, "question")
    elif phrases is not None and len(path) > 1 and (asked := _asked(heading, phrases, section.small)):
        yield _draft(section, asked, "", first, "heading")


def _asked(heading: str, phrases: Phrases, small: frozenset[str]) -> str | None:
    """The question that a heading stands for."""
    words = heading.casefold().split()
    if not _namelike(heading) or not phrases.labels.isdisjoint(words) or not phrases.asking.isdisjoint(words[:1]):
        return None
    if re.search(r"\d\.\d|[=(){}]|\b(?:19|20)\d\d\b|^[^\w]", heading) or words[0] in phrases.vague:
        return None
    if phrases.clausal.isdisjoint(words):
        for told, form in ((phrases.deed, phrases.how), (phrases.order, phrases.do)):
            if told is not None and (match := told.match(heading)):
                deed = match["x"]
                nominal = phrases is not LANGUAGES["de"]  # a German deed begins with what it is done to
                return form.format(x=deed[0].lower() + deed[1:] if nominal else deed)
    subject = _subject(heading, phrases, small) if phrases.alternatives.isdisjoint(words) else None
    return phrases.know.format(x=subject) if subject is not None else None


def _definitions(section: Section, pieces: list[Unit]) -> Iterator[Draft]:
    phrases = LANGUAGES.get(section.language)
    if phrases is None:
        return
    for piece in pieces:
        if piece.kind not in ("prose", "item"):
            continue
        sentence = _clean(section.text[piece.start : piece.end])
        match = phrases.defines.match(sentence)
        if match is None or not _substantial(sentence) or sentence.endswith((":", "?")):
            continue
        subject = _subject(match["x"], phrases, section.small)
        if subject is None or not _defined(match["x"], match["rest"], phrases):
            continue
        verb = match["verb"].split()[0]
        if verb in phrases.many and match["x"].split()[0].casefold() in phrases.indefinite:
            continue
        form = (
            phrases.means if verb in phrases.meaning else phrases.are_many if verb in phrases.many else phrases.is_one
        )
        yield _draft(section, form.format(x=subject), sentence, piece, "definition")


def _defined(subject: str, rest: str | None, phrases: Phrases) -> bool:
    """Whether "X is the …" can say what X is. Of "the price", of one plain word or of "a reason" only "is a …" does:
    where the thing comes last, what comes first is said of it.
    """
    words = subject.split()
    first = words[0].casefold()
    definite = first in phrases.articles - phrases.indefinite
    plain = len(words) == 1 + definite and not any(c.isupper() or c.isdigit() for c in words[-1][1:])
    turned = first in phrases.indefinite or (first not in phrases.articles and phrases.inverts)
    if rest is None or rest.casefold() in phrases.indefinite:
        return True
    return not plain and not (turned and rest.casefold() in phrases.articles)


def _lines(section: Section, pieces: list[Unit]) -> Iterator[Draft]:
    """`NAME: value` on a line of its own, or in a list; several of them under one heading belong together."""
    phrases = LANGUAGES.get(section.language)
    if phrases is None:
        return
    lines = [(piece, _NAMED.match(_clean(section.text[piece.start : piece.end]))) for piece in pieces
             if piece.kind in ("prose", "item")]  # fmt: skip
    named = [(piece, match) for piece, match in lines if match is not None]
    if len(named) < _FEWEST_NAMED:
        return  # one colon is punctuation
    about = _topic(section)
    for piece, match in named:
        name, value = match["name"].strip(), match["value"].strip()
        subject = _subject(name, phrases, section.small)
        _, _, behind = section.text[piece.start : piece.end].partition(":")
        if subject is None or value[0] in "\"“„«'" or _ANOTHER.search(behind):
            continue
        if len(value.split()) >= _EXPLAINS:
            yield _draft(section, phrases.means.format(x=subject), value, piece, "value")
        elif about:
            yield _draft(section, phrases.field.format(y=subject, x=about), value, piece, "value")


def _rows(section: Section, pieces: list[Unit]) -> Iterator[Draft]:
    """Cells of tables that have a header, by the first cell of their row."""
    phrases = LANGUAGES.get(section.language)
    if phrases is None:
        return
    header: list[str] = []
    asked: dict[str, int] = {}  # rows of one key are asked for the same column, and so seen to be several
    last, row = 0, 0
    for piece in pieces:
        if piece.kind != "row":
            header = []
            continue
        cells = _cells(section.text[piece.start : piece.end])
        between = section.text[last : piece.start]
        last = piece.end
        if not header or between.count("\n") > 2:
            header, asked, row = cells, {}, 0
            continue
        if row == 0 and not _RULED.search(between):
            header = []  # a first row without a rule below it names no columns
            continue
        columns = [at for at in range(1, min(len(header), len(cells))) if _column(header[at], phrases)]
        if len(cells) == len(header) and columns and _namelike(cells[0]):
            # One question of a row: another would have the same span.
            at = asked.setdefault(cells[0].casefold(), columns[row % len(columns)])
            if cells[at].strip(" -–—.0"):
                column = _low(header[at], section.small)
                yield _draft(section, _cell(column, cells[0], phrases), cells[at], piece, "field")
        row += 1


# --- parts --------------------------------------------------------------------------------------

_FEWEST_NAMED = 3
"""Lines of a name and a value under one heading that make a list of such."""
_EXPLAINS = 4
"""Words of a value that explain its name, rather than being its value."""
_SHORT = 60
"""Characters of an answer that says little by itself, as "No." does."""
_POINTING = frozenset({"this", "these", "that", "those", "it", "dies", "diese", "dieser", "esto", "estos", "estas"})
_NAMED = re.compile(r"(?P<name>[^\W\d_][^:|]{1,48}?)\s?:\s+(?P<value>\S.*)", re.DOTALL)
_ANOTHER = re.compile(r"(?:\n\W{0,4}[^\W\d_]|\s\W{0,4}[A-ZÀ-ÖØ-Þ])[\w’'/-]*(?: [\w’'/-]+){0,2}[*_`]*\s?:[*_`]*\s")
"""A name behind the first one of a unit: lines that were joined, where no value can be told from the next name."""
_RULED = re.compile(r"-{2,}")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|\[([^\]]*)\]\[[^\]]*\]")
_MARKUP = re.compile(r"\*+|`+|(?<!\w)_+|_+(?!\w)|<[^>]{1,80}>|~~")
_BULLET = re.compile(r"[ \t]*(?:[-*+•‣◦▪–][ \t]+|\(?\d{1,3}[.)][ \t]+)(?=\S)")
_NUMBERED = re.compile(r"^(?:\d+(?:\.\d+)*\.?|[IVX]+\.|[A-Z]\.)\s+(?=[^\W\d])")
_UNASKABLE = re.compile(r"https?://|www\.|[\[\]{}|<>\\]|\.{3}|…")


def _cell(column: str, key: str, phrases: Phrases) -> str:
    if column.casefold() in phrases.explaining:
        return phrases.means.format(x=key)
    form = phrases.property if column.casefold() in phrases.properties else phrases.field
    return form.format(y=column, x=key)


def _draft(section: Section, question: str, answer: str, piece: Unit, rule: str) -> Draft:
    """The quote is the unit without the bullet before it."""
    bullet = _BULLET.match(section.text, piece.start, piece.end)
    start = bullet.end() if bullet else piece.start
    return Draft(
        question=question[0].upper() + question[1:],
        answer=answer,
        start=section.start + start,
        end=section.start + piece.end,
        rule=rule,
    )


def _clean(text: str) -> str:
    """Words as a person would write them: without bullets, markup and addresses of links."""
    text = _BULLET.sub("", text, count=1) if _BULLET.match(text) else text
    text = _LINK.sub(lambda m: m.group(1) or m.group(2) or "", text)
    return " ".join(_MARKUP.sub("", text).split())


def _subject(name: str, phrases: Phrases, small: frozenset[str]) -> str | None:
    """A name as it stands within a question; None where it is none."""
    words = name.split()
    heart = words[1:] if words and words[0].casefold() in phrases.articles else words
    if not heart or len(heart) > 5 or "in question" in name or re.search(r"[,;:(){}\[\]|\"“”«»'’]", name):
        return None
    folded = [word.casefold() for word in heart]
    if folded[0] in phrases.vague or folded[-1] in phrases.vague or not phrases.clausal.isdisjoint(folded):
        return None
    if not stems(" ".join(heart)) or {folded[0], folded[-1]} & phrases.labels or len(heart[-1]) < 2:
        return None
    if heart is not words:
        return " ".join([words[0].lower(), *heart])
    return _low(name, small)


def _low(name: str, small: frozenset[str]) -> str:
    """A name without the capital that only its place gave it."""
    first = name.split()[0]
    by_place = len(first) > 1 and first[0].isupper() and not any(c.isupper() for c in first[1:])
    known = first.lower() in small or f"{first.lower()}s" in small
    return name[0].lower() + name[1:] if by_place and known else name


def small_words(text: str) -> frozenset[str]:
    """Words that stand in small letters in a text."""
    return frozenset(word for word in re.findall(r"\w+", text) if word.islower())


def _topic(section: Section) -> str:
    """What a section is about: its heading, or the document's title."""
    return next((n for n in (_clean(section.heading.rsplit(" › ", 1)[-1]), _clean(section.title)) if _namelike(n)), "")


def _cells(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [_clean(cell.replace("\\|", "|").replace("<br>", " ")) for cell in re.split(r"(?<!\\)\|", inner)]


def _column(name: str, phrases: Phrases) -> bool:
    words = name.casefold().split()
    return _namelike(name) and len(words) <= 3 and phrases.vague.isdisjoint(words) and phrases.asking.isdisjoint(words)


def _namelike(text: str) -> bool:
    """Something that has a name: a few words with a letter in them, no sentence and no list."""
    words = text.split()
    short = 0 < len(words) <= 7 and len(text) <= 60
    return short and text[-1] not in ".!?:;" and ", " not in text and bool(re.search(r"[^\W\d_]{2}", text))


def _substantial(sentence: str) -> bool:
    words = len(sentence.split())
    return 5 <= words <= 60 and sentence[0].isupper() and sentence[-1] in '.!)”"»'


def _askable(question: str) -> bool:
    balanced = question.count("(") == question.count(")")
    return 10 <= len(question) <= 160 and balanced and not _UNASKABLE.search(question) and bool(stems(question))
