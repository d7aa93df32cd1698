"""How far the work has come: who does it, where rating stands, which accounts are to be folded again or woken."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, PrimaryKeyConstraint, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.tables.schema import NOW, Id, When, metadata, operator
from meter.store.xid8 import Xid8

leases = Table(
    "leases",
    metadata,
    Column("name", Id, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", When, nullable=False),
)

rating_cursors = Table(
    "rating_cursors",
    metadata,
    operator(),
    Column("shard", Integer, nullable=False),
    Column("xid", Xid8(), nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("operator", "shard"),
)

refolds = Table(  # "from `since` on, this account may differ": written with the change that causes it
    "refolds",
    metadata,
    operator(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("account", Id, nullable=False),
    Column("since", When, nullable=False),
    Column("reason", Text, nullable=False),
    Column("due_at", When, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("operator", "id"),
)

wakes = Table(  # when the clock alone makes a difference to an account: a fee falls due, a session has run out
    "wakes",
    metadata,
    operator(),
    Column("account", Id, nullable=False),
    Column("due_at", When, nullable=False),
    PrimaryKeyConstraint("operator", "account"),
    Index("wakes_due_idx", "operator", "due_at"),
)

checkpoints = Table(  # states of the fold: they change cost, never meaning, and may be deleted at any time
    "checkpoints",
    metadata,
    operator(),
    Column("account", Id, nullable=False),
    Column("time", When, nullable=False),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("format", Integer, nullable=False),  # of the state; others are passed over
    Column("state", JSONB, nullable=False),
    PrimaryKeyConstraint("operator", "account", "time", "source", "id"),
)
