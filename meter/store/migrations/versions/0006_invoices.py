"""Invoices as targets say they stand, and which deliveries went into each.

What is new has a table and an index of its own, so the version before serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "invoices",
        sa.Column("operator", ID, nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.Column("remote_id", ID, nullable=False),
        sa.Column("invoice", ID, nullable=True),
        sa.Column("account", ID, nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.Column("amount_due", sa.Numeric(), nullable=False),
        sa.Column("amount_paid", sa.Numeric(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("start", WHEN, nullable=True),
        sa.Column("end", WHEN, nullable=True),
        sa.Column("changed_at", WHEN, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("operator", "target", "remote_id", name=op.f("invoices_pkey")),
        sa.CheckConstraint(
            "status IN ('draft', 'open', 'failed', 'paid', 'uncollectible', 'void', 'deleted')",
            name=op.f("invoices_status_check"),
        ),
    )
    op.create_index("invoices_account_idx", "invoices", ["operator", "account", "changed_at"])
    op.create_index("invoices_changed_idx", "invoices", ["operator", "changed_at"])
    op.create_index(
        "outbox_remote_idx",
        "outbox",
        ["operator", "target", "remote_id"],
        postgresql_ops={"remote_id": "text_pattern_ops"},
        postgresql_where=sa.text("state = 'delivered'"),
    )


def downgrade() -> None:
    op.drop_index("outbox_remote_idx", table_name="outbox")
    op.drop_table("invoices")
