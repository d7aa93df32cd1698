"""How far targets have read what was booked, and the sums that wait for them.

Every column has a default or may be NULL, so the version before serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.xid8 import Xid8

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("closes", sa.Column("booked_xid", Xid8(), nullable=True))
    op.create_index("closes_booked_idx", "closes", ["operator", "booked_xid"], postgresql_where=sa.text("booked"))
    op.create_table(
        "export_cursors",
        sa.Column("operator", ID, nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.Column("xid", Xid8(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("since", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("kind", ID, nullable=False),
        sa.Column("mode", ID, nullable=True),
        sa.Column("reads", ID, nullable=False),
        sa.Column("start", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("operator", "target", name=op.f("export_cursors_pkey")),
    )
    # The version before wrote every ledger's items with the booking: what it has booked is told.
    op.execute(
        "INSERT INTO export_cursors (operator, target, kind, reads, xid, seq)"
        " SELECT DISTINCT operator, target, 'ledger', 'entries', pg_current_xact_id(),"
        " (SELECT coalesce(max(seq), 0) FROM entries) FROM outbox"
    )
    op.create_table(
        "export_buckets",
        sa.Column("operator", ID, nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("stream", ID, nullable=False),
        sa.Column("head", JSONB(), nullable=False),
        sa.Column("tallies", JSONB(), nullable=False),
        sa.Column("part", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("due_at", WHEN, nullable=True),
        sa.Column("closing_account", ID, nullable=True),
        sa.Column("closing_start", WHEN, nullable=True),
        sa.Column("booked_at", WHEN, nullable=True),
        sa.PrimaryKeyConstraint("operator", "target", "name", name=op.f("export_buckets_pkey")),
    )
    op.create_index(
        "export_buckets_due_idx",
        "export_buckets",
        ["operator", "target", "due_at", "name"],
        postgresql_where=sa.text("dirty"),
    )
    op.create_index(
        "export_buckets_closing_idx",
        "export_buckets",
        ["operator", "target", "closing_account", "closing_start"],
        postgresql_where=sa.text("dirty AND due_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("export_buckets")
    op.drop_table("export_cursors")
    op.drop_index("closes_booked_idx", "closes")
    op.drop_column("closes", "booked_xid")
