"""Whether a new version of a text still says an answer that nobody quoted.

An example of a whole document names no words that ground it, and its answer may state what one sentence of the document
says. Each sentence of the answer is held to the one that says it, as if that had been quoted: the one that shares most
words with question and answer, among those that hold half of the answer's words if there are any. An answer in words of
the document is held to those as well. It knows no database and no index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.split import sentences
from kernel.index.terms import of_query

if TYPE_CHECKING:
    from rehearsal.tables import Example

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Said:
    """A text as its sentences, each with its terms."""

    plain: str
    """All of it, with single spaces."""
    sentences: Mapping[str, frozenset[int]]

    @classmethod
    def of(cls, text: str) -> Said:
        """The text in sentences; a line that ends is the end of one."""
        lines = (line for line in text.splitlines() if line.strip())
        found = dict.fromkeys(_plain(s) for line in lines for s in sentences(line) if s.strip())
        return cls(_plain(text), {s: frozenset(of_query(s)) for s in found})

    def behind(self, question: str, answer: str) -> set[str]:
        """The sentences that say one sentence of an answer best; none where no sentence shares a word with it."""
        wanted = frozenset(of_query(answer))
        every = wanted | frozenset(of_query(question))
        found: dict[str, tuple[bool, int]] = {}
        for sentence, terms in self.sentences.items():
            if shared := len(every & terms):
                found[sentence] = (len(wanted & terms) > _HALF * len(wanted), shared)
        best = max(found.values(), default=None)
        return {sentence for sentence, score in found.items() if score == best}


def answers(example: Example) -> list[str]:
    """What an example says is right, in as many wordings as it has."""
    return [said for said in dict.fromkeys((example.answer, example.preferred)) if said]


def still_says(question: str, answer: str, before: Said, after: Said) -> bool:
    """Whether what said the answer before stands afterwards, word for word; also where nothing said it."""
    if _plain(answer) in before.plain and _plain(answer) not in after.plain:
        return False
    for part in sentences(answer):
        behind = before.behind(question, part) if part.strip() else set()
        if behind and behind.isdisjoint(after.sentences):
            return False
    return True


def _plain(text: str) -> str:
    return " ".join(text.split())
