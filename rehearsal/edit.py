"""Editing an example. What is asked, answered or quoted makes another example of it; what only sorts it does not.

Other words have another vector, and no adapter has practised them: so the edited form is a new example, born in the
epoch in which the old one dies, on the old one's side of the exam, and its history goes on from the old one's. A slice,
a licence or a pin is changed in place: it moves nothing that was learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ingest.library import Library
from kernel.audit import record
from kernel.database import Database
from kernel.epochs import Epochs
from kernel.errors import Conflict, UserError
from kernel.ids import now_ms
from kernel.ports import VectorIndex
from rehearsal.examples import Examples, NewExample
from rehearsal.ground import Quote, ground, holder_now, still_said
from rehearsal.history import note
from rehearsal.tables import NO_PASSAGE, UNNAMED, Example, Ground, Mention
from rehearsal.vetting import find

WORDS = ("question", "answer", "preferred", "rejected")
SORTING = ("slice", "licence", "pinned")
GROUNDING = ("document", "quote", "relevant", "standalone")


class Editing:
    """Edits of a platform's examples."""

    def __init__(self, db: Database, index: VectorIndex, epochs: Epochs, library: Library, examples: Examples) -> None:
        self._db, self._index, self._epochs, self._library, self._examples = db, index, epochs, library, examples

    def edit(self, example: str, changes: Mapping[str, Any], actor: str = "local") -> dict[str, Any]:
        """Change what `changes` names, as fields of an import row; None takes a text away.

        Returns `{"example", "replaces", "status", "reason"}`; `replaces` is None where it was changed in place.

        Raises:
            NotFound: no such example, or no such document.
            UserError: nothing changes, a field there is none of, or the quote does not stand in a live version.
            Conflict: another example asks that already.
        """
        changes = {name: UNNAMED if name == "slice" and not value else value for name, value in changes.items()}
        unknown = sorted(set(changes) - {*WORDS, *SORTING, *GROUNDING})
        if unknown:
            raise UserError(f"no field {unknown[0]!r}", hint=f"there are: {', '.join((*WORDS, *SORTING, *GROUNDING))}")
        with self._db.read() as session:
            (old,) = find(session, [example])
            changed = [f for f in (*WORDS, *SORTING) if f in changes and changes[f] != _now(old, f)]
            changed += [f for f in GROUNDING if changes.get(f)]
            if not changed:
                raise UserError(f"nothing changes in {example!r}", hint="give what is to be another than it is")
            in_place = set(changed) <= set(SORTING) and old.status != "retired"
            new = None if in_place else self._edited(session, old, changes, changed)
        if new is None:
            return self._sort(old, {name: changes[name] for name in changed}, actor)
        (taken,) = self._examples.take([new], actor=actor)
        if taken.example is None:
            raise Conflict(f"{taken.of!r} is the same by now: {taken.why}", hint=f"edit or retire {taken.of!r} instead")
        return {
            "example": taken.example,
            "replaces": example,
            "status": "quarantined" if new.reason else "approved",
            "reason": new.reason,
        }

    def _edited(self, session: Session, old: Example, changes: Mapping[str, Any], changed: list[str]) -> NewExample:
        """The edited form, on the quotes that are given or else on the old ones where they stand now."""
        said = {name: changes.get(name, getattr(old, name)) for name in (*WORDS, *SORTING)}
        if not str(said["question"] or "").strip():
            raise UserError("an example needs a question", hint="retire it if nobody asks that")
        standalone = bool(changes.get("standalone"))
        if any(changes.get(name) for name in ("document", "quote", "relevant")):
            quotes = tuple(ground(session, self._library, self._named(session, old, changes), old.workspace))
        else:
            quotes = () if standalone else self._standing(session, old)
            if old.status == "retired" and not {"answer", "preferred"} & set(changed):
                self._check_said(session, old, {q.document for q in quotes if not q.text})
        # An approved example without grounding had been accepted as standing alone.
        standalone = standalone or (not quotes and old.status == "approved")
        mentions, made_of = self._ties(session, old, quotes, kept=any(said[w] and w not in changed for w in WORDS))
        waits = old.status == "quarantined" and old.reason != NO_PASSAGE
        return NewExample(
            workspace=old.workspace,
            question=str(said["question"]),
            quotes=quotes,
            answer=said["answer"],
            preferred=said["preferred"],
            rejected=said["rejected"],
            slice=said["slice"],
            origin=old.origin,
            licence=said["licence"],
            pinned=bool(said["pinned"]),
            standalone=standalone,
            split=old.split,
            quarantine=old.reason if waits else "",
            edits=old.id,
            mentions=mentions,
            made_of=made_of,
            told={"changed": changed},
        )

    @staticmethod
    def _ties(
        session: Session, old: Example, quotes: tuple[Quote, ...], *, kept: bool
    ) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        """(document, chunk) whose words may stand in what was rejected, and anywhere in the edited form: an edit hides
        nothing from a delete. If any words are `kept`, they are of what grounded them, whatever does now."""
        grounds = {(q.document, q.point) for q in quotes}
        rows = session.execute(select(Mention.document, Mention.point, Mention.whole).where(Mention.example == old.id))
        found = {(document, point): whole for document, point, whole in rows}
        if kept:
            before = select(Ground.document, Ground.point).where(Ground.example == old.id)
            documents = {document for document, _ in grounds}
            found |= {(d, p): 1 for d, p in session.execute(before) if d not in documents}
        ties = sorted((tie, whole) for tie, whole in found.items() if tie not in grounds)
        return tuple(tie for tie, whole in ties if not whole), tuple(tie for tie, whole in ties if whole)

    def _named(self, session: Session, old: Example, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The grounding of an edit as a row: a quote alone is one of the document that grounded it before."""
        row = {name: changes[name] for name in ("document", "quote", "relevant") if changes.get(name)}
        if "quote" in row and "document" not in row:
            before = set(session.scalars(select(Ground.document).where(Ground.example == old.id)))
            if len(before) != 1:
                raise UserError("the quote is of no document", hint="name the document it stands in as well")
            row["document"] = before.pop()
        return row

    def _standing(self, session: Session, old: Example) -> tuple[Quote, ...]:
        quotes = []
        for one in session.scalars(select(Ground).where(Ground.example == old.id).order_by(Ground.id)):
            chunk = holder_now(session, self._library, one)
            if chunk is None:
                raise UserError(
                    f"the source of {old.id!r} does not hold its quote any more",
                    hint="give a quote of the live version as well",
                    code="source_changed",
                )
            quotes.append(Quote(document=one.document, point=chunk, text=one.quote))
        return tuple(quotes)

    def _check_said(self, session: Session, old: Example, documents: Set[str]) -> None:
        for document in sorted(documents):
            if not still_said(session, self._library, old, document):
                raise UserError(
                    f"the source of {old.id!r} may not say its answer any more",
                    hint="give the answer as it is now, or a quote of the live version",
                    code="source_changed",
                )

    def _sort(self, old: Example, values: dict[str, Any], actor: str) -> dict[str, Any]:
        """Change what only sorts an example, in the index as in its row."""
        values = {name: int(bool(value)) if name == "pinned" else value for name, value in values.items()}
        payload = {name: value for name, value in values.items() if name in ("slice", "pinned")}
        with self._epochs.one_index(), self._db.write() as session:
            (row,) = find(session, [old.id])
            for name, value in values.items():
                setattr(row, name, value)
            note(session, "edited", [old.id], now_ms(), actor, changed=sorted(values))
            record(session, "example-edit", old.id, actor, changed=sorted(values))
            session.flush()  # what the database refuses must not stand in the index
            if payload and old.status == "approved":
                self._index.set_payload(payload, [old.point])
        return {"example": old.id, "replaces": None, "status": old.status, "reason": old.reason}


def _now(example: Example, name: str) -> Any:
    return bool(example.pinned) if name == "pinned" else getattr(example, name)
