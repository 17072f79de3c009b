"""Evaluation: policies of the gate, approvals, pinned suites, and figures by model and example."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "gate_policies",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("changed", whole, nullable=False),
        sa.PrimaryKeyConstraint("kind", "workspace", name=op.f("pk_gate_policies")),
    )
    op.create_table(
        "approvals",
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", whole, nullable=False),
        sa.PrimaryKeyConstraint("adapter", name=op.f("pk_approvals")),
    )
    op.create_table(
        "suites",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("created", whole, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_suites")),
    )
    op.create_table(
        "figures",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("epoch", whole, nullable=False),
        sa.Column("figure", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("model", "example", "metric", name=op.f("pk_figures")),
    )
