"""What people decide about examples: approve, quarantine, retire, edit. Each is a flip where visibility changes.

    from           approve      quarantine   retire     edit
    approved       (as it is)   dies         dies       dies; the edited form is born in the same epoch
    quarantined    is born      (as it is)   retired    retired; the edited form waits too, unless it lacked grounding
                                                        alone and has it now
    retired        refused      refused      (as it is) the edited form is born: how an example survives its source

So a mix that is drawn a moment later has what was approved and lacks what was not, and one that was drawn before is
checked again when training starts. An approved example goes back to the passages that hold its quotes now; where one
is gone it stays where it is, and the decision says so. What asked the same until then is retired in the same flip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ingest.library import Library
from kernel.audit import record
from kernel.database import Database, listed
from kernel.epochs import Death, Epochs, Plan
from kernel.errors import NotFound, TryAgain, UserError
from kernel.ids import now_ms
from kernel.ports import Embedder, VectorIndex
from kernel.tables import Change
from kernel.types import OPEN
from rehearsal.choice import ASKED
from rehearsal.examples import MOVED, check_standing, point_of, retire
from rehearsal.ground import holder_now
from rehearsal.history import note
from rehearsal.tables import UNNAMED, Example, Ground
from retrieval.turns import REDACTED

_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Staged:
    """A decision that is recorded and not yet visible."""

    change: str
    births: dict[str, tuple[Example, str]] = field(default_factory=dict)
    """By point: the example, and its question."""


class Vetting:
    """Decisions about examples: the `vetting` kind of change."""

    kind = "vetting"

    def __init__(self, db: Database, index: VectorIndex, embedder: Embedder, epochs: Epochs, library: Library) -> None:
        self._db, self._index, self._embedder, self._epochs, self._library = db, index, embedder, epochs, library
        epochs.register(self)

    def approve(self, examples: Sequence[str], actor: str = "local") -> list[dict[str, Any]]:
        """Let quarantined examples be practised; all of them or none. A row each: `{"example", "status"}`.

        Raises:
            NotFound: one is not there.
            UserError: one is retired, or its source does not hold its quote any more.
        """
        return self._decide("approve", examples, "", actor)

    def quarantine(self, examples: Sequence[str], reason: str, actor: str = "local") -> list[dict[str, Any]]:
        """Hold examples back from every mix from here on, until they are approved; all of them or none.

        Raises:
            NotFound: one is not there.
            UserError: one is retired.
        """
        return self._decide("quarantine", examples, reason or "held back by a person", actor)

    def retire(self, examples: Sequence[str], reason: str, actor: str = "local") -> list[dict[str, Any]]:
        """Take examples out of use for good; all of them or none.

        Raises:
            NotFound: one is not there.
        """
        return self._decide("retire", examples, reason or "retired by a person", actor)

    def _decide(self, what: str, examples: Sequence[str], reason: str, actor: str) -> list[dict[str, Any]]:
        wanted = list(dict.fromkeys(examples))
        for attempt in range(_TRIES):
            with self._epochs.one_index():
                staged = self._stage(what, wanted, reason, actor)
                if staged is not None:
                    try:
                        self._flip(staged)
                    except BaseException as error:
                        self._epochs.abandon(staged.change, list(staged.births))
                        if attempt == _TRIES - 1 or not isinstance(error, TryAgain):
                            raise
                        continue
            with self._db.read() as session:
                rows = {e.id: e for e in session.scalars(select(Example).where(Example.id.in_(listed(wanted))))}
                return [{"example": one, "status": rows[one].status, "reason": rows[one].reason} for one in wanted]
        raise AssertionError("unreachable")

    def _flip(self, staged: _Staged) -> None:
        with self._epochs.keeping([staged.change]):
            if staged.births:
                vectors = self._embedder.embed_queries([question for _, question in staged.births.values()])
                points = [point_of(e, v) for (e, _), v in zip(staged.births.values(), vectors, strict=True)]
                # Its point of an earlier approval may be there, dead; a point is inserted once.
                self._index.delete(list(staged.births))
                self._index.insert(points)
                self._epochs.step("inserted")
            self._epochs.flip([staged.change])

    def _stage(self, what: str, wanted: list[str], reason: str, actor: str) -> _Staged | None:
        """Record what is to happen; None where everything is as wanted already."""
        with self._db.write() as session:
            rows = find(session, wanted)
            _check(what, rows)
            before = {"approve": ("quarantined",), "quarantine": ("approved",), "retire": ("approved", "quarantined")}
            ours = [e for e in rows if e.status in before[what]]
            if not ours:
                return None
            births: dict[str, tuple[Example, str]] = {}
            waited: dict[str, str] = {}
            if what == "approve":
                by_id = {e.id: e for e in ours}
                for old, by in _overtaken(session, ours):
                    _inherit(by_id[by], old)
                for example in ours:
                    self._settle_on_live(session, example)
                    # Nobody else approves it meanwhile, nor inserts its point.
                    waited[example.id], example.status = example.reason, "staged"
                    births[example.point] = (example, example.question)
            session.flush()
            body = {
                "what": what,
                "examples": [e.id for e in ours],
                "waited": waited,
                "reason": reason,
                "actor": actor,
            }
            change = self._epochs.stage(session, self.kind, "examples", list(births), body)
            return _Staged(change=change, births=births)

    def _settle_on_live(self, session: Session, example: Example) -> None:
        """Tie an example that waited to the chunks that hold its quotes now.

        Raises:
            UserError: a quote does not stand any more.
        """
        moved = 0
        for ground in session.scalars(select(Ground).where(Ground.example == example.id)):
            chunk = holder_now(session, self._library, ground)
            if chunk is None:
                raise UserError(
                    f"the source of {example.id!r} does not hold its quote any more",
                    hint="edit it with a quote of the live version, or retire it",
                    code="source_changed",
                )
            moved += chunk != ground.point
            ground.point = chunk
        if moved:
            note(session, "re-grounded", [example.id], now_ms())

    # --- kernel.epochs.Handler -------------------------------------------------------------------

    def settle(self, session: Session, change: Change, epoch: int) -> Plan:
        ours = list(session.scalars(select(Example).where(Example.id.in_(listed(change.body["examples"])))))
        if change.body["what"] == "approve":
            if any(e.status != "staged" for e in ours):
                raise TryAgain("an example was deleted meanwhile", hint="try again", code=MOVED)
            check_standing(session, change.body["examples"])
            dying = tuple(old.point for old, _ in _overtaken(session, ours))
            deaths = (Death(points=dying, until=now_ms()),) if dying else ()
            return Plan(births=tuple(change.points), deaths=deaths)
        dying = tuple(e.point for e in ours if e.status == "approved")
        return Plan(deaths=(Death(points=dying, until=now_ms()),) if dying else ())

    def commit(self, session: Session, change: Change, epoch: int, at: int) -> None:
        body = change.body
        what, examples, reason, actor = body["what"], body["examples"], body["reason"], body["actor"]
        if what == "approve":
            ours = (Example.id.in_(listed(examples)), Example.status == "staged")
            for old, by in _overtaken(session, session.scalars(select(Example).where(*ours)).all()):
                retire(session, [old.id], epoch, f"replaced: {ASKED}, approved", at, actor, by=by)
            session.execute(update(Example).where(*ours).values(status="approved", reason="", born=epoch, died=OPEN))
            note(session, "approved", examples, at, actor, epoch=epoch)
        elif what == "quarantine":
            approved = select(Example.id).where(Example.id.in_(listed(examples)), Example.status == "approved")
            held = list(session.scalars(approved))
            left = update(Example).where(Example.id.in_(listed(held)))
            session.execute(left.values(status="quarantined", reason=reason, died=epoch))
            note(session, "quarantined", held, at, actor, reason=reason, epoch=epoch)
        else:
            retire(session, examples, epoch, reason, at, actor)
        for example in examples:
            record(session, f"example-{what}", example, actor, **({"reason": reason} if reason else {}))

    def sweep(self, session: Session, change: Change) -> None:
        for example, reason in change.body["waited"].items():
            waits = (Example.id == example, Example.status == "staged")
            session.execute(update(Example).where(*waits).values(status="quarantined", reason=reason))


def _overtaken(session: Session, approved: Sequence[Example]) -> list[tuple[Example, str]]:
    """What is in use and asks the same as one that is approved, each with the id of that one."""
    asking = {(e.workspace, e.question_key): e.id for e in approved}
    keys = listed({key for _, key in asking})
    in_use = select(Example).where(Example.question_key.in_(keys), Example.status == "approved").order_by(Example.id)
    return [
        (e, asking[e.workspace, e.question_key])
        for e in session.scalars(in_use)
        if (e.workspace, e.question_key) in asking
    ]


def _inherit(example: Example, old: Example) -> None:
    """What a person said of the question holds for what comes instead, and no exam loses a question to training."""
    if example.slice == UNNAMED:
        example.slice = old.slice
    example.pinned = max(example.pinned, old.pinned)
    if old.split == "held-out":
        example.split = old.split


def find(session: Session, wanted: Sequence[str]) -> list[Example]:
    """Examples by id, in the order asked for.

    Raises:
        UserError: none is named.
        NotFound: one is not there, or a delete took its words.
    """
    if not wanted:
        raise UserError("no example is named", hint="name one or more; `reprise examples list` shows them")
    known = select(Example).where(Example.id.in_(listed(wanted)), Example.question != REDACTED)
    rows = {e.id: e for e in session.scalars(known)}
    missing = [one for one in wanted if one not in rows]
    if missing:
        raise NotFound(f"no example {missing[0]!r}", hint="`reprise examples list` shows them")
    return [rows[one] for one in wanted]


def _check(what: str, rows: Sequence[Example]) -> None:
    asked: dict[tuple[str, str], str] = {}
    for example in rows:
        other = asked.setdefault((example.workspace, example.question_key), example.id)
        if what == "approve" and other != example.id:
            raise UserError(
                f"{other!r} and {example.id!r} ask the same question", hint="approve one of them, and retire the other"
            )
        if example.status == "staged":
            raise TryAgain(f"{example.id!r} is being decided about", hint="try again in a moment", code="busy")
        if example.status == "retired" and what != "retire":
            raise UserError(
                f"{example.id!r} is retired: {example.reason}",
                hint="edit it: its edited form is taken in anew",
                code="retired",
            )
