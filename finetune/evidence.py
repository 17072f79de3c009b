"""What the platform knows that advice is given by: how documents change, what is asked, found, shown and liked.

Nothing is kept and nothing is changed. Questions that the champion has practised are not asked of it: it would only
show that it remembers. Where a document has no examples, questions are made of it by rule; they share words with the
text, so what they do not find is hard to find indeed, and what they find proves little.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import median
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.advice import Facts
from finetune.evaluate import Evaluator, Question, Scores
from finetune.registry import Registry
from finetune.tables import Run
from ingest.library import Library
from ingest.tables import Document, Position, Version
from kernel.database import Database
from kernel.ids import digest, now_ms
from kernel.tables import Job
from rehearsal.drafts import Section, drafts, small_words
from rehearsal.ground import chunk_of
from rehearsal.standing import source_changed
from rehearsal.tables import Example, ExampleEvent, Ground, MixRow
from retrieval.live import RETRIEVER, LiveRetriever
from retrieval.tables import Feedback, Turn

_DAY = 86_400_000
WINDOW_DAYS = 90
MOST_QUESTIONS, MOST_TURNS = 400, 5000
PSEUDO = 5
"""Questions made of a document that has no examples."""
SECONDS_PER_CHUNK, SECONDS_PER_EXAMPLE = 0.05, 0.16
"""First estimates on two cores, until this platform has done either."""
OVERHEAD_SECONDS = 10.0
"""Of a retrain, whatever its mix: starting, judging."""


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What turns say of one document."""

    asked: int = 0
    rated: int = 0
    unhappy: int = 0
    overlooked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Used:
    """What the turns of a workspace say."""

    turns: int = 0
    unanswered: int = 0
    of: dict[str, _Seen] = field(default_factory=lambda: defaultdict(_Seen))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What base and champion found of the questions of a workspace."""

    questions: tuple[Question, ...]
    base: Scores
    champion: Scores


class Evidence:
    """Gathers facts. Safe from several threads."""

    def __init__(
        self,
        db: Database,
        library: Library,
        evaluator: Evaluator,
        registry: Registry,
        live: LiveRetriever,
        kinds: Iterable[str],
        rho: float,
    ) -> None:
        self._db, self._library, self._evaluator = db, library, evaluator
        self._registry, self._live, self._kinds, self._rho = registry, live, tuple(kinds), rho

    def gather(self, workspace: str, document: str | None = None, slice_name: str | None = None) -> list[Facts]:
        """Facts of one document, of one slice, or of the workspace with all its documents and slices.

        Raises:
            NotFound: no such document.
        """
        named = self._library.find(document, workspace).id if document is not None else None
        with self._db.read() as session:
            examples = list(session.scalars(select(Example).where(Example.workspace == workspace)))
            grounds: dict[str, set[str]] = defaultdict(set)
            ours = select(Ground.example, Ground.document).join(Example, Example.id == Ground.example)
            for example, on in session.execute(ours.where(Example.workspace == workspace)):
                grounds[example].add(on)
            used, gone = _used(session, workspace, grounds), _lately_superseded(session, workspace)
            costs = self._costs(session)
            live = select(Document).where(Document.workspace == workspace, Document.state == "live")
            histories = {d.id: _history(session, d, workspace) for d in session.scalars(live.order_by(Document.name))}
        histories = {one: told for one, told in histories.items() if told.chunks}
        wanted = list(histories.values()) if slice_name is None else []
        if named is not None:
            wanted = [histories[named]] if named in histories else []
        measured = self._measure(workspace)
        found = [
            self._document(told, [e for e in examples if told.document in grounds[e.id]], gone, used, measured, costs)
            for told in wanted
        ]
        if named is not None:
            return found
        known = {e.stratum for e in examples if e.status == "approved"}
        slices = sorted(known if slice_name is None else known & {slice_name})
        for name in slices:
            mine = [e for e in examples if e.stratum == name]
            found.append(_slice(name, workspace, mine, gone, grounds, histories, used, measured, costs))
        if slice_name is not None:
            return found
        whole = Facts(subject="workspace", name=workspace, workspace=workspace, turns=used.turns,
                      unanswered=used.unanswered, asked=used.turns, index_seconds=costs["chunk"] * 20)  # fmt: skip
        return [whole, *found]

    def _document(
        self,
        history: Facts,
        examples: Sequence[Example],
        gone: Set[str],
        used: _Used,
        measured: _Measured,
        costs: Mapping[str, Any],
    ) -> Facts:
        assert history.document is not None
        seen = used.of[history.document]
        asked = [q for q in measured.questions if history.document in q.sources]
        by: Literal["examples", "pseudo-questions"] = "examples"
        if not asked:
            asked, by = self._pseudo(history), "pseudo-questions"
            measured = self._score(asked)
        return replace(
            history,
            asked=seen.asked, turns=used.turns, rated=seen.rated, unhappy=seen.unhappy, overlooked=seen.overlooked,
            superseded=len(gone & {e.id for e in examples}),
            **_material(examples), **_figures(asked, measured, by), **_seconds(history, costs),
        )  # fmt: skip

    # --- what is found -----------------------------------------------------------------------------

    def _measure(self, workspace: str) -> _Measured:
        """Base and champion on questions that the champion has not practised, at most `MOST_QUESTIONS` of them."""
        asked = [*self._evaluator.questions(workspace), *self._evaluator.questions(workspace, "train")]
        lineage = self._registry.lineage(RETRIEVER)
        with self._db.read() as session:
            practised = set(session.scalars(select(MixRow.example).where(MixRow.run.in_(lineage))))
        fresh = [q for q in asked if q.example not in practised and (q.points or q.documents)]
        return self._score(sorted(fresh, key=lambda q: digest(f"advice:{q.example}"))[:MOST_QUESTIONS])

    def _score(self, asked: Sequence[Question]) -> _Measured:
        champion = self._registry.champion(RETRIEVER)
        when = self._evaluator.when()
        base = self._evaluator.score(asked, None, when)
        if champion is None or not asked:
            return _Measured(questions=tuple(asked), base=base, champion=base)
        self._live.load(champion, self._registry.path(champion))
        return _Measured(questions=tuple(asked), base=base, champion=self._evaluator.score(asked, champion, when))

    def _pseudo(self, history: Facts) -> list[Question]:
        """Questions made of a document by rule, spread over its sections."""
        assert history.document is not None
        document, version = self._library.version(history.document)
        text = self._library.text_of(version.text_key)
        small = small_words(text)
        with self._db.read() as session:
            here = select(Position).where(Position.document == document.id, Position.version == version.number)
            spans = [(p.heading, p.start, p.end) for p in session.scalars(here.order_by(Position.ordinal))]
            made = []
            for heading, group in groupby(spans, key=lambda s: s[0]):
                some = list(group)
                section = Section(text=text[some[0][1] : some[-1][2]], start=some[0][1], heading=heading,
                                  title=document.title, language=version.language or "und", small=small)  # fmt: skip
                for draft in drafts(section)[:1]:
                    chunk = chunk_of(session, document.id, version.number, draft.start, draft.end)
                    if chunk is not None:
                        made.append((draft.question, chunk))
        step = max(1, len(made) // PSEUDO)
        return [
            Question(example=f"{document.id}:{n}", question=question, slice="", pinned=False,
                     workspace=history.workspace, points=frozenset({chunk}), documents=frozenset(),
                     sources=frozenset({document.id}))
            for n, (question, chunk) in enumerate(made[::step][:PSEUDO])
        ]  # fmt: skip

    # --- what it costs -----------------------------------------------------------------------------

    def _costs(self, session: Session) -> dict[str, Any]:
        """Seconds per chunk of an ingest, and per example of a retrain by kind: medians of this platform's own."""
        done = select(Job.result).where(Job.kind == "ingest", Job.state == "done").order_by(Job.serial.desc()).limit(20)
        rates = []
        for result in session.scalars(done):
            new = sum(row.get("chunks_new") or 0 for row in (result or {}).get("documents", ()))
            if new:
                rates.append(result["seconds"] / new)
        runs = session.scalars(select(Run).where(Run.finished.is_not(None)).order_by(Run.created.desc()).limit(20))
        by_kind: dict[str, list[float]] = defaultdict(list)
        for run in runs:
            if run.metrics.get("seconds_per_example"):
                by_kind[run.kind].append(run.metrics["seconds_per_example"])
        return {
            "chunk": median(rates) if rates else SECONDS_PER_CHUNK,
            "rho": self._rho,
            "kinds": {k: median(by_kind[k]) if by_kind[k] else SECONDS_PER_EXAMPLE for k in self._kinds},
        }


