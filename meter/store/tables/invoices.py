"""Invoices as the targets that made them say they stand."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Numeric, PrimaryKeyConstraint, Table, Text

from meter.store.tables.schema import Id, When, metadata, operator

invoices = Table(
    "invoices",
    metadata,
    operator(),
    Column("target", Id, nullable=False),
    Column("remote_id", Id, nullable=False),
    Column("invoice", Id),  # our number, where it is one of ours
    Column("account", Id),
    Column("number", Text),  # what the customer sees
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("total", Numeric, nullable=False),
    Column("amount_due", Numeric, nullable=False),
    Column("amount_paid", Numeric, nullable=False),
    Column("url", Text),
    Column("start", When),  # the billing period
    Column("end", When),
    Column("changed_at", When, nullable=False),  # by the target's clock
    Column("rank", Integer, nullable=False),  # of two states of one second, the one that is further on
    Column("event_id", Id, nullable=False),
    PrimaryKeyConstraint("operator", "target", "remote_id"),
    CheckConstraint("status IN ('draft', 'open', 'failed', 'paid', 'uncollectible', 'void', 'deleted')", name="status"),
    Index("invoices_account_idx", "operator", "account", "changed_at"),
    Index("invoices_changed_idx", "operator", "changed_at"),
)
