"""The books beside their postings: the entries in the order in which they were made, and what is still to be earned."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.tables.schema import Id, metadata, operator, tail

entries = Table(  # one row an entry; its postings are in `journal`
    "entries",
    metadata,
    operator(),
    Column("id", Id, nullable=False),
    *tail(),
    Column("kind", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("currency", Text, nullable=False),
    Column("site", Id, nullable=False),  # "" where there is none, as in `journal`
    Column("account", Id, nullable=False),
    Column("member", Id),
    Column("meter", Id, nullable=False),
    Column("narration", Text, nullable=False),
    Column("dimensions", JSONB, nullable=False),
    Column("suspense", Boolean, nullable=False),
    PrimaryKeyConstraint("operator", "id"),
    CheckConstraint("kind IN ('charge', 'earned', 'billed', 'opening')", name="kind"),
    Index("entries_tail_idx", "operator", "xid", "seq"),
    Index("entries_day_idx", "operator", "day"),
    Index("entries_suspense_idx", "operator", "xid", "seq", postgresql_where=text("suspense")),
)

openings = Table(  # accounts whose books an earlier version has kept, until their first fold by this one restates them
    "openings",
    metadata,
    operator(),
    Column("account", Id, nullable=False),
    PrimaryKeyConstraint("operator", "account"),
)

deferrals = Table(  # what a charge is earned with: evenly over [first_day, end_day)
    "deferrals",
    metadata,
    operator(),
    Column("charge", Id, nullable=False),
    Column("chain", Id, nullable=False),  # one for all charges of a line: a day of them is one entry
    Column("currency", Text, nullable=False),
    Column("net", Numeric, nullable=False),
    Column("first_day", Date, nullable=False),
    Column("end_day", Date, nullable=False),
    Column("next_day", Date, nullable=False),  # the first that is not entered; `end_day`: all are
    Column("debit", Id, nullable=False),
    Column("credit", Id, nullable=False),
    Column("narration", Text, nullable=False),
    Column("dimensions", JSONB, nullable=False),
    Column("suspense", Boolean, nullable=False),
    PrimaryKeyConstraint("operator", "charge"),
    CheckConstraint("first_day <= next_day AND next_day <= end_day", name="days"),
    Index("deferrals_due_idx", "operator", "next_day", postgresql_where=text("next_day < end_day")),
    Index("deferrals_chain_idx", "operator", "chain"),
)
