"""Examples: what the platform remembers to practise. They live in the same index as the chunks that ground them.

An example dies in the epoch in which a quote that grounds it no longer stands, unless the same words stand exactly once
in the new version: then it is grounded on the chunk that holds them now. Both are decided under the flip lock, so no
mix ever sees an example whose source is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session

from ingest.library import Library
from ingest.tables import Position, Version
from kernel.database import Database
from kernel.epochs import Death, Epochs, Plan
from kernel.errors import TryAgain
from kernel.ids import derived, digest, fresh, now_ms
from kernel.index.schema import unborn
from kernel.ports import Embedder, VectorIndex
from kernel.tables import Change
from kernel.types import OPEN
from rehearsal.ground import Quote, reground
from rehearsal.tables import Example, Ground

HELD_OUT_OF = 5
"""One question in this many is held out, by a hash of its words, and never trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExample:
    """An example on its way in. Without quotes it is quarantined, unless it is `standalone`."""

    workspace: str
    question: str
    quotes: tuple[Quote, ...] = ()
    answer: str | None = None
    preferred: str | None = None
    rejected: str | None = None
    slice: str = "general"
    origin: str = "import"
    licence: str | None = None
    pinned: bool = False
    standalone: bool = False


def question_key(question: str) -> str:
    """Equal for questions that differ in case, spacing or closing punctuation alone."""
    return digest(" ".join(question.casefold().split()).rstrip(" ?.!"))


def split_of(key: str) -> str:
    return "held-out" if int(key[:8], 16) % HELD_OUT_OF == 0 else "train"


class Examples:
    """Adds examples and follows their sources: the `examples` kind of change, a `Dependent` and an `Eraser`."""

    kind = "examples"

    def __init__(self, db: Database, index: VectorIndex, embedder: Embedder, epochs: Epochs, library: Library) -> None:
        self._db, self._index, self._embedder, self._epochs, self._library = (
            db,
            index,
            embedder,
            epochs,
            library,
        )
        epochs.register(self)

    def add(self, new: Sequence[NewExample], *, replace: bool = False) -> list[str | None]:
        """Add examples in one epoch; an id each, None for one whose question is known already.

        With `replace`, an approved example of the same question is retired instead (a correction supersedes).
        """
        if not new:
            return []
        for attempt in range(5):
            with self._epochs.one_index():  # from the vectors to the flip
                ids, change, points = self._stage(new, replace)
                if change is None:
                    return ids
                try:
                    with self._epochs.keeping([change]):
                        self._index.insert(points)
                        self._epochs.step("inserted")
                        self._epochs.flip([change])
                    return ids
                except BaseException as error:
                    self._epochs.abandon(change, [str(p.id) for p in points])
                    if attempt == 4 or not isinstance(error, TryAgain):
                        raise
        raise AssertionError("unreachable")

    def _stage(self, new: Sequence[NewExample], replace: bool) -> tuple[list[str | None], str | None, list[Any]]:
        vectors = self._embedder.embed_queries([n.question for n in new])
        ids: list[str | None] = []
        points: list[Any] = []
        replaced: list[str] = []
        with self._db.write() as session:
            known = _known(session, {(n.workspace, question_key(n.question)) for n in new})
            for n, vector in zip(new, vectors, strict=True):
                key = question_key(n.question)
                old = known.get((n.workspace, key))
                if old is not None and not replace:
                    ids.append(None)
                    continue
                if old is not None:
                    replaced.append(old)
                example = self._row(n, key)
                known[n.workspace, key] = example.id
                session.add(example)
                session.flush()
                session.add_all(
                    Ground(id=fresh("gnd"), example=example.id, document=q.document, point=q.point, quote=q.text)
                    for q in n.quotes
                )
                ids.append(example.id)
                if example.status == "staged":
                    points.append(
                        unborn(
                            example.point,
                            vector.tolist(),
                            n.question,
                            now_ms(),
                            kind="example",
                            ws=n.workspace,
                            slice=n.slice,
                            split=example.split,
                            pinned=int(n.pinned),
                        )
                    )
            if not any(ids):
                return ids, None, []
            body = {"examples": [i for i in ids if i is not None], "replaced": replaced}
            change = self._epochs.stage(session, self.kind, "examples", [str(p.id) for p in points], body)
        return ids, change, points

    def _row(self, n: NewExample, key: str) -> Example:
        grounded = bool(n.quotes) or n.standalone
        example = fresh("ex")
        return Example(
            id=example,
            point=derived("example", example),
            workspace=n.workspace,
            question=n.question.strip(),
            question_key=key,
            answer=n.answer,
            preferred=n.preferred,
            rejected=n.rejected,
            slice=n.slice,
            origin=n.origin,
            licence=n.licence,
            split=split_of(key),
            pinned=int(n.pinned),
            status="staged" if grounded else "quarantined",
            reason="" if grounded else "no passage grounds it",
            born=OPEN,
            died=OPEN,
            rehearsed=0,
            last_loss=None,
            created=now_ms(),
        )

    # --- kernel.epochs.Handler -------------------------------------------------------------------

    def settle(self, session: Session, change: Change, epoch: int) -> Plan:
        ours = Example.id.in_(change.body["examples"])
        as_staged = select(Example.id).where(ours, Example.status.in_(("staged", "quarantined")))
        if len(session.scalars(as_staged).all()) < len(change.body["examples"]):
            raise TryAgain("a document that grounds an example was deleted meanwhile", hint="try again", code="moved")
        points = select(Ground.point).join(Example, Example.id == Ground.example)
        needed = set(session.scalars(points.where(ours, Example.status == "staged")))
        standing = select(Position.point).join(
            Version, (Version.document == Position.document) & (Version.number == Position.version)
        )
        live = set(session.scalars(standing.where(Position.point.in_(needed), Version.state == "live")))
        if needed - live:
            raise TryAgain("a passage that grounds an example was superseded meanwhile", hint="try again", code="moved")
        replaced = Example.id.in_(change.body["replaced"])
        standing_or_ours = or_(Example.status == "approved", and_(ours, Example.status == "staged"))
        dying = tuple(session.scalars(select(Example.point).where(replaced, standing_or_ours)))
        return Plan(births=tuple(change.points), deaths=(Death(points=dying, until=now_ms()),) if dying else ())

    def commit(self, session: Session, change: Change, epoch: int, at: int) -> None:
        ours = Example.id.in_(change.body["examples"])
        session.execute(update(Example).where(ours, Example.status == "staged").values(status="approved", born=epoch))
        _retire(session, change.body["replaced"], epoch, "replaced by a newer correction")

    def sweep(self, session: Session, change: Change) -> None:
        session.execute(delete(Ground).where(Ground.example.in_(change.body["examples"])))
        session.execute(delete(Example).where(Example.id.in_(change.body["examples"])))


