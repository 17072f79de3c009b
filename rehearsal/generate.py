"""Examples from documents: questions about their sections, kept where retrieval finds its way back from them.

    document ─▶ sections ─▶ a generator that writes, or else rules ─▶ question, answer, quote
             ─▶ is the quote there, is the answer in it ─▶ a search: is the quote's chunk among the first k
             ─▶ examples of origin `document`, and a count of what was thrown away, by reason

A question that a search cannot answer is no example of one that can be answered: it is too vague, or about nothing
the section says. And one about a passage that is not found would teach an adapter noise. Questions are made from whole
sections rather than chunks: where a chunk was cut is no border of what somebody asks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import select

from ingest.library import Library
from ingest.tables import Document, Position
from kernel.database import Database
from kernel.errors import TryAgain, UserError
from kernel.ports import Generator, Proposing
from kernel.types import Passage, Progress, silent
from rehearsal.drafts import ORDER, Draft, Section, drafts, small_words
from rehearsal.examples import MOVED, Examples, NewExample
from rehearsal.ground import Quote, chunk_of
from retrieval.search import Scope, Search
from retrieval.words import coverage, stems

EACH = 3
"""Questions of a section at most: a long list is not to be all that is asked."""
LIMIT = 200
"""Examples that are kept at most where nobody says otherwise."""

_BATCH = 64
_WINDOW = 2400
"""Characters of a section that a model is shown at a time; it is cut at an empty line."""
_SAID = 0.5
"""Share of an answer's words that its quote must have, where a model wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A live version that is asked about."""

    document: Document
    version: int
    text: str
    sections: tuple[Section, ...]


@dataclass(slots=True, kw_only=True)
class _Told:
    """What became of the questions so far."""

    proposed: int = 0
    kept: int = 0
    documents: int = 0
    examples: list[str] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


