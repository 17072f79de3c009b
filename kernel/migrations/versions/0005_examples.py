"""Examples: topic clusters, how well each is remembered, and its history."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("examples", sa.Column("cluster", sa.Text(), server_default="", nullable=False))
    op.add_column("examples", sa.Column("last_rehearsed", whole, nullable=True))
    op.add_column("examples", sa.Column("strength", sa.Double(), server_default="0", nullable=False))
    op.add_column("examples", sa.Column("forgotten", whole, server_default="0", nullable=False))
    op.create_table(
        "example_events",
        sa.Column("id", whole, autoincrement=True, nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("at", whole, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["example"], ["examples.id"], name=op.f("fk_example_events_example")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_example_events")),
    )
    op.create_index(op.f("ix_example_events_example"), "example_events", ["example"], unique=False)
