"""Resumable uploads, answers to be repeated, the workers' leases"""

import sqlalchemy as sa
from alembic import op

import serve.store.tables

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = serve.store.tables.UtcDateTime
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("patrol_id", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("expires_at", moment(timezone=True), nullable=False),
        sa.Column("finished_at", moment(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["patrol_id"], ["patrols.id"], name=op.f("fk_uploads_patrol_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.create_index("ix_uploads_patrol_id", ["patrol_id"], unique=False)
        batch_op.create_index("ix_uploads_expires_at", ["expires_at"], unique=False)
    op.create_table(
        "answers",
        sa.Column("jurisdiction", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=True),
        sa.Column("recorded_at", moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("jurisdiction", "key", name=op.f("pk_answers")),
    )
    with op.batch_alter_table("answers", schema=None) as batch_op:
        batch_op.create_index("ix_answers_recorded_at", ["recorded_at"], unique=False)
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("machine", sa.String(length=200), nullable=False),
        sa.Column("process", sa.String(length=60), nullable=False),
        sa.Column("started_at", moment(timezone=True), nullable=False),
        sa.Column("seen_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    with op.batch_alter_table("patrols", schema=None) as batch_op:
        batch_op.add_column(sa.Column("retry_at", moment(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("last_error", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("patrols", schema=None) as batch_op:
        batch_op.drop_column("last_error")
        batch_op.drop_column("retry_at")
    op.drop_table("workers")
    op.drop_table("answers")
    op.drop_table("uploads")
