"""How well each kind of adapter remembers an example, kept apart: losses of two kinds do not compare.

Until here one row held both, so a generator's loss after a retriever's counted as forgotten. Where the history of an
example has all of its rehearsals, what each kind remembers is worked out from it, and what was found forgotten only by
comparing two kinds is taken out of it. Where it has not (it is younger than the figures are), they go to the kind of
the runs it knows, and to the retriever where these are of two kinds or none: that was the only kind there was.

And feedback leaves the slice that it was put into whatever it was about, so that topics sort it. The index keeps that
name in its payload until it is built anew; nothing is looked up by it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

FIGURES = ("rehearsed", "last_loss", "last_rehearsed", "strength", "forgotten")


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    memories = op.create_table(
        "example_memories",
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rehearsed", whole, nullable=False),
        sa.Column("last_loss", sa.Double(), nullable=True),
        sa.Column("last_rehearsed", whole, nullable=True),
        sa.Column("strength", sa.Double(), nullable=False),
        sa.Column("forgotten", whole, nullable=False),
        sa.ForeignKeyConstraint(["example"], ["examples.id"], name=op.f("fk_example_memories_example")),
        sa.PrimaryKeyConstraint("example", "kind", name=op.f("pk_example_memories")),
    )
    rows, false = _carried(op.get_bind())
    if rows:
        op.bulk_insert(memories, rows)
    events = sa.table("example_events", sa.column("id"))
    for event in false:
        op.execute(events.delete().where(events.c.id == event))
    for name in FIGURES:
        op.drop_column("examples", name)
    examples = sa.table("examples", sa.column("slice"), sa.column("origin"))
    feedback = examples.c.slice == "feedback", examples.c.origin.in_(("correction", "thumbs"))
    op.execute(examples.update().where(*feedback).values(slice="general"))


def _carried(connection: sa.Connection) -> tuple[list[dict[str, Any]], list[int]]:
    """Rows of the new table, and the ids of events that say forgotten where no loss of the same kind had risen."""
    examples = sa.table("examples", sa.column("id"), sa.column("question_key"), *map(sa.column, FIGURES))
    events = sa.table(
        "example_events", *map(sa.column, ("id", "example", "at", "what")), sa.column("detail", sa.JSON())
    )
    runs = sa.table("runs", sa.column("id"), sa.column("kind"))
    kinds = {run.id: run.kind for run in connection.execute(sa.select(runs))}
    told: defaultdict[str, list[Any]] = defaultdict(list)
    said: defaultdict[str, list[Any]] = defaultdict(list)
    wanted = sa.select(events).where(events.c.what.in_(("rehearsed", "forgotten"))).order_by(events.c.id)
    for event in connection.execute(wanted):
        (told if event.what == "rehearsed" else said)[event.example].append(event)
    rows: list[dict[str, Any]] = []
    false: list[int] = []
    # What was deleted has no question any more, and nothing of it is to be remembered.
    practised = sa.select(examples).where(examples.c.rehearsed > 0, examples.c.question_key != "")
    for example in connection.execute(practised):
        runs_of = [event.detail.get("run") for event in told[example.id]]
        known = {kinds.get(run) for run in runs_of}
        if len(runs_of) != example.rehearsed or None in known:
            kind = known.pop() if len(known) == 1 else None
            figures = {name: getattr(example, name) for name in FIGURES}
            rows.append({"example": example.id, "kind": kind or "retriever", **figures})
            continue
        lost: set[str] = set()
        for kind in sorted(map(str, known)):
            ours = [event for event in told[example.id] if kinds[event.detail["run"]] == kind]
            figures, forgetting = _replayed(ours)
            lost |= forgetting
            rows.append({"example": example.id, "kind": kind, **figures})
        false += [event.id for event in said[example.id] if event.detail.get("run") not in lost]
    return rows, false


def _replayed(rehearsals: Sequence[Any]) -> tuple[dict[str, Any], set[str]]:
    """What these rehearsals of one kind leave, by the rule of the day; the runs that found the example forgotten."""
    figures: dict[str, Any] = {"rehearsed": 0, "last_loss": None, "last_rehearsed": None}
    figures |= {"strength": 0.0, "forgotten": 0}
    lost: set[str] = set()
    for event in rehearsals:
        loss, last = event.detail.get("loss"), figures["last_loss"]
        figures["rehearsed"] += 1
        figures["last_rehearsed"] = event.at
        if loss is None:
            continue
        if last is not None and loss > last * 1.5 and loss > last + 0.1:
            figures["strength"] = 0.0
            figures["forgotten"] += 1
            lost.add(event.detail["run"])
        else:
            figures["strength"] += 1
        figures["last_loss"] = loss
    return figures, lost
