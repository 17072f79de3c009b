"""Operating adapters: triggers and time zones of schedules, what each firing came to, which documents a run saw."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("schedules", sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False))
    op.add_column("schedules", sa.Column("triggers", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("schedules", sa.Column("cooldown", whole, server_default="0", nullable=False))
    op.add_column("schedules", sa.Column("seen", sa.JSON(), server_default="{}", nullable=False))
    op.create_table(
        "firings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("due", whole, nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("missed", whole, nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("lease_until", whole, nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=True),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("created", whole, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
    )
    op.create_index("uq_firings_schedule_due", "firings", ["schedule", "due"], unique=True)
    op.create_table(
        "run_documents",
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("version", whole, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("count", whole, nullable=False),
        sa.PrimaryKeyConstraint("run", "document", "version", "role", name=op.f("pk_run_documents")),
    )
    op.create_index(op.f("ix_run_documents_document"), "run_documents", ["document"], unique=False)
