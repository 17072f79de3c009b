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
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Generator as Stream
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kernel.errors import NotFound, UserError
from kernel.ids import digest, fresh, iso, now_ms
from kernel.ports import Embedder, Generator, Verifier
from kernel.types import Ask, Exchange, Judgement, Passage, Sentence, Sentences, Wishes
from retrieval.choosing import Asks, unit_of
from retrieval.compose import Composer, shown
from retrieval.evidence import Evidence, read
from retrieval.followup import Rewrite
from retrieval.generators.extractive import weighed
from retrieval.lending import Lending, Lent, Named
from retrieval.live import RETRIEVER
from retrieval.live_generator import GENERATOR, LiveGenerator
from retrieval.notes import Notes, notes
from retrieval.scoping import Scoped
from retrieval.search import Found, How, Scope, Search
from retrieval.support import REFUSAL_THRESHOLD, answerable
from retrieval.tables import Exposure
from retrieval.turns import Asker, Turns
from retrieval.verify import check

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
    named: Named = field(default_factory=dict)
    """By kind, the adapters that were asked for by name; of other kinds it is decided."""
    slice: str | None = None
    """What the question is about, where whoever asks says it: routes go by it."""
    history: tuple[Exchange, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)
    by: Asker = field(default_factory=Asker)

    @property
    def asks(self) -> Asks:
        """What decides which adapters answer."""
        unit = unit_of(self.by.user, self.by.conversation, self.question)
        return Asks(workspace=self.workspace, slice=self.slice, unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer that was shown, as whoever looks at it afterwards finds it."""

    asked: Asked
    lent: Lent
    done: Mapping[str, Any]
    at: int
    """The world time (ms) it is about."""


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
        lending: Lending,
        live: Mapping[str, LiveGenerator],
        *,
        passages: int,
        threshold: float | None,
        unsupported: Unsupported = "drop",
    ) -> None:
        self._search, self._turns = search, turns
        self._generators, self._default = generators, default
        self._embedder, self._verifier = embedder, verifier
        self._lending, self._live = lending, live
        self.after: Callable[[Answered], None] = lambda _answered: None
        """Called when an answer was kept; nobody waits for what it starts."""
        self._passages, self.unsupported = passages, unsupported
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

    def draft(self, question: str, passages: Sequence[Passage], generator: str | None = None) -> Composer:
        """What these passages would be answered with, without notes; one without citations is a refusal.

        Nothing is searched and no turn is kept: this is for whoever compares rankings by the answers they lead to.
        """
        read_of = passages[: self._passages]
        composer = Composer(read_of)
        if answerable(read(question, read_of, self._embedder)) >= self._threshold:
            for sentence in self._generators[generator or self._default].stream(Ask(question=question), read_of):
                (checked,) = check([sentence], read_of, self._verifier)
                if checked.supported:
                    composer.add(checked.sentence)
        return composer

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
        kinds = self._kinds(name)
        for kind, pinned in asked.named.items():
            if kind not in kinds and pinned.path is not None:
                raise UserError(f"the generator {name!r} does not take {pinned.name!r}", hint="name another generator")
        with self._lending.lend(asked.asks, asked.named, kinds) as lent:
            done, at = yield from self._written(asked, name, lent)
            self._turns.keep(asked.workspace, asked.question, done, at, asked.by, taking_part(asked.asks, lent, done))
            self.after(Answered(asked=asked, lent=lent, done=done, at=at))
        yield {"type": "done", **done}

    def again(self, asked: Asked, lent: Lent) -> dict[str, Any]:
        """What the answer would be with other adapters. It is neither shown nor kept.

        Raises as `stream` does.
        """
        events = self._written(asked, asked.generator or self._default, lent)
        while True:
            try:
                next(events)
            except StopIteration as over:
                done: dict[str, Any] = over.value[0]
                return done

    def _kinds(self, generator: str) -> list[str]:
        """Kinds of adapters that have a say in an answer by this generator."""
        return [kind for kind in self._lending.kinds if kind != GENERATOR or self._live[generator].adaptable]

    def _written(self, asked: Asked, name: str, lent: Lent) -> Stream[dict[str, Any], None, tuple[dict[str, Any], int]]:
        """The events of an answer but the last; then that one, and the world time it is about."""
        started, live = time.perf_counter(), self._live[name]
        writer = live.told(lent.adapters.get(GENERATOR), plain=lent.plain(GENERATOR))
        question = asked.question
        reading = self._read(asked, lent)
        found, support = reading.found, reading.support
        searched = time.perf_counter()
        told = asked.by.told(question) | {"scope": asked.scoped.as_json(widened=reading.widened) | asked.where}
        yield {"type": "searched", **told, "passages": len(found.passages)}

        composer, first = Composer(found.passages), None
        judged, cited = list[dict[str, Any]](), list[Sentence]()
        drafting = _Drafting()
        if support >= self._threshold:
            wears = live.asked(lent.adapters.get(GENERATOR), plain=lent.plain(GENERATOR))
            ask = Ask(question=question, history=asked.history, wishes=asked.wishes, adapter=wears)
            with closing(drafting.of(self._generators[name].stream(ask, found.passages))) as sentences:
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
            "slice": asked.slice,
            **told,
            "adapters": {RETRIEVER: found.adapter, GENERATOR: writer},
            "chosen": lent.as_json(),
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
        return done, found.when.at

    def _read(self, asked: Asked, lent: Lent) -> _Reading:
        """Passages and what they say.

        What the question seemed to say of where to look is a guess: where that supports nothing, all is looked at.
        """
        reading = self._read_in(asked, asked.scoped.scope, lent)
        if reading.support >= self._threshold or asked.scoped.inferred is None:
            return reading
        return replace(self._read_in(asked, asked.scoped.wide, lent), widened=True)

    def _read_in(self, asked: Asked, scope: Scope, lent: Lent) -> _Reading:
        how = How(adapter=lent.pinned(RETRIEVER))
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


def taking_part(asks: Asks, lent: Lent, done: Mapping[str, Any]) -> list[Exposure]:
    """What the record says of the trials that an answer was part of.

    An answer that another adapter than its arm's gave in the end, because that could not be loaded, says nothing of
    the arm and takes no part.
    """
    rows = []
    for kind, choice in lent.choices.items():
        if choice.arm is None or choice.rollout is None or asks.unit is None:
            continue
        if done["adapters"].get(kind) == (choice.order[0].name if choice.order else None):
            rows.append(
                Exposure(
                    rollout=choice.rollout,
                    turn=done["turn"],
                    arm=choice.arm,
                    unit=digest(f"{choice.rollout}\0{asks.unit}")[:16],
                    abstained=int(done["abstained"]),
                    ms=done["ms"]["total"],
                    created=now_ms(),
                )
            )
    return rows


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
