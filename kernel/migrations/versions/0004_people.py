"""People: conversations, preferences, whose turn it is, and the example a feedback made."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "conversations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created", whole, nullable=False),
        sa.Column("updated", whole, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
    )
    op.create_index(op.f("ix_conversations_user"), "conversations", ["user"], unique=False)
    op.create_table(
        "preferences",
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("length", sa.Text(), nullable=True),
        sa.Column("tone", sa.Text(), nullable=True),
        sa.Column("workspace", sa.Text(), nullable=True),
        sa.Column("documents", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("consent", whole, nullable=False),
        sa.Column("changed", whole, nullable=False),
        sa.PrimaryKeyConstraint("user", name=op.f("pk_preferences")),
    )
    op.add_column("turns", sa.Column("standalone", sa.Text(), nullable=True))
    op.add_column("turns", sa.Column("user", sa.Text(), server_default="local", nullable=False))
    op.add_column("turns", sa.Column("conversation", sa.Text(), nullable=True))
    op.add_column("turns", sa.Column("position", whole, nullable=True))
    op.add_column("turns", sa.Column("personal", whole, server_default="0", nullable=False))
    op.create_index(op.f("ix_turns_user"), "turns", ["user"], unique=False)
    op.create_index(op.f("ix_turns_conversation"), "turns", ["conversation"], unique=False)
    op.add_column("feedback", sa.Column("example", sa.Text(), nullable=True))
