"""Shares of revenue and when it is earned, with each charge; entries in their order, and what is still to be earned.

Every column has a default or may be NULL, so the version before serves on while this runs and after it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.xid8 import Xid8

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)
_OPEN = sa.text("state IN ('pending', 'sending', 'uncertain')")


def upgrade() -> None:
    op.add_column("charges", sa.Column("shares", JSONB(), nullable=True))
    op.add_column("charges", sa.Column("earned_until", WHEN, nullable=True))
    # Everybody is folded from the beginning once this version runs, for what the lines had not: shares of revenue, the
    # span of fees, credit that has expired. Whom the version before folds meanwhile has it all from the next fold on,
    # for no checkpoint of that version is read.
    op.execute(
        "INSERT INTO wakes (operator, account, due_at) SELECT operator, account, '-infinity' FROM accounts"
        " ON CONFLICT (operator, account) DO UPDATE SET due_at = excluded.due_at"
    )
    op.create_index("charges_invoice_idx", "charges", ["operator", "account", "invoice_start"])
    op.create_index(
        "charges_credit_idx", "charges", ["operator", "account"], postgresql_where=sa.text("meter = 'credit'")
    )
    _books()
    _openings()
    _outbox()


def _books() -> None:
    op.create_table(
        "entries",
        sa.Column("operator", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("member", ID, nullable=True),
        sa.Column("meter", ID, nullable=False),
        sa.Column("narration", sa.Text(), nullable=False),
        sa.Column("dimensions", JSONB(), nullable=False),
        sa.Column("suspense", sa.Boolean(), nullable=False),
        sa.CheckConstraint("kind IN ('charge', 'earned', 'billed', 'opening')", name=op.f("entries_kind_check")),
        sa.PrimaryKeyConstraint("operator", "id", name=op.f("entries_pkey")),
    )
    op.create_index("entries_tail_idx", "entries", ["operator", "xid", "seq"])
    op.create_index("entries_day_idx", "entries", ["operator", "day"])
    op.create_index("entries_suspense_idx", "entries", ["operator", "xid", "seq"], postgresql_where=sa.text("suspense"))
    op.create_table(
        "deferrals",
        sa.Column("operator", ID, nullable=False),
        sa.Column("charge", ID, nullable=False),
        sa.Column("chain", ID, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("net", sa.Numeric(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("end_day", sa.Date(), nullable=False),
        sa.Column("next_day", sa.Date(), nullable=False),
        sa.Column("debit", ID, nullable=False),
        sa.Column("credit", ID, nullable=False),
        sa.Column("narration", sa.Text(), nullable=False),
        sa.Column("dimensions", JSONB(), nullable=False),
        sa.Column("suspense", sa.Boolean(), nullable=False),
        sa.CheckConstraint("first_day <= next_day AND next_day <= end_day", name=op.f("deferrals_days_check")),
        sa.PrimaryKeyConstraint("operator", "charge", name=op.f("deferrals_pkey")),
    )
    op.create_index(
        "deferrals_due_idx", "deferrals", ["operator", "next_day"], postgresql_where=sa.text("next_day < end_day")
    )
    op.create_index("deferrals_chain_idx", "deferrals", ["operator", "chain"])


def _openings() -> None:
    """Make an entry of each that the journal holds by its postings alone, and note whose books are to be restated."""
    op.execute(
        """
        INSERT INTO entries (operator, id, kind, day, currency, site, account, member, meter, narration, dimensions,
                             suspense)
        SELECT j.operator, j.entry, 'charge', j.day, j.currency, j.site, j.account, c.member, j.meter,
               concat_ws(' ', c.meter, CASE WHEN k.kind NOT IN ('usage', 'fee') THEN k.kind END,
                         CASE WHEN c.quantity <> 0 OR c.kind = 'usage'
                              THEN trim_scale(c.quantity) || ' ' || c.unit END),
               jsonb_strip_nulls(jsonb_build_object('site', j.site, 'account', j.account, 'meter', j.meter,
                   'kind', k.kind, 'member', c.member, 'tax', c.tax_name, 'corrects', c.corrects)),
               j.suspense
          FROM (SELECT operator, entry, min(day) AS day, min(currency) AS currency, min(site) AS site,
                       min(account) AS account, min(meter) AS meter,
                       bool_or(ledger_account LIKE 'equity:suspense%') AS suspense
                  FROM journal GROUP BY operator, entry) AS j
          JOIN charges AS c ON c.operator = j.operator AND c.id = j.entry
          CROSS JOIN LATERAL (SELECT CASE WHEN c.invoice_start = c.period_start THEN c.kind ELSE 'adjustment' END)
               AS k (kind)
         ORDER BY c.xid, c.seq
        """
    )
    op.create_table(
        "openings",
        sa.Column("operator", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.PrimaryKeyConstraint("operator", "account", name=op.f("openings_pkey")),
    )
    op.execute("INSERT INTO openings (operator, account) SELECT operator, account FROM accounts")


def _outbox() -> None:
    op.add_column("outbox", sa.Column("booked_at", WHEN, nullable=True))
    op.add_column("outbox", sa.Column("stream", ID, server_default=sa.text("''"), nullable=False))
    op.add_column("outbox", sa.Column("burned", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("outbox", sa.Column("rejected", sa.Text(), nullable=True))
    op.create_index("outbox_batch_idx", "outbox", ["operator", "target", "batch"])
    op.drop_index("outbox_open_idx", table_name="outbox")
    op.create_index("outbox_streams_idx", "outbox", ["operator", "target", "stream", "id"], postgresql_where=_OPEN)
    op.create_table(
        "lanes",
        sa.Column("operator", ID, nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.Column("held_until", WHEN, nullable=False),
        sa.Column("failing_since", WHEN, nullable=True),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "target", name=op.f("lanes_pkey")),
    )


def downgrade() -> None:
    op.drop_table("lanes")
    op.drop_table("openings")
    op.drop_index("outbox_streams_idx", table_name="outbox")
    op.create_index("outbox_open_idx", "outbox", ["operator", "target", "id"], postgresql_where=_OPEN)
    op.drop_index("outbox_batch_idx", table_name="outbox")
    op.drop_column("outbox", "rejected")
    op.drop_column("outbox", "burned")
    op.drop_column("outbox", "stream")
    op.drop_column("outbox", "booked_at")
    op.drop_table("deferrals")
    op.drop_table("entries")
    op.drop_index("charges_credit_idx", table_name="charges")
    op.drop_index("charges_invoice_idx", table_name="charges")
    op.drop_column("charges", "earned_until")
    op.drop_column("charges", "shares")