def _slice(
    name: str,
    workspace: str,
    examples: Sequence[Example],
    gone: Set[str],
    grounds: Mapping[str, set[str]],
    histories: Mapping[str, Facts],
    used: _Used,
    measured: _Measured,
    costs: Mapping[str, Any],
) -> Facts:
    """A slice changes as its documents do, each by how many of its examples stand on it."""
    weights = Counter(d for e in examples if e.status == "approved" for d in grounds[e.id] if d in histories)
    total = max(1, weights.total())
    seen = [used.of[d] for d in weights]
    ids = {e.id for e in examples}
    facts = Facts(
        subject="slice", name=name, workspace=workspace,
        chunks=sum(histories[d].chunks for d in weights),
        days=max((histories[d].days for d in weights), default=0.0),
        changes=sum(histories[d].changes * n for d, n in weights.items()) / total,
        turnover=sum(histories[d].turnover * n for d, n in weights.items()) / total,
        superseded=len(gone & {e.id for e in examples}),
        asked=sum(s.asked for s in seen), turns=used.turns, rated=sum(s.rated for s in seen),
        unhappy=sum(s.unhappy for s in seen), overlooked=sum(s.overlooked for s in seen),
    )  # fmt: skip
    asked = [q for q in measured.questions if q.example in ids]
    return replace(facts, **_material(examples), **_figures(asked, measured, "examples"), **_seconds(facts, costs))


