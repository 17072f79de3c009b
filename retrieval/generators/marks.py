"""A model's answer, read as sentences with marks while it is still being written.

What a model writes is untrusted: no image, no link, no HTML and no mark that does not belong to a passage gets
through. `Parser` gives the same sentences whatever pieces the text arrives in; `parse_marks` reads a whole text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from kernel.types import Sentence
from retrieval.generators import prompt
from retrieval.generators.cut import MARK, Cutter, Visible
from retrieval.generators.plain import plain, unlinked
from retrieval.sentences import trim, units

LOOP = 3
"""A model that writes a sentence so many times goes round in circles, as small ones do, and is read no further."""


class Parser:
    """Pieces of an answer in, sentences out, each as soon as it can no longer change. No sentence comes twice.

    `thinking` says that the model was left in the middle of its thoughts, as some chat templates do.
    """

    def __init__(self, k: int, *, thinking: bool = False) -> None:
        self._k = k
        self._visible, self._cutter = Visible(prompt.STOPS, thinking=thinking), Cutter()
        self._half = ""
        self._said: Counter[str] = Counter()
        self._loops = False

    @property
    def over(self) -> bool:
        """Whether all has been read that will be: what the model writes from here on is not its answer."""
        return self._visible.over or self._loops

    @property
    def loops(self) -> bool:
        """Whether the model goes round in circles, and should be stopped."""
        return self._loops

    def feed(self, piece: str) -> list[Sentence]:
        """The sentences that are complete with this piece."""
        piece = self._half + piece
        self._half = piece[-1:] if "\ud800" <= piece[-1:] <= "\udbff" else ""  # the other half may be on its way
        return self._read(self._visible.feed(_whole(piece[: len(piece) - len(self._half)])))

    def finish(self) -> list[Sentence]:
        """The sentences that were waiting for more text. A mark that is still open is none."""
        half, self._half = self._half, ""
        return self._read(self._visible.feed(_whole(half)) + self._visible.finish(), over=True)

    def _read(self, text: str, *, over: bool = False) -> list[Sentence]:
        fresh: list[Sentence] = []
        for segment in self._cutter.feed(text, over=over):
            for sentence in _sentences(segment, self._k):
                self._said[sentence.text] += 1
                self._loops = self._loops or self._said[sentence.text] >= LOOP
                if self._said[sentence.text] == 1 and not self._loops:
                    fresh.append(sentence)
        return fresh


def parse_marks(text: str, k: int, *, thinking: bool = False) -> tuple[Sentence, ...]:
    """A model's answer as sentences with marks between 1 and `k`; none where it says that there is no answer.

    Marks may stand before or behind the full stop, in lists (`[1, 2]`) and ranges (`[1-3]`). Marks out of range are
    taken out. A sentence without any mark that is left has `marks=()`: it is for the caller to drop it.
    """
    parser = Parser(k, thinking=thinking)
    return (*parser.feed(text), *parser.finish())


_MARKS_BEHIND = re.compile(rf"([.!?…。！？])((?:{MARK.pattern})+)", re.I)
_CODE_INDEX = re.compile(r"`[^`\n]+`")
_INDEX = re.compile(r"\[(\d+)\]")


def _sentences(segment: str, k: int) -> Iterator[Sentence]:
    text = unlinked(plain(segment.strip()))
    text = _CODE_INDEX.sub(lambda m: _INDEX.sub("\ue000\\1\ue001", m.group()), text)  # no marks
    if text.strip(" .\"'`*").upper() in (prompt.NO_ANSWER, ""):
        return
    text = _MARKS_BEHIND.sub(r"\2\1", text)
    for unit in units(text):
        start, end = trim(text, unit.start, unit.end)
        raw = text[start:end]
        marks = tuple(dict.fromkeys(mark for found in MARK.finditer(raw) for mark in _numbers(found, k)))
        words = re.sub(r"\s+([.,;:!?。！？])", r"\1", " ".join(MARK.sub(" ", raw).split()))
        words = words.replace("\ue000", "[ ").replace("\ue001", " ]")
        if any(c.isalnum() for c in words) and prompt.NO_ANSWER not in words:
            yield Sentence(text=words, marks=marks)


def _numbers(found: re.Match[str], k: int) -> list[int]:
    """The numbers between 1 and k that a mark names, ranges filled."""
    named: list[int] = []
    for part in re.split(r"\s*(?:,|;|and|&)\s*", found.group(1) or found.group(2)):
        ends = [int(n) for n in re.findall(r"\d+", part)]
        named += range(max(1, ends[0]), min(k, ends[-1]) + 1)
    return named


def _whole(text: str) -> str:
    """The text with halves of characters joined, or replaced where the other half is missing: they cannot be sent."""
    if not any("\ud800" <= c <= "\udfff" for c in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
