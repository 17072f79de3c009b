"""Documents whose words stand in an example that they do not ground, so that a delete finds it.

A correction keeps the answer that was shown, and until here a praised answer was grounded on the first document it
cited alone. What examples of feedback, and those that were edited since, hold of other documents is worked out from the
turns they came from; of a turn that is gone nobody can tell.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    mentions = op.create_table(
        "example_mentions",
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("point", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["example"], ["examples.id"], name=op.f("fk_example_mentions_example")),
        sa.PrimaryKeyConstraint("example", "document", "point", name=op.f("pk_example_mentions")),
    )
    op.create_index(op.f("ix_example_mentions_document"), "example_mentions", ["document"])
    rows = [dict(zip(("example", "document", "point"), row, strict=True)) for row in sorted(_found(op.get_bind()))]
    if rows:
        op.bulk_insert(mentions, rows)


def downgrade() -> None:
    op.drop_table("example_mentions")


def _found(bind: sa.Connection) -> Iterator[tuple[str, str, str]]:
    """(example, document, point) of every mention, once."""
    grounds = sa.table("grounds", sa.column("example"), sa.column("document"))
    grounded: dict[str, set[str]] = {}
    for example, document in bind.execute(sa.select(grounds.c.example, grounds.c.document)):
        grounded.setdefault(example, set()).add(document)
    cited: dict[str, set[tuple[str, str]]] = {}
    feedback = sa.table("feedback", sa.column("turn"), sa.column("example"))
    turns = sa.table("turns", sa.column("id"), sa.column("shown", sa.JSON()))
    made = sa.select(feedback.c.example, turns.c.shown).join(turns, turns.c.id == feedback.c.turn)
    for example, shown in bind.execute(made.where(feedback.c.example.is_not(None))):
        cited.setdefault(example, set()).update(_cited(shown))
    events = sa.table(
        "example_events", sa.column("id"), sa.column("example"), sa.column("what"), sa.column("detail", sa.JSON())
    )
    edits = sa.select(events.c.example, events.c.detail).where(events.c.what == "edited").order_by(events.c.id)
    for example, detail in bind.execute(edits):
        if (before := cited.get((detail or {}).get("from", ""))) is not None:
            cited.setdefault(example, set()).update(before)
    examples = sa.table("examples", sa.column("id"), sa.column("origin"), sa.column("rejected"))
    telling = sa.or_(examples.c.rejected.is_not(None), examples.c.origin == "thumbs")
    for example in bind.scalars(sa.select(examples.c.id).where(telling)):
        for document, point in cited.get(example, ()):
            if document not in grounded.get(example, ()):
                yield example, document, point


def _cited(shown: Any) -> set[tuple[str, str]]:
    told = shown.get("citations") if isinstance(shown, dict) else None
    return {(c["document"], c["chunk"]) for c in told or () if c.get("document") and c.get("chunk")}
