"""What came in: events, each once, what points from one to another, and how far each agent on site has come."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from meter.store.tables.schema import Id, When, metadata, operator, tail

event_keys = Table(
    "event_keys",
    metadata,
    operator(),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    # SHA-256 of the canonical content: tells a duplicate from a conflict.
    Column("content_hash", LargeBinary, nullable=False),
    Column("time", When, nullable=False),
    PrimaryKeyConstraint("operator", "source", "id"),
)

events = Table(
    "events",
    metadata,
    operator(),
    Column("time", When, nullable=False),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    *tail(),
    Column("type", Id, nullable=False),
    Column("site", Id, nullable=False),
    Column("subject", Id),
    Column("thing", Id),
    Column("timed", Boolean, nullable=False),
    Column("edge", Id),
    Column("boot", BigInteger),
    Column("sequence", BigInteger),
    Column("offset_ms", BigInteger),
    Column("channel", Text, nullable=False),  # by which it came: mqtt, http, webhook, fetch, ...
    Column("received_at", When, nullable=False),
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
    operator(),
    Column("target_source", Id, nullable=False),
    Column("target_id", Id, nullable=False),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("time", When, nullable=False),
    Column("void", Boolean, nullable=False),
    PrimaryKeyConstraint("operator", "target_source", "target_id", "source", "id"),
)

refunds = Table(  # refunds by the sale that they speak of, so that either may arrive first
    "refunds",
    metadata,
    operator(),
    Column("sale_source", Id, nullable=False),
    Column("sale_order", Id, nullable=False),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("time", When, nullable=False),
    PrimaryKeyConstraint("operator", "sale_source", "sale_order", "source", "id"),
    Index("refunds_time_idx", "operator", "time"),
)

held_events = Table(  # ahead of the clock: listed as future_time, folded when the clock reaches them
    "held_events",
    metadata,
    operator(),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("time", When, nullable=False),
    PrimaryKeyConstraint("operator", "source", "id"),
    Index("held_events_due_idx", "operator", "time"),
)

edges = Table(  # what each agent has had acknowledged: everything up to `up_to`, and `beyond`
    "edges",
    metadata,
    operator(),
    Column("site", Id, nullable=False),
    Column("edge", Id, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("up_to", BigInteger, nullable=False, server_default=text("0")),
    # Single sequences, as the version before keeps them while it serves on; taken over into `beyond`.
    Column("also", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    # First and last of each range behind a hole, in turn.
    Column("beyond", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("clock_offset_ms", BigInteger),
    Column("complete_until", When),
    # The newest heartbeat that does not count yet: something below its sequence is still to come.
    Column("heartbeat_sequence", BigInteger),
    Column("heartbeat_until", When),
    Column("last_at", When, nullable=False),
    # The latest heartbeat: what it says of its agent, under which sequence, and when it came.
    Column("said", JSONB),
    Column("said_sequence", BigInteger),
    Column("heartbeat_at", When),
    PrimaryKeyConstraint("operator", "site", "edge", "boot"),
)

edge_retirements = Table(  # agents that somebody said are gone for good; they count again once they are heard of
    "edge_retirements",
    metadata,
    operator(),
    Column("site", Id, nullable=False),
    Column("edge", Id, nullable=False),
    # The agent's `last_at` then: it is retired while it has no later one, whatever anybody's clock says.
    Column("heard_at", When, nullable=False),
    Column("at", When, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),  # a key's id, or the command line
    PrimaryKeyConstraint("operator", "site", "edge", "heard_at"),
)

edge_revocations = Table(  # agents that are shut out, until they are enrolled again
    "edge_revocations",
    metadata,
    operator(),
    Column("site", Id, nullable=False),
    Column("edge", Id, nullable=False),
    Column("at", When, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("lifted_at", When),
    # What came of it since, and how much of that is kept among the rejections.
    Column("refused", BigInteger, nullable=False, server_default=text("0")),
    Column("kept", BigInteger, nullable=False, server_default=text("0")),
    Column("refused_at", When),
    PrimaryKeyConstraint("operator", "site", "edge", "at"),
    Index(
        "edge_revocations_open_idx", "operator", "site", "edge", unique=True, postgresql_where=text("lifted_at IS NULL")
    ),
)
