"""An answer as it is shown: words with marks numbered from 1 in order of appearance, and a citation behind every mark.

Whatever a generator wrote, what leaves here resolves: a mark is given out only together with its citation, and a
footnote mark of the source, such as [3], cannot pass for one of ours. It knows nothing of search or of models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kernel.types import Passage, Sentence
from retrieval.generators.plain import plain, unlinked

UNSUPPORTED = "(not supported by the documents)"
"""Stands behind a sentence that is shown although nothing it cites supports it."""

_SOURCE_MARK = re.compile(r"\[(\d+)\]")


class Composer:
    """Puts one answer together, sentence by sentence."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._numbers: dict[tuple[str, int, int], int] = {}
        self._parts: list[str] = []
        self.citations: list[dict[str, Any]] = []
        self.notes: list[str] = []
        """Remarks of the platform's own, as they stand in the text, without their marks."""

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._parts)

    def add(self, sentence: Sentence) -> dict[str, Any]:
        """Append a sentence, its quotes cited: `{"text", "citations"}`, as appended and those that are new."""
        before = len(self.citations)
        marks = "".join(dict.fromkeys(f"[{self._cite(*quote)}]" for quote in sentence.quotes))
        return self._append(f"{_harmless(sentence.text)} {marks}".strip(), before)

    def flag(self, sentence: Sentence) -> dict[str, Any]:
        """Append a sentence that nothing supports, and say so behind it."""
        return self._append(f"{_harmless(sentence.text)} {UNSUPPORTED}", len(self.citations))

    def note(self, text: str, quotes: Sequence[tuple[int, int, int]] = ()) -> dict[str, Any]:
        """Append a remark of the platform's own, in a paragraph of its own, with the marks of what it is about."""
        before = len(self.citations)
        marks = "".join(f"[{self._cite(*quote)}]" for quote in quotes)
        self.notes.append(_harmless(text))
        return self._append(f"{self.notes[-1]} {marks}".strip(), before, "\n\n")

    def refused(self, text: str) -> str:
        """The refusal, behind what was shown: sentences that nothing supports are no answer."""
        return f"{self.text}\n\n{text}" if self._parts else text

    def _append(self, words: str, before: int, space: str = " ") -> dict[str, Any]:
        part = f"{space}{words}" if self._parts else words
        self._parts.append(part)
        return {"text": part, "citations": self.citations[before:]}

    def _cite(self, mark: int, start: int, end: int) -> int:
        passage = self._passages[mark - 1]
        key = (passage.chunk, start, end)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) + 1
            quote = passage.text[start - passage.start : end - passage.start]
            cited = {"n": self._numbers[key], "chunk": passage.chunk, **shown(passage)}
            self.citations.append(cited | {"start": start, "end": end, "quote": quote})
        return self._numbers[key]


def shown(passage: Passage) -> dict[str, Any]:
    """A passage as a refusal shows the closest ones: where it stands, and its words."""
    return {
        "document": passage.document,
        "name": passage.name,
        "title": passage.title,
        "version": passage.version,
        "page": passage.page,
        "heading": passage.heading,
        "start": passage.start,
        "end": passage.end,
        "quote": passage.text,
    }


def _harmless(text: str) -> str:
    return _SOURCE_MARK.sub(r"(\1)", unlinked(plain(text))).strip()
