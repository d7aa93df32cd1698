"""Which backups were made, and whether the database was restored from one.

The version before neither reads nor writes either, and serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

WHEN = sa.DateTime(timezone=True)
NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "backups",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", WHEN, nullable=False),
        sa.Column("made_at", WHEN, nullable=False, server_default=NOW),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("backups_pkey")),
    )
    op.create_table(
        "restorations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("backup", sa.Text(), nullable=True),
        sa.Column("restored_at", WHEN, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("id", name=op.f("restorations_pkey")),
    )


def downgrade() -> None:
    op.drop_table("restorations")
    op.drop_table("backups")
