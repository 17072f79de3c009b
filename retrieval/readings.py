"""Readings of single words that this process keeps to be quick: their parts, stems and forms, by the word.

They hold no text, only words by themselves, a few hundred thousand at most and in no order. But a name or a number may
have stood in one document alone, so they go when a document is deleted or a version expires. That costs the next
questions a few milliseconds; to sort out whose words they were would need the documents kept beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel.index import terms
from retrieval import naming, words


class Readings:
    """An `Eraser` and an `Expirer` of `ingest`, for this process: another one's go as newer words push them out.

    What a question reads of a document while it is deleted may come back; nothing does that is asked afterwards.
    """

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        terms.forget()
        words.forget()
        naming.key_of.cache_clear()
        return {}

    def expire(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        return self.erase(document, points)
