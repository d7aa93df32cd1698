"""The first schema: what came in, who and what, what it comes to, the work, who may."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.xid8 import Xid8

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Text(collation="C")
WHEN = sa.DateTime(timezone=True)
# A week of a large site in memory (TimescaleDB's advice: the newest chunks and their indexes in a quarter of it).
CHUNK = "7 days"


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("operator", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("anchor_day", sa.Integer(), nullable=False),
        sa.Column("external", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("anchor_day BETWEEN 1 AND 31", name=op.f("accounts_anchor_day_check")),
        sa.PrimaryKeyConstraint("operator", "account", name=op.f("accounts_pkey")),
    )
    op.create_table(
        "api_keys",
        sa.Column("operator", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("site", ID, nullable=True),
        sa.Column("account", ID, nullable=True),
        sa.Column("created_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("revoked_at", WHEN, nullable=True),
        sa.PrimaryKeyConstraint("operator", "id", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("secret_hash", name=op.f("api_keys_secret_hash_key")),
    )
    op.create_table(
        "catalogs",
        sa.Column("operator", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective", WHEN, nullable=True),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("applied_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("operator", "version", name=op.f("catalogs_pkey")),
    )
    op.create_table(
        "charges",
        sa.Column("operator", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("member", ID, nullable=True),
        sa.Column("site", ID, nullable=False),
        sa.Column("meter", ID, nullable=False),
        sa.Column("plan", ID, nullable=True),
        sa.Column("kind", ID, nullable=False),
        sa.Column("role", ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("corrects", ID, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("event_time", WHEN, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.Column("element", sa.Integer(), nullable=False),
        sa.Column("part", ID, nullable=False),
        sa.Column("event_type", ID, nullable=False),
        sa.Column("events", JSONB(), nullable=True),
        sa.Column("period_start", WHEN, nullable=False),
        sa.Column("period_end", WHEN, nullable=False),
        sa.Column("invoice_start", WHEN, nullable=False),
        sa.Column("invoice_end", WHEN, nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("covered", sa.Numeric(), nullable=False),
        sa.Column("billable", sa.Numeric(), nullable=False),
        sa.Column("dimensions", JSONB(), nullable=False),
        sa.Column("price", ID, nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("rounded", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tax_name", ID, nullable=True),
        sa.Column("tax_rate", sa.Numeric(), nullable=True),
        sa.Column("tax_inclusive", sa.Boolean(), nullable=True),
        sa.Column("tax_settled", sa.Numeric(), nullable=True),
        sa.Column("tax_amount", sa.Numeric(), nullable=False),
        sa.Column("settlement", sa.Text(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("unpriced", sa.Boolean(), nullable=False),
        sa.Column("tip", sa.Numeric(), nullable=True),
        sa.Column("total", sa.Numeric(), nullable=True),
        sa.Column("booked_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", "id", name=op.f("charges_pkey")),
    )
    op.create_index("charges_account_idx", "charges", ["operator", "account", "event_time"], unique=False)
    op.create_index("charges_tail_idx", "charges", ["operator", "xid", "seq"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("operator", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("state", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "account", "time", "source", "id", name=op.f("checkpoints_pkey")),
    )
    op.create_table(
        "draws",
        sa.Column("operator", ID, nullable=False),
        sa.Column("charge", ID, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("event_time", WHEN, nullable=False),
        sa.Column("grant", ID, nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "charge", "n", name=op.f("draws_pkey")),
    )
    op.create_index("draws_account_idx", "draws", ["operator", "account", "grant"], unique=False)
    op.create_table(
        "edges",
        sa.Column("operator", ID, nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("edge", ID, nullable=False),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("up_to", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("also", sa.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("clock_offset_ms", sa.BigInteger(), nullable=True),
        sa.Column("complete_until", WHEN, nullable=True),
        sa.Column("last_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", "site", "edge", "boot", name=op.f("edges_pkey")),
    )
    op.create_table(
        "event_keys",
        sa.Column("operator", ID, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", "source", "id", name=op.f("event_keys_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("operator", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", ID, nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("subject", ID, nullable=True),
        sa.Column("thing", ID, nullable=True),
        sa.Column("timed", sa.Boolean(), nullable=False),
        sa.Column("edge", ID, nullable=True),
        sa.Column("boot", sa.BigInteger(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("offset_ms", sa.BigInteger(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("received_at", WHEN, nullable=False),
        sa.Column("attributes", JSONB(), nullable=True),
        sa.Column("data", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "time", "source", "id", name=op.f("events_pkey")),
    )
    op.create_index(
        "events_sales_idx",
        "events",
        ["operator", "site", "time"],
        unique=False,
        postgresql_where=sa.text("type = 'pos.sale'"),
    )
    op.create_index("events_subject_idx", "events", ["operator", "subject", "time"], unique=False)
    op.create_index("events_tail_idx", "events", ["operator", "xid", "seq"], unique=False)
    op.create_index(
        "events_thing_idx",
        "events",
        ["operator", "thing", "source"],
        unique=False,
        postgresql_where=sa.text("thing IS NOT NULL"),
    )
    op.create_table(
        "grants",
        sa.Column("operator", ID, nullable=False),
        sa.Column("grant", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("member", ID, nullable=True),
        sa.Column("unit", ID, nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("meters", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("start", WHEN, nullable=True),
        sa.Column("end", WHEN, nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("grants_amount_check")),
        sa.PrimaryKeyConstraint("operator", "grant", name=op.f("grants_pkey")),
    )
    op.create_index("grants_account_idx", "grants", ["operator", "account"], unique=False)
    op.create_table(
        "held_events",
        sa.Column("operator", ID, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("operator", "source", "id", name=op.f("held_events_pkey")),
    )
    op.create_index("held_events_due_idx", "held_events", ["operator", "time"], unique=False)
    op.create_table(
        "identities",
        sa.Column("operator", ID, nullable=False),
        sa.Column("identity", ID, nullable=False),
        sa.Column("member", ID, nullable=False),
        sa.Column("start", WHEN, server_default=sa.text("'-infinity'"), nullable=False),
        sa.Column("end", WHEN, nullable=True),
        sa.PrimaryKeyConstraint("operator", "identity", "member", "start", name=op.f("identities_pkey")),
    )
    op.create_index("identities_member_idx", "identities", ["operator", "member"], unique=False)
    op.create_table(
        "journal",
        sa.Column("operator", ID, nullable=False),
        sa.Column("entry", ID, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("ledger_account", ID, nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("meter", ID, nullable=False),
        sa.PrimaryKeyConstraint("operator", "entry", "n", name=op.f("journal_pkey")),
    )
    op.create_table(
        "leases",
        sa.Column("name", ID, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("leases_pkey")),
    )
    op.create_table(
        "member_accounts",
        sa.Column("operator", ID, nullable=False),
        sa.Column("member", ID, nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("start", WHEN, server_default=sa.text("'-infinity'"), nullable=False),
        sa.Column("end", WHEN, nullable=True),
        sa.PrimaryKeyConstraint("operator", "member", "account", "start", name=op.f("member_accounts_pkey")),
    )
    op.create_index("member_accounts_account_idx", "member_accounts", ["operator", "account"], unique=False)
    op.create_table(
        "members",
        sa.Column("operator", ID, nullable=False),
        sa.Column("member", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("operator", "member", name=op.f("members_pkey")),
    )
    op.create_table(
        "operators",
        sa.Column("operator", ID, nullable=False),
        sa.Column("facts_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "mqtt_nonce",
            sa.Text(),
            server_default=sa.text("replace((gen_random_uuid())::text, '-'::text, ''::text)"),
            nullable=False,
        ),
        sa.Column("created_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("operator", name=op.f("operators_pkey")),
    )
    op.create_table(
        "outbox",
        sa.Column("operator", ID, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.Column("operation", ID, nullable=False),
        sa.Column("batch", ID, nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("key", ID, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("state", ID, server_default=sa.text("'pending'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("first_sent_at", WHEN, nullable=True),
        sa.Column("delivered_at", WHEN, nullable=True),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("created_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'delivered', 'verified', 'uncertain', 'dead', 'superseded')",
            name=op.f("outbox_state_check"),
        ),
        sa.PrimaryKeyConstraint("operator", "id", name=op.f("outbox_pkey")),
        sa.UniqueConstraint("operator", "key", name=op.f("outbox_operator_key_key")),
    )
    op.create_index(
        "outbox_open_idx",
        "outbox",
        ["operator", "target", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'sending', 'uncertain')"),
    )
    op.create_table(
        "rating_cursors",
        sa.Column("operator", ID, nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("xid", Xid8(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "shard", name=op.f("rating_cursors_pkey")),
    )
    op.create_table(
        "refolds",
        sa.Column("operator", ID, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account", ID, nullable=False),
        sa.Column("since", WHEN, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("due_at", WHEN, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("operator", "id", name=op.f("refolds_pkey")),
    )
    op.create_table(
        "rejections",
        sa.Column("operator", ID, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("code", ID, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("site", ID, nullable=True),
        sa.Column("source", ID, nullable=True),
        sa.Column("event_id", ID, nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("stands", sa.LargeBinary(), nullable=True),
        sa.Column("count", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("status", ID, server_default=sa.text("'open'"), nullable=False),
        sa.Column("first_at", WHEN, nullable=False),
        sa.Column("last_at", WHEN, nullable=False),
        sa.CheckConstraint("status IN ('open', 'retried', 'discarded')", name=op.f("rejections_status_check")),
        sa.PrimaryKeyConstraint("operator", "id", name=op.f("rejections_pkey")),
        sa.UniqueConstraint("operator", "digest", name=op.f("rejections_operator_digest_key")),
    )
    op.create_table(
        "revisions",
        sa.Column("operator", ID, nullable=False),
        sa.Column("target_source", ID, nullable=False),
        sa.Column("target_id", ID, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.Column("void", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("operator", "target_source", "target_id", "source", "id", name=op.f("revisions_pkey")),
    )
    op.create_table(
        "subscriptions",
        sa.Column("operator", ID, nullable=False),
        sa.Column("subscription", ID, nullable=False),
        sa.Column("plan", ID, nullable=False),
        sa.Column("account", ID, nullable=True),
        sa.Column("member", ID, nullable=True),
        sa.Column("start", WHEN, nullable=True),
        sa.Column("end", WHEN, nullable=True),
        sa.Column("seats", sa.Integer(), nullable=True),
        sa.CheckConstraint("(account IS NULL) <> (member IS NULL)", name=op.f("subscriptions_one_holder_check")),
        sa.PrimaryKeyConstraint("operator", "subscription", name=op.f("subscriptions_pkey")),
    )
    op.create_table(
        "unresolved",
        sa.Column("operator", ID, nullable=False),
        sa.Column("source", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("identity", ID, nullable=False),
        sa.Column("time", WHEN, nullable=False),
        sa.Column("site", ID, nullable=False),
        sa.Column("type", ID, nullable=False),
        sa.PrimaryKeyConstraint("operator", "source", "id", name=op.f("unresolved_pkey")),
    )
    op.create_index("unresolved_identity_idx", "unresolved", ["operator", "identity"], unique=False)
    make_hypertable()


def make_hypertable() -> None:
    """Turn `events` into a hypertable where TimescaleDB is there; it stays a table where not."""
    here = op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT 1 FROM pg_proc WHERE proname = 'create_hypertable')"))
    if here:
        op.execute(
            "SELECT create_hypertable('events', 'time', create_default_indexes => false,"
            f" chunk_time_interval => interval '{CHUNK}')"
        )


def downgrade() -> None:
    op.drop_table("unresolved")
    op.drop_table("subscriptions")
    op.drop_table("revisions")
    op.drop_table("rejections")
    op.drop_table("refolds")
    op.drop_table("rating_cursors")
    op.drop_table("outbox")
    op.drop_table("operators")
    op.drop_table("members")
    op.drop_table("member_accounts")
    op.drop_table("leases")
    op.drop_table("journal")
    op.drop_table("identities")
    op.drop_table("held_events")
    op.drop_table("grants")
    op.drop_table("events")
    op.drop_table("event_keys")
    op.drop_table("edges")
    op.drop_table("draws")
    op.drop_table("checkpoints")
    op.drop_table("charges")
    op.drop_table("catalogs")
    op.drop_table("api_keys")
    op.drop_table("accounts")