class Generation:
    """Makes examples of documents. `top` is how far down a round trip may find its source, from 1."""

    def __init__(
        self, db: Database, library: Library, search: Search, examples: Examples, generator: Generator, top: int
    ) -> None:
        self._db, self._library, self._search, self._examples = db, library, search, examples
        self._generator, self._top = generator, top

    def run(
        self,
        documents: Sequence[str],
        workspace: str,
        limit: int = LIMIT,
        *,
        hold: bool = False,
        actor: str = "local",
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """Make up to `limit` examples of these documents, or of all of a workspace.

        Returns `{"by", "documents", "proposed", "kept", "examples": [id], "rules": {rule: n}, "dropped": {why: n}}`.
        With `hold` they wait in quarantine for a person.

        Raises:
            NotFound: no such document.
            UserError: a limit below 1.
            Upstream: a model server did not answer well.
        """
        if limit < 1:
            raise UserError(f"limit is {limit}", hint="give the number of examples to make, 1 or more")
        told = _Told()
        writes = isinstance(self._generator, Proposing)
        sources = self._sources(documents, workspace)
        told.documents = len(sources)
        batch: list[tuple[Draft, NewExample]] = []
        for done, (source, draft) in enumerate(self._asked(sources, told, progress)):
            progress("checking questions", told.kept, limit)
            if done and told.kept + len(batch) >= limit:
                self._keep(batch, told, actor)  # some of them may be known: only then is it said how many are missing
                batch = []
                if told.kept >= limit:
                    break
            told.proposed += 1
            reason, new = self._checked(source, draft, hold)
            if new is None:
                told.dropped[reason] += 1
                continue
            batch.append((draft, new))
            if len(batch) >= _BATCH:
                self._keep(batch, told, actor)
                batch = []
        self._keep(batch, told, actor)
        return {
            "by": self._generator.name if writes else "rules",
            "documents": told.documents,
            "proposed": told.proposed,
            "kept": told.kept,
            "examples": told.examples,
            "rules": dict(sorted(told.rules.items())),
            "dropped": dict(sorted(told.dropped.items())),
        }

    # --- asking ----------------------------------------------------------------------------------

    def named(self, documents: Sequence[str], workspace: str) -> list[str]:
        """The ids of documents that are named by id, or by name in the workspace.

        Raises:
            NotFound: no such document.
        """
        with self._db.read() as session:
            ids = set(session.scalars(select(Document.id).where(Document.id.in_(documents))))
        return [self._library.find(doc, None if doc in ids else workspace).id for doc in documents]

    def _sources(self, documents: Sequence[str], workspace: str) -> list[_Source]:
        named = self.named(documents, workspace)
        if not documents:
            named = [row["document"] for row in self._library.documents(workspace) if row["live_version"]]
        found = []
        for one in dict.fromkeys(named):
            document, version = self._library.version(one)
            text = self._library.text_of(version.text_key)
            with self._db.read() as session:
                here = select(Position).where(Position.document == one, Position.version == version.number)
                positions = list(session.scalars(here.order_by(Position.ordinal)))
            small = small_words(text)
            sections = []
            for heading, group in groupby(positions, key=lambda p: p.heading):
                span = list(group)
                start, end = span[0].start, max(p.end for p in span)
                sections.append(
                    Section(
                        text=text[start:end],
                        start=start,
                        heading=heading,
                        title=document.title,
                        language=version.language or "und",
                        small=small,
                    )
                )
            found.append(_Source(document=document, version=version.number, text=text, sections=tuple(sections)))
        return found

    def _asked(self, sources: Sequence[_Source], told: _Told, progress: Progress) -> Iterator[tuple[_Source, Draft]]:
        """Drafts of all documents, in turns: the most natural of each first, so that a limit leaves no document out."""
        if isinstance(self._generator, Proposing):
            yield from self._written(sources, self._generator, told, progress)
            return
        lines = []
        for done, source in enumerate(sources):
            progress("reading documents", done, len(sources))
            drafted = [drafts(section) for section in source.sections]
            asked = Counter(d.question.casefold() for section in drafted for d in section)
            # Counted before the best are taken: what is asked of one place of those may be asked of others.
            once = [d for section in drafted for d in _best([d for d in section if asked[d.question.casefold()] == 1])]
            twice = sum(n for n in asked.values() if n > 1)
            if twice:
                told.proposed += twice
                told.dropped["asked of several places of the document"] += twice
            lines.append([(source, d) for d in sorted(once, key=lambda d: (ORDER.index(d.rule), d.start))])
        yield from _in_turns(lines)

    def _written(
        self, sources: Sequence[_Source], generator: Proposing, told: _Told, progress: Progress
    ) -> Iterator[tuple[_Source, Draft]]:
        windows = [[(source, section) for section in _windows(source)] for source in sources]
        total = sum(map(len, windows))
        for done, (source, section) in enumerate(_in_turns(windows)):
            progress("writing questions", done, total)
            try:
                proposed = generator.propose(_passage(source, section), EACH)
            except UserError:
                told.dropped["the section does not fit the model"] += 1
                continue
            for one in proposed:
                span = _span(section.text, one.quote)
                if span is None:
                    told.proposed += 1
                    told.dropped["the model quoted what is not there"] += 1
                    continue
                start, end = (section.start + at for at in span)
                yield source, Draft(question=one.question, answer=one.answer, start=start, end=end, rule="written")

    # --- checking --------------------------------------------------------------------------------

    def _checked(self, source: _Source, draft: Draft, hold: bool) -> tuple[str, NewExample | None]:
        """A draft as an example, or why it is none."""
        quote = source.text[draft.start : draft.end]
        said = stems(draft.answer)
        if draft.rule == "written" and (not said or coverage(said, set(stems(quote)), {}) < _SAID):
            return "the quote does not say what the answer says", None
        if len(stems(draft.question)) < 1:
            return "no word to search for", None
        with self._db.read() as session:
            chunk = chunk_of(session, source.document.id, source.version, draft.start, draft.end)
        if chunk is None:
            return "no chunk holds the quote", None
        scope = Scope(workspace=source.document.workspace)
        rank = next(
            (p.rank for p in self._search.search(draft.question, self._top, scope).passages if p.chunk == chunk), None
        )
        if rank is None:
            return f"a search does not find its source among the first {self._top}", None
        return "", NewExample(
            workspace=source.document.workspace,
            question=draft.question,
            quotes=(Quote(document=source.document.id, point=chunk, text=quote),),
            answer=draft.answer or None,
            origin="document",
            quarantine="made from a document; waits for a person" if hold else "",
            told={"rule": draft.rule, "by": self._generator.name if draft.rule == "written" else "rules", "rank": rank},
        )

    def _keep(self, batch: list[tuple[Draft, NewExample]], told: _Told, actor: str) -> None:
        try:
            found = self._examples.take([new for _, new in batch], actor=actor)
        except TryAgain as error:
            if error.code != MOVED:
                raise
            if len(batch) == 1:
                told.dropped["its passage changed meanwhile"] += 1
            else:  # which one it was is not said
                for one in batch:
                    self._keep([one], told, actor)
            return
        for (draft, _), taken in zip(batch, found, strict=True):
            if taken.example is None:
                told.dropped[f"there already: {taken.why}"] += 1
            else:
                told.kept += 1
                told.rules[draft.rule] += 1
                told.examples.append(taken.example)


def _best(found: Sequence[Draft]) -> list[Draft]:
    """The most natural questions of a section, spread over it."""
    ranked = sorted(enumerate(found), key=lambda one: (ORDER.index(one[1].rule), one[0]))
    if len(ranked) <= EACH:
        return [draft for _, draft in ranked]
    first = [draft for _, draft in ranked if draft.rule not in ("field", "value")][:EACH]
    listed = [draft for _, draft in ranked if draft.rule in ("field", "value")]
    left = max(EACH - len(first), len(listed) // _OF_LISTED)
    step = max(1, len(listed) // max(1, left))
    return first + listed[::step][:left]


_OF_LISTED = 2
"""Rows and lines of which one is asked about: a table is many facts in one section."""


def _in_turns(lines: Sequence[Sequence[Any]]) -> Iterator[Any]:
    """The first of each, then the second of each, and so on."""
    for place in range(max(map(len, lines), default=0)):
        for line in lines:
            if place < len(line):
                yield line[place]


def _windows(source: _Source) -> Iterator[Section]:
    """Sections no longer than a model is shown at once."""
    for section in source.sections:
        at = 0
        while at < len(section.text):
            end = len(section.text)
            if end - at > _WINDOW:
                cut = section.text.rfind("\n\n", at + _WINDOW // 2, at + _WINDOW)
                end = cut if cut > 0 else section.text.find(" ", at + _WINDOW)
                end = end if end > 0 else at + _WINDOW
            if len(stems(section.text[at:end])) > 5:
                yield Section(
                    text=section.text[at:end],
                    start=section.start + at,
                    heading=section.heading,
                    title=section.title,
                    language=section.language,
                )
            at = end


def _passage(source: _Source, section: Section) -> Passage:
    return Passage(
        chunk="",
        document=source.document.id,
        name=source.document.name,
        title=source.document.title,
        version=source.version,
        start=section.start,
        end=section.start + len(section.text),
        text=section.text,
        heading=section.heading,
    )


def _span(text: str, quote: str) -> tuple[int, int] | None:
    """Where the words of `quote` stand in `text`, whatever white space and case a model copied them with."""
    words = [re.escape(word) for word in quote.split()]
    if len(words) < 3:
        return None
    match = re.search(r"\s+".join(words), text) or re.search(r"\s+".join(words), text, re.I)
    return match.span() if match else None
