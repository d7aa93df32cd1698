"""What targets are to be sent, and what became of it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from meter.store.tables.schema import NOW, Id, When, metadata, operator

outbox = Table(
    "outbox",
    metadata,
    operator(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("target", Id, nullable=False),
    Column("operation", Id, nullable=False),
    Column("batch", Id, nullable=False),
    Column("revision", Integer, nullable=False, server_default=text("0")),
    Column("key", Id, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # frozen: what is sent is what was decided
    Column("state", Id, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", When, nullable=False, server_default=NOW),
    Column("first_sent_at", When),
    Column("delivered_at", When),
    Column("remote_id", Text),
    Column("fault", Text),
    Column("created_at", When, nullable=False, server_default=NOW),
    Column("booked_at", When),  # the oldest of its content; NULL: as the item
    Column("stream", Id, nullable=False, server_default=text("''")),
    Column("burned", Boolean, nullable=False, server_default=text("false")),  # the key would only repeat an answer
    Column("rejected", Text),  # why the target threw away what it took under the key
    Column("asked_by", Text),  # who had it made again by hand: a key's id, or the command line
    PrimaryKeyConstraint("operator", "id"),
    UniqueConstraint("operator", "key"),
    CheckConstraint(
        "state IN ('pending', 'sending', 'delivered', 'verified', 'uncertain', 'dead', 'superseded')", name="state"
    ),
    Index("outbox_batch_idx", "operator", "target", "batch"),
    Index(
        "outbox_remote_idx",
        "operator",
        "target",
        "remote_id",
        postgresql_ops={"remote_id": "text_pattern_ops"},
        postgresql_where=text("state = 'delivered'"),
    ),
    Index(
        "outbox_streams_idx",
        "operator",
        "target",
        "stream",
        "id",
        postgresql_where=text("state IN ('pending', 'sending', 'uncertain')"),
    ),
)

# What holds a whole target back, for those who look from another process; nothing is decided by it.
lanes = Table(
    "lanes",
    metadata,
    operator(),
    Column("target", Id, nullable=False),
    Column("held_until", When, nullable=False),
    Column("failing_since", When),  # the breaker is open; NULL: only told to wait
    Column("fault", Text, nullable=False),
    PrimaryKeyConstraint("operator", "target"),
)
