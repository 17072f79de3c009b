"""Lineage: which runs and adapters saw which versions of a document, as an answer or as a contrast.

An adapter has seen a document when its own run had examples that the document grounds, when its questions were pushed
away from the document's chunks, or when it goes on from an adapter that has seen it: weights cannot forget on demand.
What stands here are ids, so a lineage outlives the delete of a document and can say afterwards what a delete left.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from finetune.kinds import BASE, CHAMPION, Options
from finetune.registry import Registry, chain
from finetune.tables import Adapter, RunDocument
from ingest.find import find
from ingest.tables import Document, Position, Version
from kernel.database import Database
from kernel.errors import Refused
from rehearsal.tables import Ground, Mention, MixRow
from retrieval.live import RETRIEVER

ANSWER, CONTRAST = "answer", "contrast"
POINTS = "points.json"
"""In a run's folder: the chunks that its training reads, answers and contrasts alike."""
PASSAGES = "passages.jsonl"
"""The same, where training reads texts."""
_AT_ONCE = 5000


class Lineage:
    """Notes and tells what runs saw."""

    def __init__(self, db: Database, registry: Registry) -> None:
        self._db, self._registry = db, registry

    def note(self, run: str, folder: Path) -> None:
        """Enter which documents, in which versions, a run is about to be trained on. Repeatable."""
        read = _read_by(folder)
        with self._db.write() as session:
            mine = select(MixRow.example).where(MixRow.run == run)
            answers: dict[str, set[str]] = {}
            # What is read as text may hold an answer that was shown and corrected.
            for of in (Ground, Mention) if (folder / PASSAGES).is_file() else (Ground,):
                for example, point in session.execute(select(of.example, of.point).where(of.example.in_(mine))):
                    answers.setdefault(point, set()).add(example)
            seen: dict[tuple[str, int, str], set[str]] = {}
            for point, document, version in shown_in(session, read | set(answers)):
                role = ANSWER if point in answers else CONTRAST
                seen.setdefault((document, version, role), set()).update(answers.get(point, {point}))
            session.execute(delete(RunDocument).where(RunDocument.run == run))
            session.add_all(
                RunDocument(run=run, document=document, version=version, role=role, count=len(of))
                for (document, version, role), of in sorted(seen.items())
            )

    def ids(self, docs: Sequence[str]) -> tuple[str, ...]:
        """Ids of documents that are given by id, also of deleted ones, or by name.

        Raises:
            NotFound: there was never one.
        """
        with self._db.read() as session:
            return tuple((session.get(Document, doc) or find(session, doc)).id for doc in docs)

    def of_document(self, doc: str) -> dict[str, Any]:
        """The adapters that saw a document, newest first; by id also one that was deleted.

        Raises:
            NotFound: nobody ever knew a document of that id or name.
        """
        with self._db.read() as session:
            document = session.get(Document, doc) or find(session, doc)
            seen = _seen(session, document.id)
            rows = session.scalars(select(Adapter).order_by(Adapter.created.desc(), Adapter.name))
            adapters = [row for adapter in rows if (row := _sight(session, adapter, seen)) is not None]
        live = document.state == "live"
        clean = retrains(document.name if live else document.id, (a["kind"] for a in adapters))
        return {
            "document": document.id,
            "name": document.name if live else None,
            "state": document.state,
            "adapters": adapters,
            "clean": " && ".join(clean) or None,
        }

    def documents_of(self, session: Session, runs: Sequence[str]) -> list[dict[str, Any]]:
        """The documents that `runs` saw, those with most examples first. The name of one that was deleted is gone."""
        wanted = select(RunDocument, Document.name, Document.source, Document.state)
        wanted = wanted.outerjoin(Document, Document.id == RunDocument.document).where(RunDocument.run.in_(runs))
        found: dict[str, dict[str, Any]] = {}
        for row, name, source, state in session.execute(wanted):
            live = state == "live"
            told = found.setdefault(
                row.document,
                {
                    "document": row.document,
                    "name": name if live else None,
                    "source": source if live else None,
                    "versions": set(),
                    "examples": 0,
                    "contrasts": 0,
                },
            )
            told["versions"].add(row.version)
            told["examples" if row.role == ANSWER else "contrasts"] += row.count
        ordered = sorted(found.values(), key=lambda d: (-d["examples"], -d["contrasts"], d["document"]))
        return [told | {"versions": sorted(told["versions"])} for told in ordered]

    def cleaned(self, kind: str, options: Options, documents: Collection[str]) -> Options:
        """The same options for an adapter that has never seen `documents`: left out of the mix, started early enough.

        Training goes on from the newest ancestor of the champion that never saw one of them, else from the base model.

        Raises:
            Refused: the options ask to go on from an adapter that saw one.
        """
        with self._db.read() as session:
            champion = self._registry.champion(kind)
            ancestors = chain(session, options.origin(champion))
            seen = [_seen(session, document) for document in documents]
            clean = next((a.name for a in ancestors if _is_clean(session, a, seen)), None)
        if options.start not in (CHAMPION, BASE) and clean != options.start:
            raise Refused(
                f"{options.start!r} has seen what is to be left out",
                hint="leave --start away: the newest ancestor that has not is found by itself",
                code="not_clean",
            )
        start = CHAMPION if clean is not None and clean == champion else clean or BASE
        return replace(options, start=start, without=tuple(sorted(documents)))


