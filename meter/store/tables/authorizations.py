"""What was asked before acting. Beside the log: no fold reads it, and no bill depends on it (decision 0016)."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, Numeric, PrimaryKeyConstraint, Table, text
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.tables.schema import Id, When, metadata, operator

authorizations = Table(
    "authorizations",
    metadata,
    operator(),
    Column("id", Id, nullable=False),  # the asker's
    # SHA-256 of what was asked: tells a repetition from another ask under the same id.
    Column("digest", LargeBinary, nullable=False),
    Column("account", Id),  # NULL: nobody answers for the identity
    Column("member", Id),
    Column("identity", Id, nullable=False),  # as events store it
    Column("site", Id, nullable=False),
    Column("meter", Id, nullable=False),
    Column("event_type", Id, nullable=False),  # of the event that can settle it
    Column("quantity", Numeric, nullable=False),
    Column("dimensions", JSONB, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("allowed", Boolean, nullable=False),
    Column("answer", JSONB, nullable=False),
    Column("asked_at", When, nullable=False),
    Column("expires_at", When, nullable=False),
    Column("settled_at", When),  # when the first event that names it was stored
    Column("settled_source", Id),
    Column("settled_id", Id),
    Column("released_at", When),
    Column("key", Id, nullable=False),  # whose key asked
    PrimaryKeyConstraint("operator", "id"),
    Index("authorizations_asked_idx", "operator", "asked_at", "id"),
    Index("authorizations_account_idx", "operator", "account", "asked_at", "id"),
    Index(
        "authorizations_open_idx",
        "operator",
        "account",
        "expires_at",
        postgresql_where=text("allowed AND settled_at IS NULL AND released_at IS NULL"),
    ),
)
