"""How documents are called: the words, years and kinds in a name, a title or a question.

Names of files and sentences about them are cut alike, so that `PEPSICO_2022_10K.pdf` and "the 2022 10-K of Pepsico" have
the same parts: at every sign, and between letters and digits, but for short codes such as 10-K, Q1 and v2. It knows
nothing of documents that there are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_RUN = re.compile(r"\d+|[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-zß-ÿ]{3})(?=[A-ZÀ-Þ][a-zß-ÿ]{2})")

STOP = frozenset(
    # English, German, French, Spanish, Italian, Dutch: what stands in names without naming.
    "a an the of for and or to in on at by with from per as is are was were be our your my their this that these those its "
    "der die das dem den des ein eine einer eines einem und oder von vom zu zum zur im am fur auf mit unser unsere unserer "
    "unserem euer dieser diese diesem dieses mein "
    "le la les un une du de des et ou au aux notre nos votre ce cette dans pour sur "
    "el los las una del y o en nuestro nuestra su sus este esta con por "
    "il lo gli i nel nella dell della dello di che nostro e "
    "het een van voor onze op".split()
)
NOISE = frozenset(
    # In names of files and of companies, but not in how people speak of them.
    "final draft copy new old version signed dated date scan scanned rev revised update updated latest edition page pages "
    "inc corp corporation company co ltd llc plc gmbh ag kg se sa srl bv nv group holding holdings "
    "pdf doc docx txt md html htm xlsx xls csv pptx readme index fy fiscal form no nr".split()
)
GENERIC = frozenset(
    # A word that says "this is a document", and not which.
    "report policy handbook manual guide guideline contract agreement regulation directive act statement filing minute "
    "specification spec plan memo memorandum protocol newsletter brochure catalogue whitepaper paper transcript release "
    "procedure charter terms note faq changelog checklist presentation letter prospectus summary "
    "bericht richtlinie handbuch leitfaden anleitung vertrag vereinbarung ordnung satzung protokoll verordnung "
    "rapport politique manuel contrat reglement directives accord guide "
    "informe politica manual contrato reglamento acuerdo guia rapporto contratto regolamento verslag beleid handleiding"
    .split()
)
SPECIFIC = frozenset(
    "10k 10q 8k 20f 6k annual quarterly monthly weekly earnings proxy budget invoice tax audit interim "
    "jahresbericht geschaftsbericht quartalsbericht rechnung".split()
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
LOCATORS = frozenset(
    "document file page article chapter pdf doc dokument datei seite artikel kapitel fichier chapitre documento archivo "
    "pagina capitulo bestand".split()
)
_COMPOUND = re.compile(
    r"(?:richtlinie|ordnung|handbuch|bericht|vertrag|protokoll|leitfaden|anleitung|satzung|vereinbarung|vorschrift)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a text: `text[start:end]`, in the form in which words are compared."""

    key: str
    start: int
    end: int
    year: int | None = None
    fiscal: bool = False
    """Said to be a business year: FY2022, fiscal 2022."""


def words_of(text: str) -> list[Word]:
    """The words of a text, in order. A year is a word with `year`; a lone letter is none."""
    runs = [(m.group(), m.start(), m.end()) for m in _RUN.finditer(text)]
    words: list[Word] = []
    fiscal, at = False, 0
    while at < len(runs):
        run, start, end = runs[at]
        following = runs[at + 1] if at + 1 < len(runs) else ("", len(text) + 9, 0)
        touching = following[1] == end
        hyphened = following[1] == end + 1 and text[end] in "-‑–"
        at += 1
        if run.isdecimal() and len(run) <= 2 and len(following[0]) == 1 and following[0].isalpha():
            if touching or hyphened:  # 10-K, 10K
                words.append(Word(key=f"{int(run)}{following[0].casefold()}", start=start, end=following[2]))
                at += 1
                continue
        if len(run) == 1 and run.isalpha() and touching and following[0].isdecimal() and len(following[0]) <= 2:
            words.append(Word(key=f"{run.casefold()}{int(following[0])}", start=start, end=following[2]))  # Q1, v2
            at += 1
            continue
        key = key_of(run)
        year = _year(run, fiscal)
        if year is not None or key in ("fy", "fiscal"):
            if year is not None:
                words.append(Word(key=str(year), start=start, end=end, year=year, fiscal=fiscal))
            fiscal = key in ("fy", "fiscal")
            continue
        fiscal = fiscal and key in ("year", "quarter")
        if len(key) > 1 or (run.isdecimal()):
            words.append(Word(key=key, start=start, end=end))
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


def parted(name: str) -> str:
    """A file name with the humps of `TravelPolicy` apart."""
    return _HUMP.sub(" ", name)


def _year(run: str, fiscal: bool) -> int | None:
    if not run.isdecimal():
        return None
    if len(run) == 4 and run[:2] in ("19", "20"):
        return int(run)
    return 2000 + int(run) if fiscal and len(run) == 2 else None
