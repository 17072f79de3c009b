"""Question to answer: rewrite, search, judge, draft, check every sentence against what it cites, or refuse.

What is promised here: a mark that is shown resolves to a citation, a citation's quote is the exact words of its
version, and what the sources do not support is refused, without asking a model. All of it holds while an answer is
still being written, too: it leaves sentence by sentence, each one checked before anybody sees its first word.

    event       when                              holds
    searched    passages are found                the standalone question, the scope, how many passages
    sentence    a sentence has passed its check   its text as it is appended, and the citations that are new
    done        at the end                        everything: the JSON of `reprise ask`
"""

from __future__ import annotations

import time
from collections.abc import Generator as Stream
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

from ingest.library import Library
from kernel.errors import NotFound
from kernel.ids import fresh, iso
from kernel.ports import Embedder, Generator
from kernel.types import Ask, Exchange, Passage, Sentence, Sentences, Wishes
from retrieval.compose import Composer, shown
from retrieval.followup import Rewrite
from retrieval.live import Pinned
from retrieval.scoping import Scoped
from retrieval.search import Found, Scope, Search
from retrieval.support import CLAIM_THRESHOLD, REFUSAL_THRESHOLD, ClaimChecker, question_support
from retrieval.turns import Asker, Turns

CLOSEST = 3
Unsupported = Literal["drop", "flag"]
"""What becomes of a sentence that nothing it cites supports: it is left out, or shown and marked as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question with everything that shapes its answer."""

    question: str
    workspace: str
    scoped: Scoped
    where: dict[str, Any] = field(default_factory=dict)
    """What is told of the scope besides: who gave it."""
    k: int | None = None
    generator: str | None = None
    history: tuple[Exchange, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)
    by: Asker = field(default_factory=Asker)
    pinned: Pinned | None = None
    """The retriever adapter that is to look; None is the one that serves."""


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
        unsupported: Unsupported = "drop",
    ) -> None:
        self._search, self._library, self._turns = search, library, turns
        self._generators, self._default = generators, default
        self._embedder, self._checker = embedder, ClaimChecker(embedder)
        self._passages, self.unsupported = passages, unsupported
        self._threshold = REFUSAL_THRESHOLD if threshold is None else threshold

    @property
    def generators(self) -> list[str]:
        return sorted(self._generators)

    def rewriter(self, generator: str | None) -> Rewrite | None:
        """How a generator writes a follow-up as a question that stands alone."""
        found = self._generators.get(generator or self._default)
        return found.rewrite if found else None

    def ask(self, asked: Asked) -> dict[str, Any]:
        """Answer, or refuse; the JSON of `reprise ask`.

        Raises:
            NotFound: no such generator.
            Upstream: the generator's server did not answer well.
        """
        *_, done = self.stream(asked)
        return {name: value for name, value in done.items() if name != "type"}

    def stream(self, asked: Asked) -> Iterator[dict[str, Any]]:
        """The events of an answer. Raises as `ask` does; what was yielded before stays valid."""
        name = asked.generator or self._default
        if name not in self._generators:
            raise NotFound(f"no generator {name!r}", hint=f"there are: {', '.join(self.generators)}")
        started = time.perf_counter()
        question = asked.question
        found, support, widened = self._read(asked)
        searched = time.perf_counter()
        told = asked.by.told(question) | {"scope": asked.scoped.as_json(widened=widened) | asked.where}
        yield {"type": "searched", **told, "passages": len(found.passages)}

        composer, judged, first = Composer(found.passages), list[dict[str, Any]](), None
        drafting = _Drafting()
        if support >= self._threshold:
            ask = Ask(question=question, history=asked.history, wishes=asked.wishes)
            with closing(drafting.of(self._generators[name].stream(ask, found.passages))) as sentences:
                for sentence in sentences:
                    kept, passes = self._check(sentence, found.passages)
                    judged.append({"text": kept.text, "support": round(kept.support, 4), "kept": passes})
                    if passes or (self.unsupported == "flag" and kept.text.strip()):
                        first = first or time.perf_counter()
                        yield {"type": "sentence", **(composer.add(kept) if passes else composer.flag(kept))}
        abstained = not composer.citations
        ended = time.perf_counter()
        done = {
            "answer": self._refusal(found, asked.workspace) if abstained else composer.text,
            "abstained": abstained,
            "support": round(support, 4),
            "citations": [] if abstained else composer.citations,
            "closest": [shown(p) for p in found.passages[:CLOSEST]] if abstained else [],
            "sentences": judged,
            "turn": fresh("turn"),
            "workspace": asked.workspace,
            **told,
            "adapters": {"retriever": found.adapter, "generator": None},
            "generator": name,
            "usage": drafting.usage,
            "epoch": found.when.epoch,
            "as_of": iso(found.when.at),
            "ms": {
                "search": _ms(started, searched),
                "first": _ms(started, first) if first else None,
                "answer": _ms(searched, ended),
                "total": _ms(started, ended),
            },
        }
        self._turns.keep(asked.workspace, asked.question, done, found.when.at, asked.by)
        yield {"type": "done", **done}

    def _read(self, asked: Asked) -> tuple[Found, float, bool]:
        """Passages, how well they support an answer, and whether they come from beyond an inferred scope.

        What the question seemed to say of where to look is a guess: where that supports nothing, all is looked at.
        """
        found, support = self._search_in(asked, asked.scoped.scope)
        if support >= self._threshold or asked.scoped.inferred is None:
            return found, support, False
        found, support = self._search_in(asked, asked.scoped.wide)
        return found, support, True

    def _search_in(self, asked: Asked, scope: Scope) -> tuple[Found, float]:
        found = self._search.search(asked.question, asked.k or self._passages, scope, asked.pinned)
        return found, question_support(asked.question, found.passages, self._embedder)

    def _check(self, sentence: Sentence, passages: Sequence[Passage]) -> tuple[Sentence, bool]:
        """The sentence with its quotes and support, and whether what it cites supports it."""
        marks = tuple(m for m in sentence.marks if 1 <= m <= len(passages))
        if not marks or not sentence.text.strip():
            return Sentence(text=sentence.text), False
        if sentence.quotes:  # a quotation supports itself; its support is how well it answers
            return sentence, True
        support = self._checker.support(sentence.text, [passages[m - 1].text for m in marks])
        quotes = tuple(self._best_quote(sentence.text, m, passages[m - 1]) for m in marks)
        checked = Sentence(text=sentence.text, marks=marks, quotes=quotes, support=support)
        return checked, support >= CLAIM_THRESHOLD

    def _best_quote(self, claim: str, mark: int, passage: Passage) -> tuple[int, int, int]:
        start, end = self._checker.quote(claim, passage.text)
        return mark, passage.start + start, passage.start + end

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


class _Drafting:
    """A generator's stream, and the usage that it ends with."""

    def __init__(self) -> None:
        self.usage: dict[str, int] = {}

    def of(self, stream: Sentences) -> Stream[Sentence, None, None]:
        self.usage = yield from stream


def _ms(since: float, until: float) -> float:
    return round((until - since) * 1000, 3)
