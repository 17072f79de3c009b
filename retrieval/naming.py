"""How documents are called: the words, years and kinds in a name, a title or a question.

Names of files and sentences about them are cut alike, so that `PEPSICO_2022_10K.pdf` and "the 2022 10-K of Pepsico"
have the same parts: at every sign, and between letters and digits, but for short codes such as 10-K, Q1 and v2. It
knows nothing of documents that there are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_WORD = re.compile(
    r"(?P<form>(?<!\d)\d{1,2}[-‑–]?[^\W\d_](?![^\W\d_]))|(?P<code>(?<![^\W\d_])[^\W\d_]\d{1,2}(?!\d))|\d+|[^\W\d_]+"
)
"""10-K and 8K; Q1 and v2; a number; a run of letters."""
_HUMP = re.compile(r"(?<=[a-zß-ÿ]{3})(?=[A-ZÀ-Þ][a-zß-ÿ]{2})")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# English, German, French, Spanish, Italian, Dutch: what stands in names without naming.
STOP = _set(
    """
    a an the of for and or to in on at by with from per as is are was were be our your my their this that these
    those its der die das dem den des ein eine einer eines einem und oder von vom zu zum zur im am fur auf mit unser
    unsere unserer unserem euer dieser diese diesem dieses mein le la les un une du de et ou au aux notre nos votre
    ce cette dans pour sur el los las una del y o en nuestro nuestra su sus este esta con por il lo gli i nel nella
    dell della dello di che nostro e het een van voor onze op
    """
)
# In names of files and of companies, but not in how people speak of them.
NOISE = _set(
    """
    final draft copy new old version signed dated date scan scanned rev revised update updated latest edition page
    pages inc corp corporation company co ltd llc plc gmbh ag kg se sa srl bv nv group holding holdings pdf doc docx
    txt md html htm xlsx xls csv pptx readme index fy fiscal form no nr
    """
)
# A word that says "this is a document", and not which.
GENERIC = _set(
    """
    report policy handbook manual guide guideline contract agreement regulation directive act statement filing
    minute specification spec plan memo memorandum protocol newsletter brochure catalogue whitepaper paper
    transcript release procedure charter terms note faq changelog checklist presentation letter prospectus summary
    bericht richtlinie handbuch leitfaden anleitung vertrag vereinbarung ordnung satzung protokoll verordnung
    rapport politique manuel contrat reglement directives accord informe politica contrato reglamento acuerdo guia
    rapporto contratto regolamento verslag beleid handleiding
    """
)
SPECIFIC = _set(
    """
    10k 10q 8k 20f 6k annual quarterly monthly weekly earnings proxy budget invoice tax audit interim jahresbericht
    geschaftsbericht quartalsbericht rechnung
    """
)
"""A kind that tells documents of one name apart."""
KINDS = GENERIC | SPECIFIC
FORMS = {
    "10k": frozenset({"annual", "report", "filing"}),
    "20f": frozenset({"annual", "report", "filing"}),
    "10q": frozenset({"quarterly", "report", "filing"}),
    "8k": frozenset({"current", "report", "filing"}),
    "geschaftsbericht": frozenset({"annual", "report", "jahresbericht", "bericht"}),
    "jahresbericht": frozenset({"annual", "report", "geschaftsbericht", "bericht"}),
}
"""What else a form is called; the letters are those of the SEC, whose filings go by them."""
LOCATORS = _set(
    """
    document file page article chapter pdf doc dokument datei seite artikel kapitel fichier chapitre documento
    archivo pagina capitulo bestand
    """
)
PERIOD = re.compile(r"[qh]\d")
"""A quarter or a half of a year."""
_COMPOUND = re.compile(
    r"(?:richtlinie|ordnung|handbuch|bericht|vertrag|protokoll|leitfaden|anleitung|satzung|vereinbarung|vorschrift)$"
)


class Word(NamedTuple):
    """A word of a text: `text[start:end]`, in the form in which words are compared.

    A tuple, because a frozen dataclass takes four times as long to make, and a catalogue has many.
    """

    key: str
    start: int
    end: int
    year: int | None = None
    fiscal: bool = False
    """Said to be a business year: FY2022, fiscal 2022."""


def words_of(text: str) -> list[Word]:
    """The words of a text, in order. A year is a word with `year`; a lone letter is none."""
    words: list[Word] = []
    fiscal = False
    for match in _WORD.finditer(text):
        run, start, end = match.group(), match.start(), match.end()
        if match.lastgroup == "form":
            words.append(Word(f"{int(run[:-1].rstrip('-‑–'))}{run[-1].casefold()}", start, end))
        elif match.lastgroup == "code":
            words.append(Word(f"{run[0].casefold()}{int(run[1:])}", start, end))
        elif run[0].isdecimal():
            year = _year(run, fiscal)
            words.append(Word(run if year is None else str(year), start, end, year, fiscal))
        elif len(run) > 1:
            key = key_of(run)
            fiscal = key in ("fy", "fiscal") or (fiscal and key in ("year", "quarter"))
            words.append(Word(key, start, end))
            continue
        fiscal = False
    return words


@lru_cache(maxsize=50_000)
def key_of(word: str) -> str:
    """A word as words are compared: no case, no accents, singular where that is easily told."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c)).replace("ß", "ss")
    if plain in KINDS or len(plain) < 4:
        return plain
    if plain.endswith("ies") and len(plain) > 5:
        return plain[:-3] + "y"
    if plain.endswith(("xes", "ches", "shes", "sses")):
        return plain[:-2]
    if plain.endswith("s") and not plain.endswith(("ss", "us", "is")):
        plain = plain[:-1]
    if plain.endswith("n") and _COMPOUND.search(plain[:-1]):
        plain = plain[:-1]
    return plain


def is_kind(key: str) -> bool:
    """Whether the word says that something is a document, such as policy, 10-K or Reiserichtlinie."""
    return key in KINDS or bool(_COMPOUND.search(key))


def bare_kind(key: str) -> bool:
    """A kind that names nothing beside: report, and not Reiserichtlinie."""
    return key in KINDS


def naming(words: Iterable[Word]) -> frozenset[str]:
    """The words that name something: no years, no little words, nothing that only file names have."""
    return frozenset(w.key for w in words if w.year is None and w.key not in STOP and w.key not in NOISE)


def undated(words: Iterable[Word]) -> list[Word]:
    """The words without the months and days beside a year: the 05 of `2023-05-05` names nothing."""
    kept: list[Word] = []
    dated = False
    for word in words:
        if dated and word.key.isdecimal() and len(word.key) <= 2:
            continue
        if word.year is not None:
            while kept and kept[-1].key.isdecimal() and len(kept[-1].key) <= 2 and kept[-1].end + 1 == word.start:
                kept.pop()
        dated = word.year is not None
        kept.append(word)
    return kept


def parted(name: str) -> str:
    """A file name with the humps of `TravelPolicy` apart."""
    return _HUMP.sub(" ", name)


def _year(run: str, fiscal: bool) -> int | None:
    if len(run) == 4 and run[:2] in ("19", "20"):
        return int(run)
    return 2000 + int(run) if fiscal and len(run) == 2 else None
