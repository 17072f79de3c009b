"""Reading, importing, exporting and erasing examples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from ingest.library import Library
from ingest.tables import Document
from kernel.database import Database, listed
from kernel.errors import NotFound
from kernel.ids import iso, now_ms
from kernel.ports import VectorIndex
from kernel.types import When
from rehearsal.examples import Examples, NewExample
from rehearsal.ground import Quote, mentioning, standing_only_on
from rehearsal.history import events, forget, forms, note
from rehearsal.intake import Intake
from rehearsal.tables import Example, ExampleMemory, Ground, Mention
from retrieval.search import Scope, Search
from retrieval.tables import Feedback, Turn
from retrieval.turns import REDACTED, written

SUPPORTED_CORRECTION = 0.5
"""Share of a correction's words that a passage must hold to ground it."""


class Memory:
    """The examples of a platform, as its doors see them. Also an `Eraser` and an `Expirer` of `ingest`."""

    def __init__(self, db: Database, index: VectorIndex, library: Library, examples: Examples, search: Search) -> None:
        self._db, self._index, self._library, self._examples, self._search = (
            db,
            index,
            library,
            examples,
            search,
        )
        self._intake = Intake(db, library, examples)

    def import_rows(self, content: str, workspace: str, slice_name: str | None = None) -> dict[str, Any]:
        """Take rows of JSON lines or a CSV; what was wrong with which line. Good rows are kept, whatever others are."""
        return self._intake.take(content, workspace, slice_name)

    def from_turn(self, turn: Turn, vote: str, correction: str | None, *, consent: bool = False) -> str | None:
        """The example a vote makes: a thumb up keeps what was cited, a correction what supports it; None for neither.

        It is in no slice, since nobody named one: topics sort it by what it is about, and its origin says where from.
        A correction that no passage supports is quarantined, not trusted. A turn into which earlier turns or a person's
        wishes went makes none without that person's `consent`: its question, or its answer, holds words of them.
        """
        if turn.personal and not consent:
            return None
        shown = turn.shown
        if correction:
            quotes: tuple[Quote, ...] = self._support(turn, correction)
            origin, answer = "correction", correction
            cited = {(c["document"], c["chunk"]) for c in shown["citations"]}
            mentions = tuple(sorted(cited - {(q.document, q.point) for q in quotes}))
        elif vote == "up" and not shown["abstained"] and shown["citations"]:
            # All that is cited: the answer says what each of them says, and must go with any of them.
            said = dict.fromkeys((c["document"], c["chunk"], c["quote"]) for c in shown["citations"])
            quotes = tuple(Quote(document=document, point=point, text=text) for document, point, text in said)
            origin, answer, mentions = "thumbs", written(shown), ()
            if not self._standing(quotes):
                return None  # what was praised has changed since
        else:
            return None
        new = NewExample(
            workspace=turn.workspace,
            question=turn.meant,
            quotes=quotes,
            answer=answer,
            preferred=correction or None,
            rejected=written(shown) if correction and not shown["abstained"] else None,
            origin=origin,
            mentions=mentions,
        )
        return self._examples.add([new], replace=True)[0]

    def listing(
        self,
        status: str | None = None,
        workspace: str | None = None,
        *,
        slice_name: str | None = None,
        origin: str | None = None,
        split: str | None = None,
        cluster: str | None = None,
        text: str | None = None,
    ) -> list[dict[str, Any]]:
        """Newest first. `slice_name` is what they are counted in; `text` stands in the question or an answer."""
        exactly = {"status": status, "workspace": workspace, "origin": origin, "split": split, "cluster": cluster}
        with self._db.read() as session:
            wanted = select(Example).where(Example.status != "staged").order_by(Example.created.desc(), Example.id)
            for name, value in exactly.items():
                if value is not None:
                    wanted = wanted.where(getattr(Example, name) == value)
            rows = [e for e in session.scalars(wanted) if slice_name is None or slice_name in (e.slice, e.stratum)]
            if text is not None:  # not by SQL: SQLite folds the case of ASCII alone
                rows = [e for e in rows if text.casefold() in f"{e.question}\n{e.answer}\n{e.preferred}".casefold()]
            names, memories = _documents(session), _memories(session)
            return [_json(e, names.get(e.id, []), memories.get(e.id, [])) for e in rows]

    def history(self, example: str) -> list[dict[str, Any]]:
        """What happened to an example, oldest first, from before it was edited on: rows of `history.events`.

        Raises:
            NotFound: no such example.
        """
        with self._db.read() as session:
            found = session.get(Example, example)
            if found is None or found.status == "staged":
                raise NotFound(f"no example {example!r}", hint="`reprise examples list` shows them")
            return events(session, found)

    def export_jsonl(self) -> Iterator[str]:
        """Approved examples as import rows, one JSON line each."""
        with self._db.read() as session:
            named = {document.id: document.name for document in session.scalars(select(Document))}
            for example in session.scalars(select(Example).where(Example.status == "approved").order_by(Example.id)):
                grounds = list(session.scalars(select(Ground).where(Ground.example == example.id)))
                grounds.sort(key=lambda g: (named[g.document], g.quote))  # the same in every database
                row: dict[str, Any] = {
                    name: getattr(example, name) for name in ("question", "answer", "preferred", "rejected")
                }
                row |= {"slice": example.slice, "licence": example.licence, "pinned": bool(example.pinned)}
                row["split"] = example.split
                if len(grounds) == 1 and grounds[0].quote:
                    row |= {"document": named[grounds[0].document], "quote": grounds[0].quote}
                elif grounds:
                    # A whole document is grounded on several of its chunks, and is named once.
                    row["relevant"] = [
                        {"document": named[document], **({"quote": quote} if quote else {})}
                        for document, quote in dict.fromkeys((g.document, g.quote) for g in grounds)
                    ]
                else:
                    row["standalone"] = True
                yield json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) + "\n"

    def forms(self, examples: Iterable[str]) -> set[str]:
        """These examples and all that they were edited into."""
        with self._db.read() as session:
            return forms(session, examples)

    def withdraw(self, examples: Sequence[str], reason: str) -> int:
        """Take examples away with their words, as if they had never been made; how many there were."""
        with self._db.read() as session:
            wanted = select(Example).where(Example.id.in_(listed(examples)), Example.question != REDACTED)
            found = {e.id: e.point for e in session.scalars(wanted)}
        return self._redact(found, reason)

    def status(self, example: str) -> str:
        """approved, quarantined or retired."""
        with self._db.read() as session:
            return session.get_one(Example, example).status

    def counts(self) -> dict[str, int]:
        with self._db.read() as session:
            rows = session.execute(select(Example.status, func.count()).group_by(Example.status))
            return {status: n for status, n in rows if status != "staged"}

    # --- ingest.delete.Eraser, ingest.retention.Expirer ---------------------------------------------

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """Examples grounded in the document go whole: their words may be its words. Of others go its words alone."""
        with self._db.read() as session:
            on_it = select(Example).join(Ground, Ground.example == Example.id).where(Ground.document == document)
            found = {e.id: e.point for e in session.scalars(on_it)}
        found |= self._unsay(Mention.document == document, "source deleted")
        return {"examples": self._redact(found, "source deleted")}

    def expire(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """Examples that stand on these chunks alone go whole. They had retired when their source was superseded."""
        with self._db.read() as session:
            found = standing_only_on(session, document, points)
        found |= self._unsay(mentioning(document, points), "source expired")
        return {"examples": self._redact(found, "source expired")}

    def _unsay(self, mentioned: ColumnElement[bool], reason: str) -> dict[str, str]:
        """Take away the answers that were shown and corrected where they cite this: the correction stands on something
        else, and stays. What is to go whole is returned, as any of its words may be of this."""
        with self._db.write() as session:
            wanted = select(Example.id, Example.point, Example.rejected, func.max(Mention.whole).label("whole"))
            wanted = wanted.join(Mention, Mention.example == Example.id).where(mentioned)
            hit = list(session.execute(wanted.group_by(Example.id, Example.point, Example.rejected)))
            corrected = {e.id: e.rejected for e in hit if not e.whole}
            session.execute(update(Example).where(Example.id.in_(listed(corrected))).values(rejected=None))
            told = [example for example, rejected in corrected.items() if rejected is not None]
            note(session, "edited", told, now_ms(), changed=["rejected"], reason=reason)
            session.execute(delete(Mention).where(mentioned, Mention.example.in_(listed(corrected))))
        return {e.id: e.point for e in hit if e.whole}

    def _redact(self, examples: dict[str, str], reason: str) -> int:
        """Take examples (with their points) away, and the corrections that people gave them their words with."""
        self._index.delete(list(examples.values()))
        with self._db.write() as session:
            ours = Example.id.in_(listed(examples))
            words = {w for pair in session.execute(select(Example.answer, Example.preferred).where(ours)) for w in pair}
            corrected = Feedback.correction.in_(listed(w for w in words if w is not None))
            session.execute(update(Feedback).where(corrected).values(correction=REDACTED))
            session.execute(delete(Ground).where(Ground.example.in_(listed(examples))))
            session.execute(delete(Mention).where(Mention.example.in_(listed(examples))))
            forget(session, examples)
            note(session, "retired", examples, now_ms(), reason=reason)
            session.execute(
                update(Example)
                .where(ours)
                .values(
                    question=REDACTED,
                    question_key="",
                    answer=None,
                    preferred=None,
                    rejected=None,
                    cluster="",
                    status="retired",
                    reason=reason,
                )
            )
        return len(examples)

    # --- helpers of feedback --------------------------------------------------------------------

    def _support(self, turn: Turn, correction: str) -> tuple[Quote, ...]:
        """The passage that holds most of a correction's words, if it holds enough of them."""
        words = _words(correction)
        best: tuple[float, Quote] | None = None
        for query in (correction, f"{turn.meant} {correction}"):
            for passage in self._search.search(query, 5, Scope(workspace=turn.workspace)).passages:
                share = len(words & _words(passage.text)) / max(1, len(words))
                if best is None or share > best[0]:
                    best = (share, Quote(document=passage.document, point=passage.chunk, text=passage.text))
        return (best[1],) if best and best[0] >= SUPPORTED_CORRECTION else ()

    def _standing(self, quotes: tuple[Quote, ...]) -> bool:
        when: When = self._search.when()
        return len(self._library.place([q.point for q in quotes], when)) == len({q.point for q in quotes})


def _words(text: str) -> set[str]:
    import re

    return {w for w in re.findall(r"\w+", text.casefold()) if len(w) > 2 or w.isdigit()}


def _documents(session: Session) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    rows = select(Ground.example, Document.name).join(Document, Document.id == Ground.document).distinct()
    for example, name in session.execute(rows):
        names.setdefault(example, []).append(name)
    return names


def _memories(session: Session) -> dict[str, list[ExampleMemory]]:
    found: dict[str, list[ExampleMemory]] = {}
    for memory in session.scalars(select(ExampleMemory).order_by(ExampleMemory.kind)):
        found.setdefault(memory.example, []).append(memory)
    return found


def _remembered(memories: Sequence[ExampleMemory]) -> dict[str, Any]:
    """Counts over all kinds, and the state that the last rehearsal left; all of it by kind in `memory`."""
    latest = max(memories, key=lambda m: m.last_rehearsed or 0, default=None)
    return {
        "rehearsed": sum(m.rehearsed for m in memories),
        "last_loss": latest.last_loss if latest else None,
        "last_rehearsed": iso(latest.last_rehearsed) if latest else None,
        "strength": latest.strength if latest else 0.0,
        "forgotten": sum(m.forgotten for m in memories),
        "memory": {
            m.kind: {
                "rehearsed": m.rehearsed,
                "last_loss": m.last_loss,
                "last_rehearsed": iso(m.last_rehearsed),
                "strength": m.strength,
                "forgotten": m.forgotten,
            }
            for m in memories
        },
    }


def _json(e: Example, documents: list[str], memories: Sequence[ExampleMemory]) -> dict[str, Any]:
    return {
        "example": e.id,
        "question": e.question,
        "answer": e.answer,
        "origin": e.origin,
        "slice": e.slice,
        "split": e.split,
        "status": e.status,
        "reason": e.reason,
        "pinned": bool(e.pinned),
        "workspace": e.workspace,
        "documents": documents,
        **_remembered(memories),
        "cluster": e.cluster,
        "counted_in": e.stratum,
        "preferred": e.preferred,
        "rejected": e.rejected,
        "licence": e.licence,
        "created": iso(e.created),
    }
