"""Whether all of an example may be words of what it mentions, or only the answer that was shown and corrected.

An edit may tie an example to another document, or to none, and leave its words as they were: until here nothing led from
the document they came from to that form. And what a corrected answer cited is noted chunk by chunk, not only where no
chunk of the document grounds the correction: one of them may expire before the others.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

WORDS = ("question", "answer", "preferred", "rejected")
Mention = tuple[str, str, str]
"""(example, document, point)"""


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    with op.batch_alter_table("example_mentions") as table:
        table.add_column(sa.Column("whole", number, nullable=False, server_default="0"))
    bind = op.get_bind()
    bind.execute(sa.update(_MENTIONS).where(_MENTIONS.c.example.in_(_praise())).values(whole=1))
    there = {tuple(row) for row in bind.execute(sa.select(*_MENTIONS.c[:3]))}
    found = dict.fromkeys(_of_corrections(bind), 0) | dict.fromkeys(_of_edits(bind), 1)
    new = [{**dict(zip(_NAMES, one, strict=True)), "whole": whole} for one, whole in found.items() if one not in there]
    if new:
        op.bulk_insert(_MENTIONS, sorted(new, key=lambda row: [row[name] for name in _NAMES]))


def downgrade() -> None:
    with op.batch_alter_table("example_mentions") as table:
        table.drop_column("whole")


_NAMES = ("example", "document", "point")
_MENTIONS = sa.table("example_mentions", *(sa.column(name, sa.Text()) for name in _NAMES), sa.column("whole"))
_EXAMPLES = sa.table("examples", sa.column("id"), sa.column("origin"), *(sa.column(name) for name in WORDS))
_GROUNDS = sa.table("grounds", *(sa.column(name) for name in _NAMES))
_EVENTS = sa.table(
    "example_events", sa.column("id"), sa.column("example"), sa.column("what"), sa.column("detail", sa.JSON())
)


def _praise() -> Any:
    return sa.select(_EXAMPLES.c.id).where(_EXAMPLES.c.origin == "thumbs").scalar_subquery()


def _of_corrections(bind: sa.Connection) -> Iterator[Mention]:
    """What a corrected answer cited beside what grounds the correction, in the same document as well."""
    feedback = sa.table("feedback", sa.column("turn"), sa.column("example"))
    turns = sa.table("turns", sa.column("id"), sa.column("shown", sa.JSON()))
    corrected = sa.select(feedback.c.example, turns.c.shown).join(turns, turns.c.id == feedback.c.turn)
    corrected = corrected.join(_EXAMPLES, _EXAMPLES.c.id == feedback.c.example)
    grounds = {tuple(row) for row in bind.execute(sa.select(*_GROUNDS.c))}
    for example, shown in bind.execute(corrected.where(_EXAMPLES.c.rejected.is_not(None))):
        for cited in (shown.get("citations") if isinstance(shown, dict) else None) or ():
            one = (example, cited.get("document"), cited.get("chunk"))
            if all(one) and one not in grounds:
                yield one


def _of_edits(bind: sa.Connection) -> Iterator[Mention]:
    """What grounded an example before it was edited, where the edited form has words of it and stands elsewhere."""
    words = {row[0]: row[1:] for row in bind.execute(sa.select(_EXAMPLES.c.id, *(_EXAMPLES.c[w] for w in WORDS)))}
    grounds: dict[str, set[tuple[str, str]]] = {}
    for example, document, point in bind.execute(sa.select(*_GROUNDS.c)):
        grounds.setdefault(example, set()).add((document, point))
    ties = {example: set(there) for example, there in grounds.items()}
    edits = sa.select(_EVENTS.c.example, _EVENTS.c.detail).where(_EVENTS.c.what == "edited").order_by(_EVENTS.c.id)
    for example, detail in bind.execute(edits):
        before = (detail or {}).get("from")
        if before is None or not any(a and a == b for a, b in zip(words[example], words.get(before, ()), strict=False)):
            continue
        documents = {document for document, _ in grounds.get(example, ())}
        dropped = {tie for tie in ties.get(before, ()) if tie[0] not in documents}
        ties.setdefault(example, set()).update(dropped)
        yield from ((example, *tie) for tie in dropped)
