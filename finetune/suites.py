"""Pinned suites: questions that a person wants every gate to ask, whatever else is held out.

A suite keeps questions and the answers that were given, and no words of a document: what is relevant is named by
document, and a span by the version that it was taken from. When a gate asks, the words are read from that version and
looked for in the live one, so a suite survives edits; what was really removed is left out, and said. A delete takes the
rows that name the document, answers and all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from finetune.evaluate import Question
from finetune.tables import PinnedSuite
from ingest.library import Library
from ingest.publish import live_version
from ingest.tables import Version
from kernel.audit import record
from kernel.database import Database
from kernel.errors import Conflict, NotFound, RepriseError, UserError
from kernel.ids import iso, now_ms
from rehearsal.ground import Quote, ground

_NAME = re.compile(r"[\w.-]{1,80}")
_KEPT = ("question", "answer", "unanswerable", "slice")
_MOST = 2000
"""Rows of one suite: every gate asks each of them of every model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a gate asks of the pinned suites."""

    questions: list[Question]
    left_out: dict[str, int]
    """Suite to how many of its questions have nothing relevant any more."""
    quotes: dict[str, tuple[Quote, ...]] = field(default_factory=dict)
    """What is relevant to each question, word by word: what an answer is written from."""
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Answers that were given to a question, any of which will do; of a suite without answers there are none."""


class Suites:
    """Pinned suites by name. Also an `Eraser` of `ingest`."""

    def __init__(self, db: Database, library: Library) -> None:
        self._db, self._library = db, library

    def pin(self, name: str, rows: Sequence[Mapping[str, Any]], workspace: str, by: str) -> dict[str, Any]:
        """Keep a suite under a new name. `rows` are those of `reprise eval`, with ids of documents.

        Raises:
            UserError: no name, or nothing in it that a gate could ask.
            Conflict: the name is taken.
        """
        if not _NAME.fullmatch(name) or len(rows) > _MOST:
            wrong = f"the suite has {len(rows)} rows" if _NAME.fullmatch(name) else f"{name!r} is no name for a suite"
            raise UserError(wrong, hint=f"give a name of letters, digits, '-', '_' or '.', and at most {_MOST} rows")
        kept = [row for row in rows if row.get("relevant") or row.get("unanswerable")]
        if not kept:
            raise UserError(
                "no row of the suite says what is relevant, or that it has no answer",
                hint='a pinned suite is judged by what is found: give "relevant", or "unanswerable": true',
                code="bad_suite",
            )
        with self._db.write() as session:
            if session.get(PinnedSuite, name) is not None:
                raise Conflict(f"a suite {name!r} is pinned already", hint=f"`reprise suite unpin {name}` lets it go")
            placed = [_kept(session, row) for row in kept]
            found = PinnedSuite(name=name, workspace=workspace, rows=placed, by=by, created=now_ms())
            session.add(found)
            record(session, "pin suite", name, by, rows=len(placed), workspace=workspace)
            return _shown(found)

    def unpin(self, name: str, by: str) -> list[dict[str, Any]]:
        """Let a suite go; those that are left.

        Raises:
            NotFound: none of that name is pinned.
        """
        with self._db.write() as session:
            found = session.get(PinnedSuite, name)
            if found is None:
                raise NotFound(f"no suite {name!r} is pinned", hint="`reprise suite list` shows them")
            session.delete(found)
            record(session, "unpin suite", name, by)
        return self.listing()

    def listing(self) -> list[dict[str, Any]]:
        """In order of name."""
        with self._db.read() as session:
            return [_shown(suite) for suite in session.scalars(select(PinnedSuite).order_by(PinnedSuite.name))]

    def asked(self) -> Asked:
        """The questions of all pinned suites, with what is relevant to them now."""
        asked = Asked(questions=[], left_out={})
        with self._db.read() as session:
            for suite in session.scalars(select(PinnedSuite).order_by(PinnedSuite.name)):
                for number, row in enumerate(suite.rows, 1):
                    quotes = self._quotes(session, suite, row)
                    if not quotes and not row.get("unanswerable"):  # nothing of what was relevant stands any more
                        asked.left_out[suite.name] = asked.left_out.get(suite.name, 0) + 1
                        continue
                    question = _question(suite, number, row, quotes)
                    asked.questions.append(question)
                    asked.quotes[question.example] = tuple(quotes)
                    if given := row.get("answer"):
                        texts = given if isinstance(given, list) else [given]
                        asked.answers[question.example] = tuple(map(str, texts))
        return asked

    # --- ingest.delete.Eraser ------------------------------------------------------------------------

    def erase(self, document: str, points: Sequence[str]) -> dict[str, Any]:
        """Rows that name the document go whole: their words may be its words."""
        gone = 0
        with self._db.write() as session:
            # Another delete may take other rows of the same suite: the later one has to see what the first one left.
            for suite in session.scalars(select(PinnedSuite).order_by(PinnedSuite.name).with_for_update()):
                rows = [row for row in suite.rows if all(item["document"] != document for item in row["relevant"])]
                gone += len(suite.rows) - len(rows)
                if len(rows) < len(suite.rows):
                    suite.rows = rows
        return {"suite_rows": gone}

    def _quotes(self, session: Session, suite: PinnedSuite, row: Mapping[str, Any]) -> list[Quote]:
        """What of a row's relevant items stands now."""
        quotes: list[Quote] = []
        for item in row["relevant"]:
            try:
                quotes += ground(session, self._library, {"relevant": [self._item(session, item)]}, suite.workspace)
            except RepriseError:
                continue  # deleted, expired, or not in the live version any more
        return quotes

    def _item(self, session: Session, item: Mapping[str, Any]) -> dict[str, Any]:
        """An item with its words, so that they are found wherever the live version has them now."""
        if "start" not in item:
            return {"document": item["document"]}
        version = session.get(Version, (item["document"], item["version"]))
        if version is None:
            raise NotFound(f"version {item['version']} is gone", hint="pin the suite again")
        quote = self._library.text_of(version.text_key)[item["start"] : item["end"]]
        return {"document": item["document"], "quote": quote}


def _question(suite: PinnedSuite, number: int, row: Mapping[str, Any], quotes: Sequence[Quote]) -> Question:
    return Question(
        example=f"{suite.name}:{number}",
        question=row["question"],
        slice=row.get("slice") or suite.name,
        pinned=True,
        workspace=suite.workspace,
        points=frozenset(q.point for q in quotes if q.text),
        documents=frozenset(q.document for q in quotes if not q.text),
        sources=frozenset(q.document for q in quotes),
        suite=suite.name,
    )


def _kept(session: Session, row: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: row[name] for name in _KEPT if row.get(name)}
    kept["relevant"] = []
    for item in row.get("relevant") or []:
        live = live_version(session, item["document"]) if "start" in item else None
        kept["relevant"].append(dict(item) | ({"version": live.number} if live else {}))
    return kept


def _shown(suite: PinnedSuite) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "workspace": suite.workspace,
        "questions": len(suite.rows),
        "unanswerable": sum(bool(row.get("unanswerable")) for row in suite.rows),
        "by": suite.by,
        "created": iso(suite.created),
    }