class ExampleFate:
    """`ingest.publish.Dependent`: what a publish or a delete does to the examples that stand on its chunks."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def settle(
        self, session: Session, document: str, retired: set[str], version: int | None
    ) -> tuple[list[str], dict[str, Any]]:
        hit = select(Ground, Example).join(Example, Example.id == Ground.example)
        hit = hit.where(Ground.document == document, Example.status == "approved")
        text: str | None = None
        dying: dict[str, str] = {}
        moved: dict[str, str] = {}
        for ground, example in session.execute(hit):
            chunk = None
            if version is not None:
                if text is None:
                    text = self._library.text_of(session.get_one(Version, (document, version)).text_key)
                if ground.point not in retired and ground.quote in text:
                    continue  # a quote may reach beyond its chunk, so a chunk that stands is not enough
                chunk = reground(session, text, document, version, ground.quote)
                if chunk is None and not ground.quote:  # the document as a whole answers, and it still stands
                    first = select(Position.point).where(Position.document == document, Position.version == version)
                    chunk = session.scalars(first.order_by(Position.ordinal).limit(1)).first()
            if chunk is None:
                dying[example.id] = example.point
            else:
                moved[ground.id] = chunk
        notes = {
            "retired": sorted(dying),
            "moved": moved,
            "why": "deleted" if version is None else "superseded",
        }
        return sorted(dying.values()), notes

    def commit(self, session: Session, epoch: int, notes: dict[str, Any]) -> None:
        for ground, chunk in notes["moved"].items():
            session.execute(update(Ground).where(Ground.id == ground).values(point=chunk))
        _retire(session, notes["retired"], epoch, f"source {notes['why']}")


def _retire(session: Session, examples: Sequence[str], epoch: int, reason: str) -> None:
    ours = (Example.id.in_(examples), Example.status == "approved")
    session.execute(update(Example).where(*ours).values(status="retired", died=epoch, reason=reason))


def _known(session: Session, keys: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Approved or staged examples by (workspace, question key)."""
    workspaces = {workspace for workspace, _ in keys}
    rows = session.execute(
        select(Example.workspace, Example.question_key, Example.id).where(
            Example.workspace.in_(workspaces), Example.status.in_(("approved", "staged"))
        )
    )
    return {(workspace, key): example for workspace, key, example in rows if (workspace, key) in keys}
