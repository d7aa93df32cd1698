"""Discounts, deposits, bought credit, re-rates of one account, refunds, closed periods, heartbeats, unread values.

Every column has a default or may be NULL, so the version before serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "refunds",
        sa.Column("operator", ID, nullable=False),
        sa.Column("sale_source", ID, nullable=False),
        sa.Column("sale_order", ID, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", "sale_source", "sale_order", "source", "id", name=op.f("refunds_pkey")),
    )
    op.create_index("refunds_time_idx", "refunds", ["operator", "time"])
    op.execute(
        "INSERT INTO refunds (operator, sale_source, sale_order, source, id, time)"
        " SELECT operator, data -> 'sale' ->> 'source', data -> 'sale' ->> 'order', source, id, time"
        " FROM events WHERE type = 'pos.refund'"
        " AND data -> 'sale' ->> 'source' IS NOT NULL AND data -> 'sale' ->> 'order' IS NOT NULL"
    )
    op.create_table(
        "closes",
        sa.Column("operator", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("period_start", WHEN, nullable=False),
        sa.Column("closed_at", WHEN, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("booked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("operator", "account", "period_start", name=op.f("closes_pkey")),
    )
    op.create_table(
        "wakes",
        sa.Column("operator", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("due_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", "account", name=op.f("wakes_pkey")),
    )
    op.create_index("wakes_due_idx", "wakes", ["operator", "due_at"])
    # Everybody is folded from the beginning once this version runs: no checkpoint of the one before is read. It is the
    # first to look here, so the one before, still serving, cannot take the request and leave it unfulfilled.
    op.execute("INSERT INTO wakes (operator, account, due_at) SELECT operator, account, '-infinity' FROM accounts")
    op.create_table(
        "unread",
        sa.Column("operator", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("meter", ID, nullable=False),
        sa.Column("element", sa.Integer(), nullable=False),
        sa.Column("behind_source", ID, nullable=True),
        sa.Column("behind_id", ID, nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "operator", "account", "time", "source", "id", "meter", "element", name=op.f("unread_pkey")
        ),
    )
    # Last, for these lock out whoever reads: a moment, and not while all events are searched.
    op.add_column("subscriptions", sa.Column("discounts", JSONB(), server_default=sa.text("'[]'"), nullable=False))
    op.add_column("subscriptions", sa.Column("deposit", sa.Numeric(), nullable=True))
    op.add_column("accounts", sa.Column("replaced", JSONB(), server_default=sa.text("'[]'"), nullable=False))
    op.add_column("grants", sa.Column("bought_price", sa.Numeric(), nullable=True))
    op.add_column("grants", sa.Column("bought_tax", sa.Text(), nullable=True))
    op.add_column("catalogs", sa.Column("account", ID, nullable=True))
    op.add_column("edges", sa.Column("heartbeat_sequence", sa.BigInteger(), nullable=True))
    op.add_column("edges", sa.Column("heartbeat_until", WHEN, nullable=True))


def downgrade() -> None:
    op.drop_table("unread")
    op.drop_table("wakes")
    op.drop_table("closes")
    op.drop_table("refunds")
    op.drop_column("edges", "heartbeat_until")
    op.drop_column("edges", "heartbeat_sequence")
    op.drop_column("catalogs", "account")
    op.drop_column("grants", "bought_tax")
    op.drop_column("grants", "bought_price")
    op.drop_column("accounts", "replaced")
    op.drop_column("subscriptions", "deposit")
    op.drop_column("subscriptions", "discounts")
