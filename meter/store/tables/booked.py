"""What it comes to: charges with their draws, the journal, and which billing periods are closed."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Date, Index, Integer, Numeric, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.tables.schema import Id, When, metadata, operator, tail
from meter.store.xid8 import Xid8

charges = Table(
    "charges",
    metadata,
    operator(),
    Column("id", Id, nullable=False),
    *tail(),
    Column("account", Id, nullable=False),
    Column("member", Id),
    Column("site", Id, nullable=False),
    Column("meter", Id, nullable=False),
    Column("plan", Id),
    Column("kind", Id, nullable=False),
    Column("role", Id, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("corrects", Id),
    Column("reason", Text),
    Column("event_time", When, nullable=False),
    Column("source", Id, nullable=False),
    Column("event_id", Id, nullable=False),
    Column("element", Integer, nullable=False),
    Column("part", Id, nullable=False),
    Column("event_type", Id, nullable=False),
    Column("events", JSONB),  # [[source, id], ...] where a line comes from more than the one event
    Column("period_start", When, nullable=False),
    Column("period_end", When, nullable=False),
    Column("invoice_start", When, nullable=False),
    Column("invoice_end", When, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("unit", Text, nullable=False),
    Column("covered", Numeric, nullable=False),
    Column("billable", Numeric, nullable=False),
    Column("dimensions", JSONB, nullable=False),
    Column("price", Id),
    Column("amount", Numeric, nullable=False),
    Column("rounded", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("tax_name", Id),
    Column("tax_rate", Numeric),
    Column("tax_inclusive", Boolean),
    Column("tax_settled", Numeric),  # the tax as the till took it
    Column("tax_amount", Numeric, nullable=False),
    Column("settlement", Text, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("unpriced", Boolean, nullable=False),
    Column("tip", Numeric),
    Column("total", Numeric),
    Column("shares", JSONB),  # [{party, share, role, amount}, ...], numbers as text; NULL: nothing is shared
    Column("earned_until", When),  # NULL: at once
    Column("booked_at", When, nullable=False),
    PrimaryKeyConstraint("operator", "id"),
    Index("charges_tail_idx", "operator", "xid", "seq"),
    Index("charges_account_idx", "operator", "account", "event_time"),
    Index("charges_invoice_idx", "operator", "account", "invoice_start"),
    Index("charges_credit_idx", "operator", "account", postgresql_where=text("meter = 'credit'")),
)

draws = Table(
    "draws",
    metadata,
    operator(),
    Column("charge", Id, nullable=False),
    Column("n", Integer, nullable=False),
    Column("account", Id, nullable=False),
    Column("event_time", When, nullable=False),
    Column("grant", Id, nullable=False),  # the instance
    Column("unit", Text, nullable=False),
    Column("amount", Numeric, nullable=False),
    PrimaryKeyConstraint("operator", "charge", "n"),
    Index("draws_account_idx", "operator", "account", "grant"),
)

journal = Table(  # one row a posting: debit positive, credit negative, every entry sums to zero
    "journal",
    metadata,
    operator(),
    Column("entry", Id, nullable=False),
    Column("n", Integer, nullable=False),
    Column("day", Date, nullable=False),
    Column("ledger_account", Id, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("site", Id, nullable=False),
    Column("account", Id, nullable=False),
    Column("meter", Id, nullable=False),
    PrimaryKeyConstraint("operator", "entry", "n"),
)

closes = Table(  # billing periods that are closed: what differs later is booked as an adjustment
    "closes",
    metadata,
    operator(),
    Column("account", Id, nullable=False),
    Column("period_start", When, nullable=False),
    Column("closed_at", When, nullable=False),
    Column("reason", Text),  # NULL: closed because every site was complete
    # Whether the lines that closing makes due are booked: what differs from then on is an adjustment.
    Column("booked", Boolean, nullable=False, server_default=text("false")),
    Column("booked_xid", Xid8()),  # of the transaction that booked them
    PrimaryKeyConstraint("operator", "account", "period_start"),
    Index("closes_booked_idx", "operator", "booked_xid", postgresql_where=text("booked")),
)
