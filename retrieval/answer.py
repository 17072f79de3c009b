"""Question to answer: search, draft, check every sentence against what it cites, refuse below a threshold.

What is promised here: a mark that is shown resolves to a citation, a citation's quote is the exact words of its
version, and what the sources do not support is refused. A refusal says what was searched and what came closest.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ingest.library import Library
from kernel.errors import NotFound
from kernel.ids import fresh, iso
from kernel.ports import Embedder, Generator, Verifier
from kernel.types import Draft, Passage, Sentence
from retrieval.generators.extractive import ExtractiveGenerator
from retrieval.generators.prompt import plain
from retrieval.search import Found, Scope, Search
from retrieval.support import REFUSAL_THRESHOLD, question_support
from retrieval.turns import Turns
from retrieval.verifiers.embedded import EmbeddedVerifier
from retrieval.verify import check

CLOSEST = 3
_SOURCE_MARK = re.compile(r"\[(\d+)\]")


class Answerer:
    """Answers questions from what search finds. Safe from several threads."""

    def __init__(
        self,
        search: Search,
        library: Library,
        turns: Turns,
        generators: Mapping[str, Generator],
        default: str,
        embedder: Embedder,
        *,
        passages: int,
        threshold: float | None,
        verifier: Verifier | None = None,
    ) -> None:
        self._search, self._library, self._turns = search, library, turns
        self._generators, self._default = generators, default
        self._embedder, self._verifier = embedder, verifier or EmbeddedVerifier(embedder)
        self._passages = passages
        self._threshold = REFUSAL_THRESHOLD if threshold is None else threshold

    @property
    def generators(self) -> list[str]:
        return sorted(self._generators)

    def ask(
        self,
        question: str,
        scope: Scope,
        *,
        workspace: str,
        k: int | None = None,
        generator: str | None = None,
    ) -> dict[str, Any]:
        """Answer, or refuse; the JSON of `reprise ask`.

        Raises:
            NotFound: no such generator.
            Upstream: the generator's server did not answer well.
        """
        name = generator or self._default
        if name not in self._generators:
            raise NotFound(f"no generator {name!r}", hint=f"there are: {', '.join(self.generators)}")
        started = time.perf_counter()
        found = self._search.search(question, k or self._passages, scope)
        searched = time.perf_counter()
        draft = self._draft(name, question, found.passages)
        checked = check(draft.sentences, found.passages, self._verifier)
        sentences = [c.sentence for c in checked if c.supported]
        support = max((s.support for s in sentences), default=0.0)
        abstained = not sentences or support < self._threshold
        ended = time.perf_counter()
        answer, citations = _compose(sentences, found.passages)
        if abstained:
            answer, citations = self._refusal(found, workspace), []
        shown = {
            "answer": answer,
            "abstained": abstained,
            "support": round(support, 4),
            "citations": citations,
            "closest": [_closest(p) for p in found.passages[:CLOSEST]] if abstained else [],
            "turn": fresh("turn"),
            "workspace": workspace,
            "adapters": {"retriever": found.adapter, "generator": None},
            "generator": name,
            "epoch": found.when.epoch,
            "as_of": iso(found.when.at),
            "ms": {
                "search": round((searched - started) * 1000, 3),
                "answer": round((ended - searched) * 1000, 3),
                "total": round((ended - started) * 1000, 3),
            },
        }
        self._turns.keep(workspace, question, shown, found.when.at)
        return shown

    def _draft(self, name: str, question: str, passages: Sequence[Passage]) -> Draft:
        """What the generator drafts; nothing, without asking a model, where the passages do not answer."""
        generator = self._generators[name]
        quotes = isinstance(generator, ExtractiveGenerator)  # it reads the passages itself, and judges them as it does
        if not passages or not (quotes or question_support(question, passages, self._embedder) >= self._threshold):
            return Draft(sentences=(), generator=name)
        return generator.draft(question, passages)

    def _refusal(self, found: Found, workspace: str) -> str:
        if not found.passages:
            return f"I found nothing to search in workspace “{workspace}” at that time."
        closest = found.passages[0]
        where = f"“{closest.heading or closest.title}” ({closest.name})"
        documents = len({p.document for p in found.passages})
        return (
            f"The documents do not answer this. I searched workspace “{workspace}” and read the {len(found.passages)} "
            f"closest passages of {documents} document(s); the closest is in {where}."
        )


def _compose(sentences: Sequence[Sentence], passages: Sequence[Passage]) -> tuple[str, list[dict[str, Any]]]:
    """The text with marks numbered from 1 in order of appearance, and one citation for each distinct quote."""
    numbers: dict[tuple[str, int, int], int] = {}
    citations: list[dict[str, Any]] = []
    parts = []
    for sentence in sentences:
        marks = []
        for mark, start, end in sentence.quotes:
            passage = passages[mark - 1]
            key = (passage.chunk, start, end)
            if key not in numbers:
                numbers[key] = len(numbers) + 1
                citations.append(_citation(numbers[key], passage, start, end))
            marks.append(f"[{numbers[key]}]")
        # A footnote mark of the source, such as [3], must not pass for one of ours.
        words = _SOURCE_MARK.sub(r"(\1)", plain(sentence.text)).strip()
        parts.append(f"{words} {''.join(marks)}")
    return " ".join(parts), citations


def _citation(n: int, passage: Passage, start: int, end: int) -> dict[str, Any]:
    return {
        "n": n,
        "chunk": passage.chunk,
        "document": passage.document,
        "name": passage.name,
        "title": passage.title,
        "version": passage.version,
        "page": passage.page,
        "heading": passage.heading,
        "start": start,
        "end": end,
        "quote": passage.text[start - passage.start : end - passage.start],
    }


def _closest(passage: Passage) -> dict[str, Any]:
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