def _history(session: Session, document: Document, workspace: str) -> Facts:
    """How a document changed. Versions that only cut the same text anew are no change of it."""
    mine = select(Version).where(Version.document == document.id, Version.state != "staged").order_by(Version.number)
    versions = [v for v in session.scalars(mine) if v.cause != "rechunk" or v.number == 1]
    if not versions:
        return Facts(subject="document", name=document.name, document=document.id, workspace=workspace)
    days = (now_ms() - versions[0].created) / _DAY
    newest, later = versions[-1], versions[1:]
    chunks = newest.chunks_new + newest.chunks_kept
    retired = sum(v.chunks_retired for v in later)
    return Facts(
        subject="document", name=document.name, document=document.id, workspace=workspace, chunks=chunks, days=days,
        changes=len(later), turnover=retired / max(1, chunks) / max(days, 30.0) * 30.0,
    )  # fmt: skip


def _used(session: Session, workspace: str, grounds: Mapping[str, set[str]]) -> _Used:
    """Turns of the last days with what became of them, newest first, at most `MOST_TURNS`."""
    since = now_ms() - WINDOW_DAYS * _DAY
    within = (Turn.workspace == workspace, Turn.created >= since)
    turns = list(session.scalars(select(Turn).where(*within).order_by(Turn.created.desc()).limit(MOST_TURNS)))
    said: dict[str, list[Feedback]] = defaultdict(list)
    votes = select(Feedback).join(Turn, Turn.id == Feedback.turn).where(*within).order_by(Feedback.created)
    for one in session.scalars(votes):
        said[one.turn].append(one)
    of: dict[str, _Seen] = defaultdict(_Seen)
    unanswered = 0
    for turn in turns:
        cited = {c["document"] for c in turn.shown.get("citations", ())}
        shown = cited | {c["document"] for c in turn.shown.get("closest", ())}
        for document in cited:
            of[document].asked += 1
        last = said[turn.id][-1] if said[turn.id] else None
        corrected = next((f for f in reversed(said[turn.id]) if f.correction), None)
        right = grounds.get(corrected.example, set()) if corrected and corrected.example else set()
        for document in right - shown:
            of[document].overlooked += 1
        unanswered += (corrected is not None and not right) or (bool(turn.shown.get("abstained")) and corrected is None)
        if last is not None:
            for document in right & shown if corrected else cited:
                of[document].rated += 1
                of[document].unhappy += bool(corrected) or last.vote == "down"
    return _Used(turns=len(turns), unanswered=unanswered, of=of)


def _figures(asked: Sequence[Question], measured: _Measured, by: str) -> dict[str, Any]:
    if not asked:
        return {"judged": 0, "judged_by": "nothing"}
    found = [
        any(p.chunk in q.points or p.document in q.documents for p in measured.champion.top.get(q.example, ()))
        for q in asked
    ]
    return {
        "judged": len(asked),
        "judged_by": by,
        "found": sum(found) / len(found),
        "ndcg_base": _mean(asked, measured.base.served),
        "ndcg_champion": _mean(asked, measured.champion.served),
    }


def _mean(asked: Sequence[Question], scores: Mapping[str, float]) -> float | None:
    known = [scores[q.example] for q in asked if q.example in scores]
    return round(sum(known) / len(known), 4) if known else None


def _material(examples: Sequence[Example]) -> dict[str, Any]:
    approved = Counter(e.split for e in examples if e.status == "approved")
    return {"train": approved["train"], "held_out": approved["held-out"]}


def _lately_superseded(session: Session, workspace: str) -> set[str]:
    """Examples of a workspace that were retired in the last days because their source changed."""
    since = ExampleEvent.what == "retired", ExampleEvent.at >= now_ms() - WINDOW_DAYS * _DAY
    ours = select(ExampleEvent).join(Example, Example.id == ExampleEvent.example)
    events = session.scalars(ours.where(*since, Example.workspace == workspace))
    return {event.example for event in events if source_changed(event)}


def _seconds(facts: Facts, costs: Mapping[str, Any]) -> dict[str, Any]:
    """A retrain is on the subject's examples, thirty at least, and on what is recalled beside them."""
    rows = max(30, facts.train) / (1 - costs["rho"])
    each = {kind: round(rate * rows + OVERHEAD_SECONDS, 1) for kind, rate in costs["kinds"].items()}
    return {
        "index_seconds": round(costs["chunk"] * facts.chunks, 2),
        "retriever_seconds": each.get(RETRIEVER, 0.0),
        "generator_seconds": each.get("generator"),
    }
