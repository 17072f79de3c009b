"""What passages say about a question, sentence by sentence, as numbers.

This is the reading that quoting (`generators/extractive`) and refusing (`support`) share, so that a text is
embedded once. It decides nothing: weights and thresholds live with those who decide. All corpus statistics are
taken from the passages at hand; it knows no index.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel.ports import Embedder
from kernel.types import Passage
from retrieval import words
from retrieval.sentences import Kind, trim, units

if TYPE_CHECKING:
    import numpy as np

READ = 64
"""Sentences that are embedded for one question. Where there are more, those that share its words go first."""

FEATURES = ("cosine", "coverage", "context_coverage", "passage_coverage", "rank", "kind", "numbers", "joint", "apart")
"""Columns of `Evidence.features`.

cosine            of the question and the sentence (a table row is read with its header)
coverage          share of the question's content words in the sentence, by rarity among all sentences
context_coverage  what the sentence before, the header row and the headings add to that
passage_coverage  the same share for the whole passage with its headings
rank              1 / rank of the passage, as it was handed in
kind              1 if it holds what is asked for (a number, a name), -1 if not, 0 if that is unknown
numbers           share of the numbers in the question that the sentence names
joint             cosine times coverage in context: words and meaning in one place
apart             cosine of the sentence and what the question asks beyond the document's title

Mixing the heading's vector into the sentence's was measured and changes nothing beyond noise.
"""

PASSAGE_FEATURES = ("joint", "apart", "passage_cosine", "numbers")
"""Columns of `Evidence.passages`, of one passage each, as an answer stands in one passage.

joint             the best over its sentences
apart             the best over its sentences
passage_cosine    of the question and the mean of its sentences: close to the passage's own vector, and free
numbers           the best over its sentences; 1 where the question names no number
"""

TOPIC = 0.8
"""How much of the title is taken out of the question for `apart`. Every sentence of a document on Jupiter is
close to a question on Jupiter; what tells whether one answers is the rest of the question. All of it would leave noise
of a question that is little more than the title."""

_ASKS_NUMBER = re.compile(
    r"\b(?:when|how (?:many|much|long|old|far|often|large|big|tall|high|deep|fast|late|early|heavy|soon)|"
    r"(?:what|which) (?:year|date|percent|percentage|day|month|century|time|age|number|amount|price|version)|"
    r"wann|wie ?viele?|wie (?:lange|alt|hoch|groß|oft)|cuándo|cuánt[oa]s?)\b",
    re.I,
)
_ASKS_NAME = re.compile(
    r"\b(?:who|whom|whose|where|(?:what|which) (?:country|city|state|town|team|person|company)|"
    r"quién(?:es)?|dónde)\b",
    re.I,
)
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-ZÀ-Þ][\w'’-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sentence that could be quoted. `start` and `end` are offsets into the version's text."""

    mark: int
    """The passage it stands in, counting from 1."""
    place: int
    """Which of that passage's sentences it is, from 0."""
    start: int
    end: int
    text: str
    """The exact words; whitespace is collapsed except in code."""
    kind: Kind
    stems: frozenset[str]
    read_as: str
    """What is embedded for it: a table row goes with its header."""

    @property
    def asks(self) -> bool:
        """Whether it is a question itself, as in lists of questions: then what follows may be the answer."""
        return self.text.rstrip("*_ ").endswith("?")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """The reading of one question against some passages."""

    candidates: tuple[Candidate, ...]
    features: np.ndarray
    """float64 of shape (candidates, FEATURES)."""
    passages: np.ndarray
    """float64 of shape (marks, PASSAGE_FEATURES)."""
    marks: tuple[int, ...]
    """The passages that have candidates, ascending: the rows of `passages`."""
    vectors: np.ndarray
    """float32 of shape (candidates, d): what was embedded for each, of length 1."""
    topics: dict[str, np.ndarray]
    """The vector of each title."""
    wanted: dict[str, float]
    """Stems of the question's content words and how rare each is here."""


def read(question: str, passages: Sequence[Passage], embedder: Embedder) -> Evidence:
    """Read `passages`, best first, against `question`. Embeds at most `READ` sentences."""
    import numpy as np

    asked = words.stems(question)
    headings = [passage.heading or passage.title for passage in passages]
    candidates, arounds = _candidates(passages)
    rarity = _rarity([c.stems for c in candidates])
    wanted = {stem: rarity.get(stem, math.log(2 * len(candidates) + 2)) for stem in asked}
    if len(candidates) > READ:
        keep = sorted(
            range(len(candidates)),
            key=lambda i: words.coverage(wanted, candidates[i].stems, wanted) + 0.3 / candidates[i].mark,
            reverse=True,
        )[:READ]
        candidates, arounds = [candidates[i] for i in sorted(keep)], [arounds[i] for i in sorted(keep)]
    if not candidates:
        return Evidence(
            candidates=(),
            features=np.zeros((0, len(FEATURES))),
            passages=np.zeros((0, len(PASSAGE_FEATURES))),
            marks=(),
            vectors=np.zeros((0, embedder.dimension), dtype=np.float32),
            topics={},
            wanted=wanted,
        )

    titles = sorted({passages[c.mark - 1].title for c in candidates})
    embedded = embedder.embed_documents([*(c.read_as for c in candidates), *titles])
    vectors, topics = embedded[: len(candidates)], dict(zip(titles, embedded[len(candidates) :], strict=True))
    query = embedder.embed_queries([question])[0]
    cosine = vectors @ query

    marks = np.array([c.mark for c in candidates])
    held = {mark: set(words.stems(headings[mark - 1])) for mark in sorted(set(marks.tolist()))}
    for candidate in candidates:
        held[candidate.mark] |= candidate.stems
    covered = {mark: words.coverage(wanted, stems, wanted) for mark, stems in held.items()}
    asides = {title: _without(query, topic) for title, topic in topics.items()}
    numbers, kind = words.numbers(question), kind_asked(question)
    rows = []
    for own_cosine, vector, candidate, near in zip(cosine, vectors, candidates, arounds, strict=True):
        own = words.coverage(wanted, candidate.stems, wanted)
        around = candidate.stems | near | set(words.stems(headings[candidate.mark - 1]))
        in_context = words.coverage(wanted, around, wanted)
        named = words.numbers(candidate.text)
        rows.append(
            (
                own_cosine,
                own,
                in_context - own,
                covered[candidate.mark],
                1 / candidate.mark,
                _kind_found(kind, candidate, named - numbers, wanted),
                len(numbers & named) / len(numbers) if numbers else 0.0,
                own_cosine * in_context,
                vector @ asides[passages[candidate.mark - 1].title],
            )
        )
    features = np.array(rows, dtype=np.float64)
    column = {name: features[:, i] for i, name in enumerate(FEATURES)}
    whole = [
        (
            column["joint"][own := marks == mark].max(),
            column["apart"][own].max(),
            _passage_cosine(vectors[own], query),
            column["numbers"][own].max() if numbers else 1.0,
        )
        for mark in held
    ]
    return Evidence(
        candidates=tuple(candidates),
        features=features,
        passages=np.array(whole, dtype=np.float64),
        marks=tuple(held),
        vectors=vectors,
        topics=topics,
        wanted=wanted,
    )


