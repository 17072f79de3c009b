"""The vocabulary of the domain, as plain frozen data. No I/O, no heavy imports.

Offsets are half-open and count Unicode code points of a version's text. Times are UTC milliseconds. Epochs count
committed changes of the index. An open end of either axis is `OPEN`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal

OPEN = 2**53
"""An end that has not come yet, on the epoch axis and on the time axis. Exact as a double."""

VersionState = Literal["staged", "live", "superseded", "deleted", "expired"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
RunState = Literal[
    "requested", "proposed", "declined", "drawn", "trained", "evaluated", "accepted", "rejected", "failed"
]
AdapterState = Literal["candidate", "shadow", "canary", "champion", "previous", "retired"]
AdapterKind = Literal["retriever", "generator"]


Progress = Callable[[str, int, int], None]
"""(stage, done, total): how far a long piece of work is. A total of 0 is not known."""


def silent(stage: str, done: int, total: int) -> None:
    """A `Progress` that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a version's text: `text[start:end]`. `page` counts from 1."""

    page: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading found while parsing: where its line starts, its level (1 is the highest) and its words."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a parser makes of a file's bytes: one text, and what is known about its structure.

    `pages` is empty for formats without pages. `headings` are in order of `start`. `blocks` are spans that a chunker
    should rather not cut (tables, code), in order.
    """

    text: str
    title: str
    media_type: str
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    blocks: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()
    """What a person should know about the reading: pages left out, an encoding that was guessed, no OCR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkDraft:
    """A chunk of a parsed text before it has an identity: `text == parsed.text[start:end]`."""

    ordinal: int
    start: int
    end: int
    text: str
    heading: str = ""
    """The heading path, outermost first, joined by ` › `; empty above the first heading."""
    page: int | None = None

    @property
    def embedded_text(self) -> str:
        """The text that is embedded: heading path, newline, text. Equal embedded texts are equal chunks."""
        return f"{self.heading}\n{self.text}" if self.heading else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The two time axes of a question. `epoch` is what the system knew, `at` (ms) when it counts in the world."""

    epoch: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk as a reader sees it: resolved to a version, with its text and where that stands."""

    chunk: str
    document: str
    name: str
    title: str
    version: int
    start: int
    end: int
    text: str
    heading: str = ""
    page: int | None = None
    score: float = 0.0
    rank: int = 0
    since: int | None = None
    """When its version began to count, in UTC milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence of an answer. `marks` number the passages it cites, from 1."""

    text: str
    marks: tuple[int, ...] = ()
    quotes: tuple[tuple[int, int, int], ...] = ()
    """(mark, start, end) of each quote, offsets into the text of the cited version."""
    support: float = 0.0
    """How well the cited passages support this sentence, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What evidence makes of a claim. The two need not add up to 1: most texts neither say nor deny a claim."""

    support: float
    """How likely the evidence says what the claim says, 0 to 1."""
    contradiction: float
    """How likely it says the opposite, 0 to 1."""


Sentences = Generator[Sentence, None, dict[str, int]]
"""An answer as it is written: sentences in order, and when they are over what it took (`usage`, counts by name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One earlier turn of a conversation."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How a person wants to be answered. None leaves it open."""

    language: str | None = None
    """ISO 639-1 code, as in `de`."""
    length: Literal["short", "normal", "long"] | None = None
    tone: str | None = None
    """A few words, as in `plain` or `formal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A question that a passage answers, as a model wrote it. Nothing of it is checked yet."""

    question: str
    answer: str
    quote: str
    """The words of the passage that it says give the answer."""


BASE = "__base__"
"""In place of an adapter's name: the model without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a generator is asked."""

    question: str
    """It stands alone: a follow-up is rewritten before."""
    history: tuple[Exchange, ...] = ()
    """Oldest first, already bounded."""
    wishes: Wishes = Wishes()
    adapter: str | None = None
    """Name of a loaded adapter, or `BASE`; None is the one that serves."""
