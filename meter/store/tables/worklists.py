"""What people have to look at: what was refused, who nobody is, what no meter could count."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
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

from meter.store.tables.schema import Id, When, metadata, operator

rejections = Table(
    "rejections",
    metadata,
    operator(),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    # SHA-256 of code, origin and bytes: the same refusal delivered again is counted, not listed twice.
    Column("digest", LargeBinary, nullable=False),
    Column("code", Id, nullable=False),
    Column("detail", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("origin", Text, nullable=False),  # the MQTT topic or the HTTP route
    Column("content_type", Text),
    Column("site", Id),
    Column("source", Id),
    Column("event_id", Id),
    Column("body", LargeBinary, nullable=False),
    Column("stands", LargeBinary),  # of a conflict: the body that was accepted first
    Column("count", BigInteger, nullable=False, server_default=text("1")),
    Column("status", Id, nullable=False, server_default=text("'open'")),
    Column("first_at", When, nullable=False),
    Column("last_at", When, nullable=False),
    PrimaryKeyConstraint("operator", "id"),
    UniqueConstraint("operator", "digest"),
    CheckConstraint("status IN ('open', 'retried', 'discarded')", name="status"),
)

doubtful_times = Table(  # events of which their sender says why their time is doubtful
    "doubtful_times",
    metadata,
    operator(),
    Column("time", When, nullable=False),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("flag", Text, nullable=False),
    PrimaryKeyConstraint("operator", "time", "source", "id"),
)

unresolved = Table(  # events that nobody answers for yet
    "unresolved",
    metadata,
    operator(),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("identity", Id, nullable=False),
    Column("time", When, nullable=False),
    Column("site", Id, nullable=False),
    Column("type", Id, nullable=False),
    PrimaryKeyConstraint("operator", "source", "id"),
    Index("unresolved_identity_idx", "operator", "identity"),
)

unread = Table(  # what an account's fold could not count: the newest fold of an account says what belongs here
    "unread",
    metadata,
    operator(),
    Column("account", Id, nullable=False),
    Column("time", When, nullable=False),
    Column("source", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("meter", Id, nullable=False),
    Column("element", Integer, nullable=False),
    Column("behind_source", Id),  # with `behind_id` the sale that a refund stands behind; NULL: it stands at its own
    Column("behind_id", Id),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("operator", "account", "time", "source", "id", "meter", "element"),
)
