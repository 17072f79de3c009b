"""Terms of a text, as BM25 counts them: words without inflection, identifiers whole and in parts, numbers.

    text                    terms
    Policies, policy        polici
    Kündigungen             the German stem, as of Kundigung: accents are folded
    maxRetries, max_retries maxretries, max, retri
    E-1042, e1042           e1042, e, 1042
    httpx.Client            httpx.client, httpx, client
    1,200 and 1200          1200
    東京都庁                東京, 京都, 都庁

A text's language is the one that has most of its function words, and decides which words carry nothing and how the
rest are stemmed (Snowball, as Qdrant Edge has it). A question of a few words may tell no language: then its words are
stemmed as each language would, and those of the others find nothing. This module knows no corpus and no weights.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import qdrant_edge

TERMS = "snowball-7:1"
"""What made the terms of an index. Another one, and stored sparse vectors must be made anew."""

LANGUAGES = ("english", "german", "spanish", "french", "italian", "portuguese", "dutch")
"""In order of preference where a text has as many function words of several."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_RUN = re.compile(r"\w+(?:[.\-’'/:]\w+)*")
_BETWEEN = re.compile(r"[\W_]+")
_CAMEL = re.compile(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Ý])|(?<=[A-Z])(?=[A-Z][a-z])")
_PIECE = re.compile(r"\d+|[^\W\d_]+")
_JOINTS = re.compile(r"[_\-’'/:]+")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af]+"
)
"""Scripts written without spaces, and Korean, whose words carry endings: pairs of characters stand for words."""


def of_document(text: str) -> Counter[int]:
    """How often each term stands in `text`, by the term's number."""
    counted = Counter(words(text))
    language = languages(counted)[0]
    found: Counter[int] = Counter()
    for word, count in counted.items():
        term = _term(word, language)
        if term is not None:
            found[term] += count
    return found


def of_query(text: str) -> list[int]:
    """The terms that `text` asks for, ascending; none where it has nothing but function words."""
    asked = set(words(text))
    plausible = languages(asked)
    told = [word for word in asked if plausible[0] not in _function_word_of(word)]
    found = {_stemmed(word, language) for word in told for language in plausible}
    return sorted(term for term in found if term is not None)


def words(text: str) -> list[str]:
    """Words in lower case, accents kept; an identifier gives its parts and itself."""
    text = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text))
    found: list[str] = []
    for match in _RUN.finditer(text):
        found += _words_of(match.group())
    return found


def languages(found: Iterable[str]) -> list[str]:
    """The languages that words may be of: those with most function words among them; all where there are none."""
    votes: Counter[str] = Counter()
    for word in found:
        votes.update(_function_word_of(word))
    most = max(votes.values(), default=0)
    return [language for language in LANGUAGES if votes[language] == most]


def forget() -> None:
    """Drop the words that were read in this process: those of a deleted document may be among them."""
    for kept in (_words_of, _function_word_of, _term, _stemmed):
        kept.cache_clear()


@lru_cache(maxsize=50_000)
def _words_of(run: str) -> tuple[str, ...]:
    parts = [part for between in _BETWEEN.split(run) for part in _CAMEL.split(between) if part]
    pieces = [piece for part in parts for piece in _PIECE.findall(part)]
    found: list[str] = []
    for piece in pieces:
        lower = piece.lower()
        if _UNSPACED.fullmatch(lower):
            found += [lower[i : i + 2] for i in range(max(1, len(lower) - 1))]
        else:
            found.append(lower)
    camel = len(parts) > 1 and not _BETWEEN.search(run)
    if len(pieces) > 1 and (camel or "_" in run or "." in run or any(c.isdigit() for c in run)):
        found.append(_JOINTS.sub("", run).lower())
    return tuple(found)


@lru_cache(maxsize=100_000)
def _function_word_of(word: str) -> tuple[str, ...]:
    """Languages in which a word carries nothing by itself."""
    return tuple(language for language in LANGUAGES if not _engine(language, folded=False).embed_query(word).indices)


@lru_cache(maxsize=200_000)
def _term(word: str, language: str) -> int | None:
    """The number of a word's stem; None for a function word."""
    return None if language in _function_word_of(word) else _stemmed(word, language)


@lru_cache(maxsize=200_000)
def _stemmed(word: str, language: str) -> int | None:
    found = _engine(language, folded=True).embed_query(word).indices
    return int(found[0]) if found else None


@cache
def _engine(language: str, *, folded: bool) -> qdrant_edge.Bm25:
    """Of Edge's BM25 only what it does to one word: its function words are known by their accents, stems are not."""
    import qdrant_edge

    config = qdrant_edge.Bm25Config(
        language=language, ascii_folding=folded, tokenizer=qdrant_edge.TokenizerType.Whitespace
    )
    return qdrant_edge.Bm25(config)
