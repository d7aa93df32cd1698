"""The schema. Every key is led by the operator, so that rows of one operator can live together (decision 0004).

Append-only: `event_keys`, `events`, `rejections` (but for its status), `charges`, `draws`, `journal`. Tail reads go by
(`xid`, `seq`) below the oldest running transaction, never by `seq` alone: a later commit can carry a smaller `seq`
(decision 0005).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from meter.store.xid8 import Xid8

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# Identifiers compare by code point, as the order of events asks, whatever the database's locale.
_Id: Final = Text(collation="C")
_When: Final = DateTime(timezone=True)
_NOW: Final = text("clock_timestamp()")
_XID: Final = text("pg_current_xact_id()")


def _operator() -> Column[str]:
    return Column("operator", _Id, nullable=False)


def _tail() -> tuple[Column[int], Column[int]]:
    """Return the pair that gives a safe reading order."""
    return (
        Column("xid", Xid8(), nullable=False, server_default=_XID),
        Column("seq", BigInteger, Identity(always=True), nullable=False),
    )


# --- what came in -----------------------------------------------------------------------------------------------------

operators = Table(
    "operators",
    metadata,
    Column("operator", _Id, primary_key=True),
    # Bumped by every change of catalog or directory, under a row lock that rating shares (decision 0006).
    Column("facts_version", BigInteger, nullable=False, server_default=text("0")),
    # Part of the MQTT client ids: who can guess one takes over the session and its queue.
    Column(
        "mqtt_nonce",
        Text,
        nullable=False,
        server_default=text("replace((gen_random_uuid())::text, '-'::text, ''::text)"),
    ),
    Column("created_at", _When, nullable=False, server_default=_NOW),
)

event_keys = Table(
    "event_keys",
    metadata,
    _operator(),
    Column("source", _Id, nullable=False),
    Column("id", _Id, nullable=False),
    # SHA-256 of the canonical content: tells a duplicate from a conflict.
    Column("content_hash", LargeBinary, nullable=False),
    Column("time", _When, nullable=False),
    PrimaryKeyConstraint("operator", "source", "id"),
)

events = Table(
    "events",
    metadata,
    _operator(),
    Column("time", _When, nullable=False),
    Column("source", _Id, nullable=False),
    Column("id", _Id, nullable=False),
    *_tail(),
    Column("type", _Id, nullable=False),
    Column("site", _Id, nullable=False),
    Column("subject", _Id),
    Column("thing", _Id),
    Column("timed", Boolean, nullable=False),
    Column("edge", _Id),
    Column("boot", BigInteger),
    Column("sequence", BigInteger),
    Column("offset_ms", BigInteger),
    Column("channel", Text, nullable=False),  # mqtt, http, webhook
    Column("received_at", _When, nullable=False),
    Column("attributes", JSONB),  # further CloudEvents attributes, as sent
    Column("data", JSONB, nullable=False),
    PrimaryKeyConstraint("operator", "time", "source", "id"),
    Index("events_tail_idx", "operator", "xid", "seq"),
    Index("events_subject_idx", "operator", "subject", "time"),
    Index("events_thing_idx", "operator", "thing", "source", postgresql_where=text("thing IS NOT NULL")),
    # Sales without a known buyer, by site: the walk-in account's events.
    Index("events_sales_idx", "operator", "site", "time", postgresql_where=text("type = 'pos.sale'")),
)

revisions = Table(  # voids and amendments by what they target, so that either may arrive first
    "revisions",
    metadata,
    _operator(),
    Column("target_source", _Id, nullable=False),
    Column("target_id", _Id, nullable=False),
    Column("source", _Id, nullable=False),
    Column("id", _Id, nullable=False),
    Column("time", _When, nullable=False),
    Column("void", Boolean, nullable=False),
    PrimaryKeyConstraint("operator", "target_source", "target_id", "source", "id"),
)

refunds = Table(  # refunds by the sale that they speak of, so that either may arrive first
    "refunds",
    metadata,
    _operator(),
    Column("sale_source", _Id, nullable=False),
    Column("sale_order", _Id, nullable=False),
    Column("source", _Id, nullable=False),
    Column("id", _Id, nullable=False),
    Column("time", _When, nullable=False),
    PrimaryKeyConstraint("operator", "sale_source", "sale_order", "source", "id"),
    Index("refunds_time_idx", "operator", "time"),
)

held_events = Table(  # ahead of the clock: listed as future_time, folded when the clock reaches them
    "held_events",
    metadata,
    _operator(),
    Column("source", _Id, nullable=False),
    Column("id", _Id, nullable=False),
    Column("time", _When, nullable=False),
    PrimaryKeyConstraint("operator", "source", "id"),
    Index("held_events_due_idx", "operator", "time"),
)

rejections = Table(
    "rejections",
    metadata,
    _operator(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    # SHA-256 of code, origin and bytes: the same refusal delivered again is counted, not listed twice.
    Column("digest", LargeBinary, nullable=False),
    Column("code", _Id, nullable=False),
    Column("detail", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("origin", Text, nullable=False),  # the MQTT topic or the HTTP route
    Column("content_type", Text),
    Column("site", _Id),
    Column("source", _Id),
    Column("event_id", _Id),
    Column("body", LargeBinary, nullable=False),
    Column("stands", LargeBinary),  # of a conflict: the body that was accepted first
    Column("count", BigInteger, nullable=False, server_default=text("1")),
    Column("status", _Id, nullable=False, server_default=text("'open'")),
    Column("first_at", _When, nullable=False),
    Column("last_at", _When, nullable=False),
    PrimaryKeyConstraint("operator", "id"),
    UniqueConstraint("operator", "digest"),
    CheckConstraint("status IN ('open', 'retried', 'discarded')", name="status"),
)

edges = Table(  # what each agent has had acknowledged: everything up to `up_to`, and `also`
    "edges",
    metadata,
    _operator(),
    Column("site", _Id, nullable=False),
    Column("edge", _Id, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("up_to", BigInteger, nullable=False, server_default=text("0")),
    Column("also", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("clock_offset_ms", BigInteger),
    Column("complete_until", _When),
    # The newest heartbeat that does not count yet: something below its sequence is still to come.
    Column("heartbeat_sequence", BigInteger),
    Column("heartbeat_until", _When),
    Column("last_at", _When, nullable=False),
    PrimaryKeyConstraint("operator", "site", "edge", "boot"),
)

# --- who and what -----------------------------------------------------------------------------------------------------

catalogs = Table(
    "catalogs",
    metadata,
    _operator(),
    Column("version", Integer, nullable=False),
    Column("effective", _When),  # NULL: since always
    Column("body", JSONB, nullable=False),  # the catalog's sections as read, without the directory's
    Column("digest", LargeBinary, nullable=False),
    Column("reason", Text),
    Column("applied_at", _When, nullable=False, server_default=_NOW),
    Column("account", _Id),  # NULL: for everyone; else in force for this account alone
    PrimaryKeyConstraint("operator", "version"),
)

accounts = Table(
    "accounts",
    metadata,
    _operator(),
    Column("account", _Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("anchor_day", Integer, nullable=False),
    Column("external", JSONB, nullable=False, server_default=text("'{}'")),
    Column("replaced", JSONB, nullable=False, server_default=text("'[]'")),  # earlier terms (decision 0010)
    PrimaryKeyConstraint("operator", "account"),
    CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_day"),
)

members = Table(
    "members",
    metadata,
    _operator(),
    Column("member", _Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text),
    PrimaryKeyConstraint("operator", "member"),
)

member_accounts = Table(
    "member_accounts",
    metadata,
    _operator(),
    Column("member", _Id, nullable=False),
    Column("account", _Id, nullable=False),
    # '-infinity' in the key stands for "since always", which NULL could not be part of.
    Column("start", _When, nullable=False, server_default=text("'-infinity'")),
    Column("end", _When),
    PrimaryKeyConstraint("operator", "member", "account", "start"),
    Index("member_accounts_account_idx", "operator", "account"),
)

identities = Table(
    "identities",
    metadata,
    _operator(),
    Column("identity", _Id, nullable=False),
    Column("member", _Id, nullable=False),
    Column("start", _When, nullable=False, server_default=text("'-infinity'")),
    Column("end", _When),
    PrimaryKeyConstraint("operator", "identity", "member", "start"),
    Index("identities_member_idx", "operator", "member"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    _operator(),
    Column("subscription", _Id, nullable=False),
    Column("plan", _Id, nullable=False),
    Column("account", _Id),
    Column("member", _Id),
    Column("start", _When),
    Column("end", _When),
    Column("seats", Integer),
    Column("discounts", JSONB, nullable=False, server_default=text("'[]'")),
    Column("deposit", Numeric),
    PrimaryKeyConstraint("operator", "subscription"),
    CheckConstraint("(account IS NULL) <> (member IS NULL)", name="one_holder"),
)

grants = Table(  # given outside a plan; a plan's grants live in the catalog
    "grants",
    metadata,
    _operator(),
    Column("grant", _Id, nullable=False),
    Column("account", _Id, nullable=False),
    Column("member", _Id),
    Column("unit", _Id, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("meters", ARRAY(Text)),
    Column("start", _When),
    Column("end", _When),
    Column("priority", Integer, nullable=False),
    Column("bought_price", Numeric),  # NULL: given, not bought
    Column("bought_tax", Text),
    PrimaryKeyConstraint("operator", "grant"),
    CheckConstraint("amount > 0", name="amount"),
    Index("grants_account_idx", "operator", "account"),
)

# --- what it comes to -------------------------------------------------------------------------------------------------

charges = Table(
    "charges",
    metadata,
    _operator(),
    Column("id", _Id, nullable=False),
    *_tail(),
    Column("account", _Id, nullable=False),
    Column("member", _Id),
    Column("site", _Id, nullable=False),
    Column("meter", _Id, nullable=False),
    Column("plan", _Id),
    Column("kind", _Id, nullable=False),
    Column("role", _Id, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("corrects", _Id),
    Column("reason", Text),
    Column("event_time", _When, nullable=False),
    Column("source", _Id, nullable=False),
    Column("event_id", _Id, nullable=False),
    Column("element", Integer, nullable=False),
    Column("part", _Id, nullable=False),
    Column("event_type", _Id, nullable=False),
    Column("events", JSONB),  # [[source, id], ...] where a line comes from more than the one event
    Column("period_start", _When, nullable=False),
    Column("period_end", _When, nullable=False),
    Column("invoice_start", _When, nullable=False),
    Column("invoice_end", _When, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("unit", Text, nullable=False),
    Column("covered", Numeric, nullable=False),
    Column("billable", Numeric, nullable=False),
    Column("dimensions", JSONB, nullable=False),
    Column("price", _Id),
    Column("amount", Numeric, nullable=False),
    Column("rounded", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("tax_name", _Id),
    Column("tax_rate", Numeric),
    Column("tax_inclusive", Boolean),
    Column("tax_settled", Numeric),  # the tax as the till took it
    Column("tax_amount", Numeric, nullable=False),
    Column("settlement", Text, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("unpriced", Boolean, nullable=False),
    Column("tip", Numeric),
    Column("total", Numeric),
    Column("booked_at", _When, nullable=False),
    PrimaryKeyConstraint("operator", "id"),
    Index("charges_tail_idx", "operator", "xid", "seq"),
    Index("charges_account_idx", "operator", "account", "event_time"),
)

draws = Table(
    "draws",
    metadata,
    _operator(),
    Column("charge", _Id, nullable=False),
    Column("n", Integer, nullable=False),
    Column("account", _Id, nullable=False),
    Column("event_time", _When, nullable=False),
    Column("grant", _Id, nullable=False),  # the instance
    Column("unit", Text, nullable=False),
    Column("amount", Numeric, nullable=False),
    PrimaryKeyConstraint("operator", "charge", "n"),
    Index("draws_account_idx", "operator", "account", "grant"),
)

journal = Table(  # one row a posting: debit positive, credit negative, every entry sums to zero
    "journal",
    metadata,
    _operator(),
    Column("entry", _Id, nullable=False),
    Column("n", Integer, nullable=False),
    Column("day", Date, nullable=False),
    Column("ledger_account", _Id, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("site", _Id, nullable=False),
    Column("account", _Id, nullable=False),
    Column("meter", _Id, nullable=False),
    PrimaryKeyConstraint("operator", "entry", "n"),
)

closes = Table(  # billing periods that are closed: what differs later is booked as an adjustment
    "closes",
    metadata,
    _operator(),
    Column("account", _Id, nullable=False),
    Column("period_start", _When, nullable=False),
    Column("closed_at", _When, nullable=False),
    Column("reason", Text),  # NULL: closed because every site was complete
    # Whether the lines that closing makes due are booked: what differs from then on is an adjustment.
    Column("booked", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("operator", "account", "period_start"),
)

outbox = Table(
    "outbox",
    metadata,
    _operator(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("target", _Id, nullable=False),
    Column("operation", _Id, nullable=False),
    Column("batch", _Id, nullable=False),
    Column("revision", Integer, nullable=False, server_default=text("0")),
    Column("key", _Id, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # frozen: what is sent is what was decided
    Column("state", _Id, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", _When, nullable=False, server_default=_NOW),
    Column("first_sent_at", _When),
    Column("delivered_at", _When),
    Column("remote_id", Text),
    Column("fault", Text),
    Column("created_at", _When, nullable=False, server_default=_NOW),
    PrimaryKeyConstraint("operator", "id"),
    UniqueConstraint("operator", "key"),
    CheckConstraint(
        "state IN ('pending', 'sending', 'delivered', 'verified', 'uncertain', 'dead', 'superseded')", name="state"
    ),
    Index(
        "outbox_open_idx",
        "operator",
        "target",
        "id",
        postgresql_where=text("state IN ('pending', 'sending', 'uncertain')"),
    ),
)

# --- work -------------------------------------------------------------------------------------------------------------

leases = Table(
    "leases",
    metadata,
    Column("name", _Id, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", _When, nullable=False),
)

rating_cursors = Table(
    "rating_cursors",
    metadata,
    _operator(),
    Column("shard", Integer, nullable=False),
    Column("xid", Xid8(), nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("operator", "shard"),
)

refolds = Table(  # "from `since` on, this account may differ": written with the change that causes it
    "refolds",
    metadata,
    _operator(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("account", _Id, nullable=False),
    Column("since", _When, nullable=False),
    Column("reason", Text, nullable=False),
    Column("due_at", _When, nullable=False, server_default=_NOW),
    PrimaryKeyConstraint("operator", "id"),
)

wakes = Table(  # when the clock alone makes a difference to an account: a fee falls due, a session has run out
    "wakes",
    metadata,
    _operator(),
    Column("account", _Id, nullable=False),
    Column("due_at", _When, nullable=False),
    PrimaryKeyConstraint("operator", "account"),
    Index("wakes_due_idx", "operator", "due_at"),
)

checkpoints = Table(  # states of the fold: they change cost, never meaning, and may be deleted at any time
    "checkpoints",
    metadata,
    _operator(),
    Column("account", _Id, nullable=False),
    Column("time", _When, nullable=False),
    Column("source", _Id, nullable=False),
    Column("id", _Id, nullable=False),
    Column("format", Integer, nullable=False),  # of the state; others are passed over
    Column("state", JSONB, nullable=False),
    PrimaryKeyConstraint("operator", "account", "time", "source", "id"),
)

unresolved = Table(  # events that nobody answers for yet
    "unresolved",
    metadata,
    _operator(),
    Column("source", _Id, nullable=False),
    Column("id", _Id, nullable=False),
    Column("identity", _Id, nullable=False),
    Column("time", _When, nullable=False),
    Column("site", _Id, nullable=False),
    Column("type", _Id, nullable=False),
    PrimaryKeyConstraint("operator", "source", "id"),
    Index("unresolved_identity_idx", "operator", "identity"),
)

unread = Table(  # what an account's fold could not count: the newest fold of an account says what belongs here
    "unread",
    metadata,
    _operator(),
    Column("account", _Id, nullable=False),
    Column("time", _When, nullable=False),
    Column("source", _Id, nullable=False),
    Column("id", _Id, nullable=False),
    Column("meter", _Id, nullable=False),
    Column("element", Integer, nullable=False),
    Column("behind_source", _Id),  # with `behind_id` the sale that a refund stands behind; NULL: it stands at its own
    Column("behind_id", _Id),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("operator", "account", "time", "source", "id", "meter", "element"),
)

# --- who may ----------------------------------------------------------------------------------------------------------

api_keys = Table(
    "api_keys",
    metadata,
    _operator(),
    Column("id", _Id, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("site", _Id),
    Column("account", _Id),
    Column("created_at", _When, nullable=False, server_default=_NOW),
    Column("revoked_at", _When),
    PrimaryKeyConstraint("operator", "id"),
    UniqueConstraint("secret_hash"),
)
