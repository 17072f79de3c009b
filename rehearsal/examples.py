"""Examples: what the platform remembers to practise. They live in the same index as the chunks that ground them.

New ones come in here, each batch in an epoch of its own. Which of them are too many is decided in `choice`, on which
side of the exam each stands in `split`, what a new version of their source does to them in `fate`, and what people do
to them in `vetting`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qdrant_client import models
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ingest.tables import Document, Position, Version
from kernel.audit import record
from kernel.database import Database, alone, listed
from kernel.epochs import Death, Epochs, Plan
from kernel.errors import TryAgain
from kernel.ids import derived, fresh, now_ms
from kernel.index.schema import unborn
from kernel.ports import Embedder, VectorIndex
from kernel.tables import Change
from kernel.types import OPEN
from rehearsal.choice import Choice, choose
from rehearsal.ground import Quote
from rehearsal.history import note
from rehearsal.split import Asking, Split, question_key, sides
from rehearsal.standing import SUPERSEDED
from rehearsal.tables import NO_PASSAGE, UNNAMED, Example, ExampleEvent, ExampleMemory, Ground, Mention
from retrieval.turns import REDACTED

if TYPE_CHECKING:
    import numpy as np


MOVED = "moved"
"""Code of an error because what grounds an example is not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExample:
    """An example on its way in. Without quotes it is quarantined, unless it is `standalone`."""

    workspace: str
    question: str
    quotes: tuple[Quote, ...] = ()
    answer: str | None = None
    preferred: str | None = None
    rejected: str | None = None
    slice: str = UNNAMED
    origin: str = "import"
    licence: str | None = None
    pinned: bool = False
    standalone: bool = False
    split: str | None = None
    """Its side of the exam where that is settled already, as for what was exported; None leaves it to the hash."""
    quarantine: str = ""
    """Why it is to wait for a person, grounded as it may be."""
    edits: str | None = None
    """The example that this one is the edited form of: it takes its place and its side."""
    mentions: tuple[tuple[str, str], ...] = ()
    """(document, chunk) whose words may stand in `rejected`, and do not ground it."""
    made_of: tuple[tuple[str, str], ...] = ()
    """Likewise, whose words may stand anywhere in it."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from, for its history: no words that a delete would have to find."""

    @property
    def reason(self) -> str:
        """Why it is quarantined; empty where it is not."""
        return self.quarantine or ("" if self.quotes or self.standalone else NO_PASSAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a new example: its id and what it replaced, or None and the one that is there already, and why."""

    example: str | None
    of: str | None = None
    """The example that stays instead, where this one is not kept."""
    why: str = ""
    replaced: tuple[tuple[str, str], ...] = ()
    """Every example that was retired for this one, and why."""


class Examples:
    """Adds examples: the `examples` kind of change."""

    kind = "examples"

    def __init__(self, db: Database, index: VectorIndex, embedder: Embedder, epochs: Epochs) -> None:
        self._db, self._index, self._embedder, self._epochs = db, index, embedder, epochs
        epochs.register(self)

    def add(self, new: Sequence[NewExample], *, replace: bool = False, actor: str = "local") -> list[str | None]:
        """Add examples in one epoch; an id each, None for one that is known already.

        With `replace`, an approved example of the same question is retired instead (a correction supersedes), if it is
        of no better origin and the new one is not to wait for a person.
        """
        return [taken.example for taken in self.take(new, replace=replace, actor=actor)]

    def take(self, new: Sequence[NewExample], *, replace: bool = False, actor: str = "local") -> list[Taken]:
        """As `add`, and what became of each: nothing is thrown away without a word.

        Raises:
            TryAgain: of the code `MOVED`, a passage that grounds one has gone: whoever grounded it has to do so again.
        """
        if not new:
            return []
        for attempt in range(5):
            with self._epochs.one_index():  # from the vectors to the flip
                taken, change, points = self._stage(new, replace, actor)
                if change is None:
                    return taken
                try:
                    with self._epochs.keeping([change]):
                        self._index.insert(points)
                        self._epochs.step("inserted")
                        self._epochs.flip([change])
                    return taken
                except BaseException as error:
                    self._epochs.abandon(change, [str(p.id) for p in points])
                    if attempt == 4 or not isinstance(error, TryAgain) or error.code == MOVED:
                        raise
        raise AssertionError("unreachable")

    def _stage(
        self, new: Sequence[NewExample], replace: bool, actor: str
    ) -> tuple[list[Taken], str | None, list[models.PointStruct]]:
        vectors = self._embedder.embed_queries([n.question for n in new])
        points: list[models.PointStruct] = []
        with self._db.write() as session:
            alone(session, self.kind)  # or the same question, asked twice at once, is new to both
            choice = choose(session, new, replace=replace)
            split = dict(zip(choice.kept, _sides(session, [new[place] for place in choice.kept]), strict=True))
            ids: dict[int, str] = {}
            for place in choice.kept:
                n = dataclasses.replace(
                    new[place],
                    slice=choice.kept_in.get(place, new[place].slice),
                    pinned=new[place].pinned or place in choice.pinned,
                )
                side = "held-out" if place in choice.held_out else n.split or split[place]
                example = _row(n, side)
                ids[place] = example.id
                session.add(example)
                session.flush()
                session.add_all(
                    Ground(id=fresh("gnd"), example=example.id, document=q.document, point=q.point, quote=q.text)
                    for q in n.quotes
                )
                mentioned = dict.fromkeys(n.mentions, 0) | dict.fromkeys(n.made_of, 1)
                session.add_all(
                    Mention(example=example.id, document=document, point=point, whole=whole)
                    for (document, point), whole in sorted(mentioned.items())
                )
                if example.status == "staged":
                    points.append(point_of(example, vectors[place]))
            taken = _taken(choice, ids)
            if not ids:
                return taken, None, []
            body = {
                "examples": list(ids.values()),
                "replaced": {old: [ids[place], why] for old, (place, why) in choice.replaced.items()},
                "told": {ids[place]: {**new[place].told, "origin": new[place].origin} for place in ids},
                "edited": {ids[place]: new[place].edits for place in ids if new[place].edits},
                "actor": actor,
            }
            change = self._epochs.stage(session, self.kind, "examples", [str(p.id) for p in points], body)
        return taken, change, points

    # --- kernel.epochs.Handler -------------------------------------------------------------------

    def settle(self, session: Session, change: Change, epoch: int) -> Plan:
        ours = Example.id.in_(listed(change.body["examples"]))
        overtaken = select(Example.reason).where(ours, Example.status == "retired", Example.question != REDACTED)
        why = set(session.scalars(overtaken))
        if SUPERSEDED in why:
            raise TryAgain("a document that grounds an example has another version", hint="try again", code=MOVED)
        if why:
            raise TryAgain("an example that was added meanwhile took the place of this one", hint="try again")
        if not_there(session, change.body["edited"].values()):
            raise TryAgain("the example that is edited was deleted meanwhile", hint="try again", code=MOVED)
        as_staged = select(Example.id).where(ours, Example.status.in_(("staged", "quarantined")))
        if len(session.scalars(as_staged).all()) < len(change.body["examples"]):
            raise TryAgain("a document that grounds an example was deleted meanwhile", hint="try again", code=MOVED)
        mentioned = select(Mention.document).where(Mention.example.in_(listed(change.body["examples"])))
        deleted = select(Document.id).where(Document.id.in_(mentioned), Document.state != "live").limit(1)
        if session.scalar(deleted) is not None:
            raise TryAgain("a document that the answer cited was deleted meanwhile", hint="try again", code=MOVED)
        check_standing(session, change.body["examples"])
        replaced = (Example.id.in_(listed(change.body["replaced"])), Example.status == "approved")
        dying = tuple(session.scalars(select(Example.point).where(*replaced)))
        return Plan(births=tuple(change.points), deaths=(Death(points=dying, until=now_ms()),) if dying else ())

    def commit(self, session: Session, change: Change, epoch: int, at: int) -> None:
        body = change.body
        actor = body["actor"]
        ours = Example.id.in_(listed(body["examples"]))
        session.execute(update(Example).where(ours, Example.status == "staged").values(status="approved", born=epoch))
        for example in session.scalars(select(Example).where(ours)):
            old = body["edited"].get(example.id)
            if old is not None:
                note(session, "edited", [example.id], at, actor, **body["told"][example.id], **{"from": old})
                record(session, "example-edit", example.id, actor, replaces=old)
            else:
                note(session, "created", [example.id], at, actor, **body["told"][example.id], split=example.split)
            if example.status == "approved":
                note(session, "approved", [example.id], at, actor, epoch=epoch)
            else:
                note(session, "quarantined", [example.id], at, actor, reason=example.reason)
        for old, (by, why) in body["replaced"].items():
            retire(session, [old], epoch, why, at, actor, by=by)

    def sweep(self, session: Session, change: Change) -> None:
        for theirs in (ExampleEvent, ExampleMemory, Ground, Mention):
            session.execute(delete(theirs).where(theirs.example.in_(listed(change.body["examples"]))))
        session.execute(delete(Example).where(Example.id.in_(listed(change.body["examples"]))))


def not_there(session: Session, examples: Iterable[str]) -> bool:
    """Whether the words of one of these were taken away."""
    gone = select(Example.id).where(Example.id.in_(listed(examples)), Example.question == REDACTED)
    return session.scalar(gone.limit(1)) is not None


def point_of(example: Example, vector: np.ndarray) -> models.PointStruct:
    """An example's point, which nobody sees before a flip: its question's vector, and never its words."""
    return unborn(
        example.point,
        vector.tolist(),
        example.question,
        now_ms(),
        kind="example",
        ws=example.workspace,
        slice=example.slice,
        split=example.split,
        pinned=example.pinned,
    )


def check_standing(session: Session, examples: Sequence[str]) -> None:
    """Under the flip lock: every passage that grounds one of these staged examples is live.

    Raises:
        TryAgain: one was superseded since it was staged.
    """
    points = select(Ground.point).join(Example, Example.id == Ground.example)
    needed = set(session.scalars(points.where(Example.id.in_(listed(examples)), Example.status == "staged")))
    standing = select(Position.point).join(
        Version, (Version.document == Position.document) & (Version.number == Position.version)
    )
    live = set(session.scalars(standing.where(Position.point.in_(listed(needed)), Version.state == "live")))
    if needed - live:
        raise TryAgain("a passage that grounds an example was superseded meanwhile", hint="try again", code=MOVED)


def retire(
    session: Session, examples: Sequence[str], epoch: int, reason: str, at: int, actor: str = "local", **detail: Any
) -> None:
    """Note that these examples, as far as they were in use, waiting or on their way in, are retired as of `epoch`.

    What is on its way in was overtaken: its own flip finds it retired, and does not take place.
    """
    ours = list(
        session.scalars(select(Example.id).where(Example.id.in_(listed(examples)), Example.status != "retired"))
    )
    session.execute(
        update(Example).where(Example.id.in_(listed(ours))).values(status="retired", died=epoch, reason=reason)
    )
    note(session, "retired", ours, at, actor, reason=reason, epoch=epoch, **detail)


def _taken(choice: Choice, ids: Mapping[int, str]) -> list[Taken]:
    """What became of each new example, in order, once those that are kept have their ids."""
    gone: dict[int, list[tuple[str, str]]] = {place: [] for place in ids}
    for old, (place, why) in choice.replaced.items():
        gone[place].append((old, why))
    found = {place: Taken(example=example, replaced=tuple(gone[place])) for place, example in ids.items()}
    for place, (of, why) in choice.refused.items():
        found[place] = Taken(example=None, of=ids[of] if isinstance(of, int) else of, why=why)
    return [found[place] for place in sorted(found)]


def _sides(session: Session, new: Sequence[NewExample]) -> list[Split]:
    """Each on its side; workspaces have nothing to do with each other."""
    found: dict[int, Split] = {}
    for workspace in sorted({n.workspace for n in new}):
        ours = [place for place, n in enumerate(new) if n.workspace == workspace]
        asking = [Asking(key=question_key(new[place].question), points=_passages(new[place])) for place in ours]
        found |= dict(zip(ours, sides(session, workspace, asking), strict=True))
    return [found[place] for place in range(len(new))]


def _passages(n: NewExample) -> tuple[str, ...]:
    """The chunks that decide with an example on its side; of a document as a whole, its first alone."""
    whole: dict[str, str] = {}
    for quote in n.quotes:
        if not quote.text:
            whole.setdefault(quote.document, quote.point)
    return (*(q.point for q in n.quotes if q.text), *whole.values())


def _row(n: NewExample, split: str) -> Example:
    example = fresh("ex")
    return Example(
        id=example,
        point=derived("example", example),
        workspace=n.workspace,
        question=n.question.strip(),
        question_key=question_key(n.question),
        answer=n.answer,
        preferred=n.preferred,
        rejected=n.rejected,
        slice=n.slice,
        origin=n.origin,
        licence=n.licence,
        split=split,
        pinned=int(n.pinned),
        status="quarantined" if n.reason else "staged",
        reason=n.reason,
        born=OPEN,
        died=OPEN,
        created=now_ms(),
    )
