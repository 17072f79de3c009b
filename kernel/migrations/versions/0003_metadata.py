"""Metadata of documents: tags, and the language of each version (null: not told yet)."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table('tags',
    sa.Column('document', sa.Text(), nullable=False),
    sa.Column('tag', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['document'], ['documents.id'], name=op.f('fk_tags_document')),
    sa.PrimaryKeyConstraint('document', 'tag', name=op.f('pk_tags'))
    )
    with op.batch_alter_table('tags', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_tags_tag'), ['tag'], unique=False)

    with op.batch_alter_table('versions', schema=None) as batch_op:
        batch_op.add_column(sa.Column('language', sa.Text(), nullable=True))
