"""What sources need beside the log: objects to fetch, polls' cursors, sessions to look at again, drafts."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.tables.schema import Id, When, metadata, operator

fetches = Table(  # objects of vendors that a notice named; gone once they were fetched
    "fetches",
    metadata,
    operator(),
    Column("vendor", Id, nullable=False),
    Column("name", Id, nullable=False),
    Column("kind", Id, nullable=False),
    Column("object", Id, nullable=False),
    Column("wanted", JSONB, nullable=False),  # the newest notice's data
    # A notice that comes while the object is being fetched counts it up: then it is fetched once more.
    Column("notices", BigInteger, nullable=False, server_default=text("1")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", When, nullable=False),
    Column("fault", Text),  # why the last attempt failed
    PrimaryKeyConstraint("operator", "vendor", "name", "kind", "object"),
    Index("fetches_due_idx", "operator", "due_at"),
)

feeds = Table(  # how far each poll has come
    "feeds",
    metadata,
    operator(),
    Column("vendor", Id, nullable=False),
    Column("name", Id, nullable=False),
    Column("feed", Id, nullable=False),
    Column("cursor", JSONB),
    Column("due_at", When, nullable=False),
    Column("polled_at", When),  # the last time that it answered
    Column("failures", Integer, nullable=False, server_default=text("0")),  # in a row
    Column("fault", Text),
    PrimaryKeyConstraint("operator", "vendor", "name", "feed"),
)

source_receipts = Table(  # when each configured source last told something, to within seconds
    "source_receipts",
    metadata,
    operator(),
    Column("vendor", Id, nullable=False),
    Column("name", Id, nullable=False),
    Column("received_at", When, nullable=False),
    PrimaryKeyConstraint("operator", "vendor", "name"),
)

wifi_readings = Table(  # the events of each Wi-Fi session, whoever they name; restarts of a NAS in the session ""
    "wifi_readings",
    metadata,
    operator(),
    Column("source", Id, nullable=False),
    Column("session", Id, nullable=False),
    Column("time", When, nullable=False),
    Column("id", Id, nullable=False),
    Column("status", Text, nullable=False),
    Column("person", Boolean, nullable=False),  # whether it names somebody
    Column("derived", Boolean, nullable=False),  # from other events of the session
    Column("nas", Id),
    PrimaryKeyConstraint("operator", "source", "session", "time", "id"),
    Index("wifi_readings_nas_idx", "operator", "source", "nas", "time", postgresql_where=text("nas IS NOT NULL")),
)

wifi_due = Table(  # sessions to look at again: by name, by a restart of their NAS, by an event that was revised
    "wifi_due",
    metadata,
    operator(),
    Column("kind", Text, nullable=False),
    Column("source", Id, nullable=False),
    Column("name", Id, nullable=False),  # the session; or the id of the restart, or of the revised event
    # What is told while it is looked at counts it up: then it is looked at once more.
    Column("notices", BigInteger, nullable=False, server_default=text("1")),
    PrimaryKeyConstraint("operator", "kind", "source", "name"),
    CheckConstraint("kind IN ('session', 'restart', 'revision')", name="kind"),
)

drafts = Table(  # what vendors say of members, accounts and subscriptions: the newest of each object
    "drafts",
    metadata,
    operator(),
    Column("vendor", Id, nullable=False),
    Column("name", Id, nullable=False),
    Column("kind", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("note", Text),
    Column("time", When, nullable=False),
    Column("event_id", Id, nullable=False),
    Column("channel", Text, nullable=False),  # by which it came: only what we asked or checked is applied by itself
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("fault", Text),  # why it could not be applied
    Column("fault_facts", BigInteger),  # the version of the facts by which it could not: by another it may
    Column("decided_at", When),
    PrimaryKeyConstraint("operator", "vendor", "name", "kind", "id"),
    CheckConstraint("state IN ('open', 'applied', 'dismissed')", name="state"),
    Index("drafts_state_idx", "operator", "state", "kind", "id"),
)
