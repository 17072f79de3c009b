"""The language a text is written in, told offline from the words themselves.

Naive Bayes over byte n-grams (Lui and Baldwin 2012), by py3langid: 139 languages, about a millisecond a text. Only
prose is looked at: code, tables and addresses say nothing about a language. Where that leaves too little, or the model
is not sure, the answer is `und`, as ISO 639-2 has it for undetermined. Why this library: docs/decisions/0018.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from ingest.place import PUBLISHED
from ingest.tables import Version
from kernel.database import Database
from kernel.errors import NotFound
from kernel.ports import Blobs

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

UNDETERMINED = "und"
SURE = 0.5
"""Share of the probability that the best language must have. On paragraphs it is nearly always above 0.95."""

_LOOKED_AT = 2_000
"""Characters that are classified."""
_FEWEST_LETTERS = 20
_SLICES, _SLICE = 8, 6_000
"""Of a longer text as many slices of so many characters, from all over it, are searched for prose."""
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_NO_WORDS = re.compile(r"https?://\S+|www\.\S+|\S+@\S+|`[^`\n]*`|<[^>\n]{1,200}>|\S*[_/\\{}=]\S*")
_FILLING = 100
_model_lock = Lock()


def language_of(text: str) -> str:
    """The ISO 639 code of the language most of the prose is in, such as `en`; `und` where that cannot be told."""
    prose = _prose(text)
    if sum(map(str.isalpha, prose)) < _FEWEST_LETTERS:
        return UNDETERMINED
    with _model_lock:
        model = _model()
    found, probability = model.classify(prose)
    return str(found) if probability >= SURE else UNDETERMINED


class Languages:
    """Tells the languages of versions that came in before languages were told. Safe from several threads."""

    def __init__(self, db: Database, blobs: Blobs) -> None:
        self._db, self._blobs = db, blobs

    def fill(self, most: int | None = None) -> int:
        """Tell the language of up to `most` versions that have none yet, of all without it; how many it were."""
        filled = 0
        while most is None or filled < most:
            batch = _FILLING if most is None else min(_FILLING, most - filled)
            with self._db.read() as session:
                unknown = select(Version.document, Version.number, Version.text_key)
                rows = session.execute(
                    unknown.where(Version.language.is_(None), Version.state.in_(PUBLISHED)).limit(batch)
                ).all()
            told = []
            for document, number, key in rows:
                language = UNDETERMINED
                with suppress(NotFound):  # deleted since; its row goes as well
                    language = language_of(self._blobs.get(key).decode())
                told.append((document, number, language))
            if told:
                with self._db.write() as session:
                    for document, number, language in told:
                        of = (Version.document == document, Version.number == number)
                        session.execute(update(Version).where(*of).values(language=language))
            filled += len(told)
            if len(rows) < batch:
                break
        return filled


def _prose(text: str) -> str:
    """Up to `_LOOKED_AT` characters of lines that are made of words, from all over the text."""
    lines = []
    for line in _FENCED.sub("\n", _sliced(text)).splitlines():
        if line.startswith(("    ", "\t")) and not line.lstrip()[:1].isalpha():
            continue
        words = _NO_WORDS.sub(" ", line).strip(" \t#>*-+|")
        letters = sum(map(str.isalpha, words))
        dense = letters >= 0.7 * len(words.replace(" ", ""))  # figures, operators and rules are no words
        if letters >= 3 and dense and words.count("|") + words.count("\t") < 2:
            lines.append(words)
    total = sum(map(len, lines))
    if total <= _LOOKED_AT:
        return " ".join(lines)
    # Long lines first would favour one chapter: an even share of the lines, in order, tells of the whole.
    kept, room, step = [], _LOOKED_AT, total / _LOOKED_AT
    at = 0.0
    for number, line in enumerate(lines):
        if number >= at and room > 0:
            kept.append(line[:room])
            room -= len(line)
            at += step
    return " ".join(kept)


def _sliced(text: str) -> str:
    if len(text) <= _SLICES * _SLICE:
        return text
    step = (len(text) - _SLICE) / (_SLICES - 1)
    return "\n".join(text[int(n * step) : int(n * step) + _SLICE] for n in range(_SLICES))


@cache
def _model() -> LanguageIdentifier:
    import py3langid
    from py3langid.langid import LanguageIdentifier

    found = Path(py3langid.__file__).parent / "data" / "model.npz.xz"
    return LanguageIdentifier.from_model_file(found, norm_probs=True)
