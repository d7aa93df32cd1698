"""How far each target has read what was booked, and the sums that wait to be sent to it (decision 0014)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, Integer, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.tables.schema import NOW, Id, When, metadata, operator
from meter.store.xid8 import Xid8

export_cursors = Table(
    "export_cursors",
    metadata,
    operator(),
    Column("target", Id, nullable=False),
    Column("xid", Xid8(), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("since", When, nullable=False, server_default=NOW),  # since when the target has been there
    Column("kind", Id, nullable=False),
    Column("mode", Id),
    Column("reads", Id, nullable=False),  # whose `seq` the cursor is: of charges or of entries
    Column("start", Date),  # the setting as it was when the target began
    Column("company", Text),  # the account at the vendor; NULL: the kind has none, or an older version began it
    PrimaryKeyConstraint("operator", "target"),
)

export_billers = Table(  # which target bills an account, from a transaction of the tail on (meter.store.billers)
    "export_billers",
    metadata,
    operator(),
    Column("account", Id, nullable=False),
    Column("xid", BigInteger, nullable=False),  # a number: it is reckoned with, and may be that of no transaction yet
    Column("target", Id, nullable=False),
    PrimaryKeyConstraint("operator", "account", "xid"),
)

export_buckets = Table(
    "export_buckets",
    metadata,
    operator(),
    Column("target", Id, nullable=False),
    Column("name", Id, nullable=False),
    Column("stream", Id, nullable=False),
    Column("head", JSONB, nullable=False),
    Column("tallies", JSONB, nullable=False),
    Column("part", Integer, nullable=False, server_default=text("0")),  # how often it has been sent
    Column("dirty", Boolean, nullable=False),  # whether it holds what was not sent
    Column("due_at", When),  # NULL: once the billing period below is closed
    Column("closing_account", Id),
    Column("closing_start", When),
    Column("booked_at", When),  # of the oldest that was not sent
    PrimaryKeyConstraint("operator", "target", "name"),
    Index("export_buckets_due_idx", "operator", "target", "due_at", "name", postgresql_where=text("dirty")),
    Index(
        "export_buckets_closing_idx",
        "operator",
        "target",
        "closing_account",
        "closing_start",
        postgresql_where=text("dirty AND due_at IS NULL"),
    ),
)
