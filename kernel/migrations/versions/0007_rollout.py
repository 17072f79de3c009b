"""Rollout: who is tried and how, what the trials showed, and which adapter serves which workspace or slice."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in ("challenger", "challenger_path", "stage", "rollout"):
        op.add_column("pointers", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("pointers", sa.Column("share", sa.Double(), server_default="0", nullable=False))
    op.create_table(
        "routes",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("slice", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", whole, nullable=False),
        sa.PrimaryKeyConstraint("kind", "workspace", "slice", name=op.f("pk_routes")),
    )
    op.create_table(
        "exposures",
        sa.Column("rollout", sa.Text(), nullable=False),
        sa.Column("turn", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("abstained", whole, nullable=False),
        sa.Column("ms", sa.Double(), nullable=False),
        sa.Column("created", whole, nullable=False),
        sa.PrimaryKeyConstraint("rollout", "turn", name=op.f("pk_exposures")),
    )
    op.create_index(op.f("ix_exposures_turn"), "exposures", ["turn"], unique=False)
    op.create_table(
        "differences",
        sa.Column("rollout", sa.Text(), nullable=False),
        sa.Column("turn", sa.Text(), nullable=False),
        sa.Column("overlap", sa.Double(), nullable=True),
        sa.Column("rbo", sa.Double(), nullable=True),
        sa.Column("first_changed", whole, nullable=False),
        sa.Column("abstained", whole, nullable=False),
        sa.Column("shadow_abstained", whole, nullable=False),
        sa.Column("ms", sa.Double(), nullable=False),
        sa.Column("shadow_ms", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("dropped", whole, nullable=False),
        sa.Column("created", whole, nullable=False),
        sa.PrimaryKeyConstraint("rollout", "turn", name=op.f("pk_differences")),
    )
    op.create_index(op.f("ix_differences_turn"), "differences", ["turn"], unique=False)
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("against", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("override", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started", whole, nullable=False),
        sa.Column("stepped", whole, nullable=False),
        sa.Column("ended", whole, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_index(op.f("ix_rollouts_kind"), "rollouts", ["kind"], unique=False)