def retrains(document: str, kinds: Iterable[str]) -> list[str]:
    """The commands that make adapters of these kinds without a document, by its id or name."""
    named = shlex.quote(document)
    return [
        f"reprise retrain --without {named}" + ("" if kind == RETRIEVER else f" --kind {kind}")
        for kind in sorted(set(kinds), reverse=True)
    ]


def _is_clean(session: Session, adapter: Adapter, seen: Sequence[Collection[str]]) -> bool:
    """Whether none of the runs behind an adapter is among those that saw something, by document."""
    behind = chain(session, adapter.name)
    if any(_unrecorded(session, a.run) for a in behind):
        return False  # who cannot tell what an adapter was pushed away from must not vouch for it
    return not any(a.run in runs for runs in seen for a in behind)


def _read_by(folder: Path) -> set[str]:
    """Chunks that a materialised training reads: those behind its vectors, or its passages."""
    points, passages = folder / POINTS, folder / PASSAGES
    found = set(json.loads(points.read_text())) if points.is_file() else set()
    if passages.is_file():
        lines = passages.read_text(encoding="utf-8").split("\n")  # a text may hold U+2028
        found |= {json.loads(line)["chunk"] for line in lines if line}
    return found


def _seen(session: Session, document: str) -> dict[str, dict[str, Any]]:
    """How each run saw a document, by run. Of runs that recorded none, by their examples alone."""
    found: dict[str, dict[str, Any]] = {}
    for row in session.scalars(select(RunDocument).where(RunDocument.document == document)):
        told = found.setdefault(row.run, {"versions": set(), "examples": 0, "contrasts": 0})
        told["versions"].add(row.version)
        told["examples" if row.role == ANSWER else "contrasts"] += row.count
    counted = func.count(func.distinct(MixRow.example))
    by_examples = select(MixRow.run, counted).join(Ground, Ground.example == MixRow.example)
    for run, examples in session.execute(by_examples.where(Ground.document == document).group_by(MixRow.run)):
        found.setdefault(run, {"versions": set(), "examples": examples, "contrasts": 0})
    return found


def _sight(session: Session, adapter: Adapter, seen: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """How an adapter saw what `seen` is about, or None."""
    behind = chain(session, adapter.name)
    through = [a for a in behind if a.run in seen]
    if not through:
        return None
    directly = seen.get(adapter.run)
    return {
        "adapter": adapter.name,
        "kind": adapter.kind,
        "state": adapter.state,
        "run": adapter.run,
        "how": "directly" if directly else "through parents",
        "through": [a.name for a in through if a.name != adapter.name],
        "versions": sorted(set().union(*(seen[a.run]["versions"] for a in through))),
        "examples": directly["examples"] if directly else 0,
        "contrasts": directly["contrasts"] if directly else 0,
    }


def _unrecorded(session: Session, run: str) -> bool:
    """True for a run that practised something and has no note of it: one of a release that made none."""
    practised, noted = (
        select(MixRow.run).where(MixRow.run == run),
        select(RunDocument.run).where(RunDocument.run == run),
    )
    return session.scalar(practised.limit(1)) is not None and session.scalar(noted.limit(1)) is None


def shown_in(session: Session, points: Collection[str]) -> Iterable[tuple[str, str, int]]:
    """(chunk, document, newest published version that shows it) of each chunk that still has a place."""
    ordered = sorted(points)
    for start in range(0, len(ordered), _AT_ONCE):
        wanted = select(Position.point, Position.document, func.max(Position.version))
        wanted = wanted.join(Version, (Version.document == Position.document) & (Version.number == Position.version))
        some = Position.point.in_(ordered[start : start + _AT_ONCE])
        rows = wanted.where(some, Version.state != "staged").group_by(Position.point, Position.document)
        yield from session.execute(rows)
