"""Who looked at originals"""

import sqlalchemy as sa
from alembic import op

import serve.store.tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "original_views",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("jurisdiction", sa.String(length=20), nullable=False),
        sa.Column("patrol_id", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("viewed_at", serve.store.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_original_views")),
    )
    with op.batch_alter_table("original_views", schema=None) as batch_op:
        batch_op.create_index("ix_original_views_jurisdiction", ["jurisdiction"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("original_views", schema=None) as batch_op:
        batch_op.drop_index("ix_original_views_jurisdiction")

    op.drop_table("original_views")
