"""What happened to each example: created, approved, edited, rehearsed, forgotten, and so on, one event after another.

The strength of a memory is counted as spaced repetition counts it: rehearsals in a row after which it was still known.
An example whose loss rose well above what it had been after its last rehearsal, and by more than those of the others,
was forgotten meanwhile, and starts from nothing (Leitner's boxes; MSSR and FOREVER use the same two counts to say when
an old example is due). Each kind of adapter has memories of its own: losses of two kinds are on different scales, and
say nothing about each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from kernel.database import listed
from kernel.ids import iso
from rehearsal.tables import Example, ExampleEvent, ExampleMemory

FORGOTTEN_FACTOR, FORGOTTEN_LOSS = 1.5, 0.1
"""A loss is clearly above the last one when it is above it by both: half of it, and a tenth of a nat. The first keeps
noise among large losses from counting, the second noise among losses near zero."""
_TELLING = 10
"""Examples that a run has to have practised again before it can be told by how much it measures higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """How well an example is remembered."""

    strength: float
    forgotten: int
    lost: bool = False
    """Whether this rehearsal found it forgotten."""


def remembered(before: Remembered, last_loss: float | None, loss: float | None, shift: float = 1.0) -> Remembered:
    """What a rehearsal makes of a memory. Both losses are of the example itself, in runs of the same kind; `shift` says
    how many times as high the later run measures.

    A rehearsal without a loss, or with one that is no number, tells nothing: the memory stays as it was.
    """
    if loss is None or not math.isfinite(loss):
        return Remembered(strength=before.strength, forgotten=before.forgotten)
    due = None if last_loss is None else last_loss * shift
    if due is not None and loss > due * FORGOTTEN_FACTOR and loss > due + FORGOTTEN_LOSS:
        return Remembered(strength=0.0, forgotten=before.forgotten + 1, lost=True)
    return Remembered(strength=before.strength + 1, forgotten=before.forgotten)


def shift(losses: Iterable[tuple[float | None, float | None]]) -> float:
    """How many times as high a run measures: the median of what its examples lose now against (last, now), 1 at least.

    A loss is measured in the company of a run's other rows and beside what else it is trained for. What all examples
    gained in loss is the run's, and none of them was forgotten for it. Of fewer than ten nothing can be told.
    """
    found = [now / last for last, now in losses if last and now is not None and math.isfinite(now)]
    return max(1.0, median(found)) if len(found) >= _TELLING else 1.0


def note_rehearsed(
    session: Session, run: str, losses: Sequence[tuple[str, float | None]], at: int, *, kind: str, actor: str = "local"
) -> list[str]:
    """Note in the caller's transaction that `run`, of this kind, practised these examples; those it found forgotten.

    `losses` are (example, its loss in that run or None where it is not known), each example once; `at` is in UTC ms.
    The same run noted twice counts once, so a stage that is repeated after a crash does no harm.
    """
    ids = [example for example, _ in losses]
    noted = set(
        session.scalars(
            select(ExampleEvent.example).where(
                ExampleEvent.example.in_(listed(ids)),
                ExampleEvent.what == "rehearsed",
                ExampleEvent.detail["run"].as_string() == run,
            )
        )
    )
    there = set(session.scalars(select(Example.id).where(Example.id.in_(listed(ids)))))
    ours = select(ExampleMemory).where(ExampleMemory.example.in_(listed(ids)), ExampleMemory.kind == kind)
    rows = {memory.example: memory for memory in session.scalars(ours)}
    now = dict(losses)
    higher = shift((memory.last_loss, now[e]) for e, memory in rows.items() if e not in noted)
    lost: list[str] = []
    for example, given in losses:
        if example not in there or example in noted:
            continue
        if (row := rows.get(example)) is None:
            row = ExampleMemory(example=example, kind=kind, rehearsed=0, last_loss=None, strength=0.0, forgotten=0)
            session.add(row)
        loss = given if given is not None and math.isfinite(given) else None
        after = remembered(Remembered(strength=row.strength, forgotten=row.forgotten), row.last_loss, loss, higher)
        note(session, "rehearsed", [example], at, actor, run=run, kind=kind, loss=loss)
        if after.lost:
            note(session, "forgotten", [example], at, actor, run=run, kind=kind, loss=loss, before=row.last_loss)
            lost.append(example)
        row.rehearsed += 1
        row.last_rehearsed, row.strength, row.forgotten = at, after.strength, after.forgotten
        row.last_loss = row.last_loss if loss is None else loss
    return lost


def note(session: Session, what: str, examples: Iterable[str], at: int, actor: str = "local", **detail: Any) -> None:
    """Write one event for each example in the caller's transaction: it stands if what it tells was committed."""
    session.add_all(ExampleEvent(example=one, at=at, what=what, actor=actor, detail=detail) for one in examples)


def events(session: Session, example: Example) -> list[dict[str, Any]]:
    """What happened to an example, oldest first; what it was before an edit included."""
    chain, wanted = [example.id], select(ExampleEvent).where(ExampleEvent.what == "edited")
    while True:
        edits = session.scalars(wanted.where(ExampleEvent.example == chain[-1]))
        former = next((e.detail["from"] for e in edits if "from" in e.detail), None)
        if former is None or former in chain:
            break
        chain.append(former)
    rows = session.scalars(select(ExampleEvent).where(ExampleEvent.example.in_(chain)).order_by(ExampleEvent.id))
    said = {e.id: e.question for e in session.scalars(select(Example).where(Example.id.in_(chain)))}
    return [
        {
            "at": iso(row.at),
            "what": row.what,
            "example": row.example,
            "question": said[row.example],
            "actor": row.actor,
            "detail": row.detail,
        }
        for row in rows
    ]


def forms(session: Session, examples: Iterable[str]) -> set[str]:
    """These examples and all that they were edited into: an edited form goes on with the words of what it replaced."""
    found, last = set[str](), set(examples)
    while last:
        found |= last
        edited = ExampleEvent.detail["from"].as_string().in_(listed(last))
        last = set(session.scalars(select(ExampleEvent.example).where(ExampleEvent.what == "edited", edited))) - found
    return found


def forget(session: Session, examples: Iterable[str]) -> None:
    """Take the events of examples and what is remembered of them away: details may hold words that have to go."""
    ids = list(examples)
    for theirs in (ExampleEvent, ExampleMemory):
        session.execute(delete(theirs).where(theirs.example.in_(listed(ids))))
