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
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kernel.errors import NotFound
from kernel.ids import fresh, iso
from kernel.ports import Embedder, Generator, Verifier
from kernel.types import Ask, Exchange, Judgement, Passage, Sentence, Sentences, Wishes
from retrieval.compose import Composer, shown
from retrieval.evidence import Evidence, read
from retrieval.followup import Rewrite
from retrieval.generators.extractive import weighed
from retrieval.live import Pinned
from retrieval.notes import Notes, notes
from retrieval.scoping import Scoped
from retrieval.search import Found, How, Scope, Search
from retrieval.support import REFUSAL_THRESHOLD, answerable
from retrieval.turns import Asker, Turns
from retrieval.verify import check
from retrieval.writing import LiveGenerator, Writer

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
    adapter: Pinned | None = None
    """Of the retriever; None is the one that serves."""
    history: tuple[Exchange, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)
    by: Asker = field(default_factory=Asker)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What was found for a question, and what it says."""

    found: Found
    evidence: Evidence
    fingerprint: str
    """Of the embedder that read it."""
    widened: bool = False
    """It comes from beyond the scope that the question seemed to name."""

    @property
    def support(self) -> float:
        return answerable(self.evidence)


class Answerer:
    """Answers questions from what search finds. Safe from several threads."""

    def __init__(
        self,
        search: Search,
        turns: Turns,
        generators: Mapping[str, Generator],
        default: str,
        embedder: Embedder,
        verifier: Verifier,
        *,
        passages: int,
        threshold: float | None,
        unsupported: Unsupported = "drop",
        writing: LiveGenerator | None = None,
    ) -> None:
        """`writing` says which adapter the default generator writes with; None asks the generator itself."""
        self._search, self._turns = search, turns
        self._generators, self._default = generators, default
        self._embedder, self._verifier = embedder, verifier
        self._passages, self.unsupported, self._writing = passages, unsupported, writing
        self._threshold = REFUSAL_THRESHOLD if threshold is None else threshold

    @property
    def generators(self) -> list[str]:
        return sorted(self._generators)

    def explain(self, question: str, passages: Sequence[Passage]) -> dict[str, Any]:
        """Whether these passages are taken to answer, and what became of each of their sentences."""
        read_of = passages[: self._passages]
        evidence = read(question, read_of, self._embedder)
        sentences = [
            {
                "rank": w.candidate.mark,
                "document": read_of[w.candidate.mark - 1].document,
                "start": w.candidate.start,
                "end": w.candidate.end,
                "text": w.candidate.text,
                "score": round(w.score, 4),
                "support": round(w.support, 4),
                "why": w.why,
            }
            for w in weighed(question, evidence, read_of)
        ]
        support = round(answerable(evidence), 4)
        return {"support": support, "threshold": self._threshold, "sentences": sentences}

    def rewriter(self, generator: str | None) -> Rewrite | None:
        """How a generator writes a follow-up as a question that stands alone."""
        found = self._generators.get(generator or self._default)
        return found.rewrite if found else None

    def stream(self, asked: Asked) -> Iterator[dict[str, Any]]:
        """The events of an answer, or of a refusal; the last one is the JSON of `reprise ask`.

        Raises:
            NotFound: no such generator.
            Upstream: the generator's server did not answer well. What was yielded before stays valid.
        """
        name = asked.generator or self._default
        if name not in self._generators:
            raise NotFound(f"no generator {name!r}", hint=f"there are: {', '.join(self.generators)}")
        started = time.perf_counter()
        question = asked.question
        reading = self._read(asked)
        found, support = reading.found, reading.support
        searched = time.perf_counter()
        told = asked.by.told(question) | {"scope": asked.scoped.as_json(widened=reading.widened) | asked.where}
        yield {"type": "searched", **told, "passages": len(found.passages)}

        composer, first = Composer(found.passages), None
        judged, cited = list[dict[str, Any]](), list[Sentence]()
        drafting = _Drafting()
        with ExitStack() as held:
            writer = held.enter_context(self._writer(name))
            if support >= self._threshold:
                ask = Ask(question=question, history=asked.history, wishes=asked.wishes, adapter=writer.alias)
                stream = self._generators[name].stream(ask, found.passages)
                sentences = held.enter_context(closing(drafting.of(stream)))
                for sentence in sentences:
                    (checked,) = check([sentence], found.passages, self._verifier)
                    kept, judgement = checked.sentence, checked.judgement
                    judged.append(_judged(kept.text, judgement, checked.supported))
                    if checked.supported:
                        cited.append(kept)
                    if checked.supported or (self.unsupported == "flag" and kept.text.strip()):
                        first = first or time.perf_counter()
                        yield {"type": "sentence", **(composer.add(kept) if checked.supported else composer.flag(kept))}
        if cited:
            for note in _told(self._notes(question, reading, cited)):
                yield {"type": "sentence", **composer.note(**note)}
        abstained = not composer.citations
        ended = time.perf_counter()
        done = {
            "answer": composer.refused(self._refusal(found, told["scope"], support)) if abstained else composer.text,
            "abstained": abstained,
            "support": round(support, 4),
            "citations": [] if abstained else composer.citations,
            "closest": [shown(p) for p in found.passages[:CLOSEST]] if abstained else [],
            "sentences": judged,
            "notes": composer.notes,
            "turn": fresh("turn"),
            "workspace": asked.workspace,
            **told,
            "adapters": {"retriever": found.adapter, "generator": writer.name},
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

    @contextmanager
    def _writer(self, generator: str) -> Iterator[Writer]:
        """Which adapter writes, held until the answer is written."""
        if self._writing is not None and generator == self._default:
            with self._writing.holding() as writer:
                yield writer
        else:
            yield Writer(name=getattr(self._generators[generator], "adapter", None), alias=None)

    def _read(self, asked: Asked) -> _Reading:
        """Passages and what they say.

        What the question seemed to say of where to look is a guess: where that supports nothing, all is looked at.
        """
        reading = self._read_in(asked, asked.scoped.scope)
        if reading.support >= self._threshold or asked.scoped.inferred is None:
            return reading
        return replace(self._read_in(asked, asked.scoped.wide), widened=True)

    def _read_in(self, asked: Asked, scope: Scope) -> _Reading:
        how = How(adapter=asked.adapter)
        found = self._search.search(asked.question, asked.k or self._passages, scope, how=how)
        with self._search.one_index():  # the vectors of question and sentences come from one embedder
            evidence = read(asked.question, found.passages, self._embedder)
            return _Reading(found=found, evidence=evidence, fingerprint=self._embedder.fingerprint)

    def _notes(self, question: str, reading: _Reading, cited: Sequence[Sentence]) -> Notes:
        passages = reading.found.passages
        with self._search.one_index():
            same = self._embedder.fingerprint == reading.fingerprint  # else another embedder serves since: words decide
            dates = [passage.since for passage in passages]
            return notes(question, passages, reading.evidence, cited, dates, self._embedder if same else None)

    def _refusal(self, found: Found, scope: dict[str, Any], support: float) -> str:
        """What was searched, and what came closest."""
        where = f"workspace “{scope['workspace']}”"
        if scope["count"] is not None and not scope["widened"]:
            only = scope["documents"][0]["name"] if scope["count"] == 1 else f"{scope['count']} documents"
            where = f"{only} in {where}"
        if not found.passages:
            return f"I found nothing to search in {where} at that time."
        closest = found.passages[0]
        documents = len({p.document for p in found.passages})
        of = "1 document" if documents == 1 else f"{documents} documents"
        why = "The documents do not answer this."
        if support >= self._threshold:
            why = "The passages may answer this, but nothing that was written about them is supported by what it cites."
        return (
            f"{why} I searched {where} and read the {len(found.passages)} "
            f"closest passages of {of}; the closest is in “{closest.heading or closest.title}” "
            f"({closest.name})."
        )


def _judged(text: str, judgement: Judgement, supported: bool) -> dict[str, Any]:
    """What was made of a sentence that a generator wrote, also of one that is not shown."""
    scores = {"support": round(judgement.support, 4), "contradiction": round(judgement.contradiction, 4)}
    return {"text": text, **scores, "supported": supported}


def _told(found: Notes) -> Iterator[dict[str, Any]]:
    """What people should know beside the sentences, in words, with the quotes it is about."""
    for conflict in found.conflicts:
        yield {"text": conflict.reason, "quotes": conflict.quotes}
    if found.coverage.partial:
        missing = " and ".join(f"“{part}”" for part in found.coverage.missing)
        yield {"text": f"The documents do not cover: {missing}."}


class _Drafting:
    """A generator's stream, and the usage that it ends with."""

    def __init__(self) -> None:
        self.usage: dict[str, int] = {}

    def of(self, stream: Sentences) -> Stream[Sentence, None, None]:
        self.usage = yield from stream


def _ms(since: float, until: float) -> float:
    return round((until - since) * 1000, 3)