class _Remembering:
    """An embedder that has seen some documents already."""

    def __init__(self, inner: Embedder, seen: dict[str, np.ndarray]) -> None:
        self._inner, self._seen = inner, seen
        self.dimension, self.fingerprint, self.max_tokens = inner.dimension, inner.fingerprint, inner.max_tokens
        self.embed_queries, self.count_tokens = inner.embed_queries, inner.count_tokens

    def embed_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        import numpy as np

        new = sorted(set(texts) - self._seen.keys())
        if new:
            self._seen.update(zip(new, self._inner.embed_documents(new, progress), strict=True))
        return np.stack([self._seen[text] for text in texts])


def remembering(embedder: Embedder, evidence: Evidence) -> Embedder:
    """The embedder, which embeds no sentence of `evidence` again: to read the same passages for another question."""
    seen = {candidate.read_as: vector for candidate, vector in zip(evidence.candidates, evidence.vectors, strict=True)}
    return _Remembering(embedder, seen | evidence.topics)


def _candidates(passages: Sequence[Passage]) -> tuple[list[Candidate], list[frozenset[str]]]:
    """The candidates, and the stems that stand around each: of the sentence before, the header and the heading."""
    candidates: list[Candidate] = []
    arounds: list[frozenset[str]] = []
    for mark, passage in enumerate(passages, 1):
        heading, header, before = "", "", frozenset[str]()
        columns = passage.heading.rpartition(" › ")[2]
        found = units(passage.text)
        for place, unit in enumerate(found):
            start, end = trim(passage.text, unit.start, unit.end)
            raw = passage.text[start:end]
            if not raw:
                continue
            text = raw if unit.kind == "code" else " ".join(raw.split())
            stems = frozenset(words.stems(text))
            kind = unit.kind
            if kind != "row":
                header = ""
            elif place == 0 and " | " in columns:
                header = columns  # the passage begins in the middle of a table
            elif not header and found[place + 1 : place + 2] and found[place + 1].kind == "row":
                header, kind = text, "heading"
            near = before | frozenset(words.stems(f"{heading} {header}"))
            candidates.append(
                Candidate(
                    mark=mark,
                    place=place,
                    start=passage.start + start,
                    end=passage.start + end,
                    text=text,
                    kind=kind,
                    stems=stems,
                    read_as=f"{header}: {text}" if header and kind == "row" else text,
                )
            )
            arounds.append(near)
            heading, before = (text, frozenset[str]()) if unit.kind == "heading" else (heading, stems)
    return candidates, arounds


def _rarity(sentences: Sequence[frozenset[str]]) -> dict[str, float]:
    """Inverse document frequency over the sentences at hand, as BM25 has it."""
    counts = Counter(stem for stems in sentences for stem in stems)
    n = len(sentences)
    return {stem: math.log(1 + (n - count + 0.5) / (count + 0.5)) for stem, count in counts.items()}


def _without(query: np.ndarray, topic: np.ndarray) -> np.ndarray:
    """The question with `TOPIC` of the topic's direction taken out, of length 1 again."""
    rest = query - TOPIC * float(query @ topic) * topic
    return rest / (float(rest @ rest) ** 0.5 or 1.0)


def _passage_cosine(sentences: np.ndarray, query: np.ndarray) -> float:
    total = sentences.sum(axis=0)
    return float(total @ query) / (float(total @ total) ** 0.5 or 1.0)


def kind_asked(question: str) -> str:
    """What the question asks for: `number`, `name`, or nothing that can be told."""
    return "number" if _ASKS_NUMBER.search(question) else "name" if _ASKS_NAME.search(question) else ""


def _kind_found(kind: str, candidate: Candidate, new_numbers: set[str], wanted: dict[str, float]) -> float:
    if not kind:
        return 0.0
    if kind == "number":
        return 1.0 if new_numbers else -1.0
    names = {words.stem(token) for name in _NAME.findall(candidate.text) for token in words.tokens(name)}
    return 1.0 if names - wanted.keys() else -1.0
