"""As which company a target began, who had a delivery made again, and when a source last told something.

The version before writes none of the three, and serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("export_cursors", sa.Column("company", sa.Text(), nullable=True))
    op.add_column("outbox", sa.Column("asked_by", sa.Text(), nullable=True))
    op.create_table(
        "source_receipts",
        sa.Column("operator", ID, nullable=False),
        sa.Column("vendor", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("received_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", "vendor", "name", name=op.f("source_receipts_pkey")),
    )


def downgrade() -> None:
    op.drop_table("source_receipts")
    op.drop_column("outbox", "asked_by")
    op.drop_column("export_cursors", "company")
