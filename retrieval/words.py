"""Words of a text as matching sees them: tokens, light stems, content words, numbers and negations.

It knows no corpus and no model. The stemmer only takes inflection off (plural, -ed, -ing, -ly): a heavier one
(Porter) finds half a point more answers but joins words that differ in meaning, which a check of claims must not
do. Function words are listed for English, German and Spanish, except where one is a content word of another (war,
die, sin); in other languages every word counts, and the weights by rarity do what they can.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from functools import lru_cache

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’](?!s\b)[^\W\d_]+)*")
_CAMEL = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Ý])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")

_FUNCTION_WORDS = """
    a about after again all also am an and any are as at be because been before being between both but by can
    could did do does doing done during each either else every few for from further had has have having he her
    here hers him his how i if in into is it its itself just may me might more most much must my no nor not of
    off on once only or other our out over own please same shall she should so some such than that the their
    them then there these they this those through to too under until up upon us very was we were what whatever
    when where whether which while who whom whose why will with within without would you your yours s t ll re
    ve d m don doesn didn isn aren wasn many kind name called tell
    der das dem des ein eine einer eines einem einen und oder aber ist sind waren wird werden wurde wurden von
    vom zu zum zur mit bei im auf aus für nach über unter um als wie wer wo wann warum welche welcher welches
    er sie es ich wir ihr nicht auch sich dass hatte viele
    el la las un una unos unas y o pero fue fueron ser de del al en con por para sobre entre que qué quien
    quién quiénes cual cuál cuáles cuando cuándo donde dónde como cómo cuánto cuántos cuántas su sus se lo le
    les si más
"""

_NEGATIONS = """
    not no never none nobody nothing nowhere neither nor without cannot cant dont doesnt didnt isnt arent wasnt
    werent wont wouldnt shouldnt couldnt hasnt havent hadnt
    nicht kein keine keinen keinem keiner nie niemals ohne weder nunca ningún ninguna ninguno jamás
"""

_COUNTED = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty
"""
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBER_WORDS = {word: str(n) for n, word in enumerate(_COUNTED.split())} | {
    word: str(10 * n) for n, word in enumerate(_TENS, 3)
}


def tokens(text: str) -> list[str]:
    """Words and numbers in order; case, accents and thousands separators off; identifiers fall into parts.

    `maxRetries` and `max_retries` both give `max`, `retries`; `1,200` gives `1200`.
    """
    text = _THOUSANDS.sub("", text)
    return [
        _fold(part)
        for match in _TOKEN.finditer(text)
        for part in (_CAMEL.split(match.group()) if match.group().isidentifier() else (match.group(),))
    ]


def stems(text: str) -> list[str]:
    """Stems of the content words of `text`, in order, with repeats. Number words are written as digits."""
    return [stem(token) for token in tokens(text) if token not in _FUNCTION_STEMS]


@lru_cache(maxsize=50_000)
def stem(token: str) -> str:
    """The token without its inflection. Numbers stay; `one` to `ninety` become digits."""
    if token in _NUMBER_WORDS:
        return _NUMBER_WORDS[token]
    if len(token) < 4 or token[0].isdigit():
        return token
    word = token.split("'")[0].split("’")[0] or token
    if word.endswith(("ies", "ied")) and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and word != "news":
        word = word[:-1]
    for ending in ("ingly", "edly", "ing", "ed", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ply"):
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def numbers(text: str) -> set[str]:
    """The numbers named in `text`, in digits or words, as digits without thousands separators or `.0` tails.

    `one` is left out: it is a pronoun more often than a number.
    """
    return {
        _plain(_NUMBER_WORDS.get(token, token))
        for token in tokens(text)
        if token != "one" and (token[0].isdigit() or token in _NUMBER_WORDS)
    }


def negated(text: str) -> set[str]:
    """Stems of what `text` says is not so: the two content words after each negation, or `""` if none follows.

    Empty where nothing is negated. A word test: it sees neither scope nor irony.
    """
    words = [_fold(token) for token in _TOKEN.findall(text)]
    found: set[str] = set()
    for place, word in enumerate(words):
        if word in _NEGATION_WORDS or word.endswith("n't"):
            after = [stem(w) for w in words[place + 1 : place + 6] if w not in _FUNCTION_STEMS]
            found |= set(after[:2]) or {""}
    return found


def forget() -> None:
    """Drop the words that were read in this process: those of a deleted document may be among them."""
    stem.cache_clear()
    _fold.cache_clear()


def coverage(wanted: Iterable[str], found: AbstractSet[str], weight: dict[str, float]) -> float:
    """The share of the stems `wanted`, by `weight` (else 1), that stand in `found`. Of nothing it is 0."""
    total = hit = 0.0
    for word in set(wanted):
        w = weight.get(word, 1.0)
        total += w
        hit += w * (word in found)
    return hit / total if total else 0.0


@lru_cache(maxsize=50_000)
def _fold(word: str) -> str:
    folded = word.casefold()
    if folded.isascii():
        return folded
    bare = (c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    return "".join(bare).replace("’", "'")


_FUNCTION_STEMS = frozenset(map(_fold, _FUNCTION_WORDS.split()))
_NEGATION_WORDS = frozenset(map(_fold, _NEGATIONS.split()))


def _plain(number: str) -> str:
    return number.rstrip("0").rstrip(".") if re.fullmatch(r"\d+\.0+", number) else number
