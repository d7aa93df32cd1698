"""How agents on site come by their keys (decision 0017)."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text, UniqueConstraint, text

from meter.store.tables.schema import Id, When, metadata, operator

edge_authorities = Table(  # who signs agents' certificates; its key is in the gateway's data directory
    "edge_authorities",
    metadata,
    operator(),
    Column("certificate", Text, nullable=False),
    Column("made_at", When, nullable=False),
    PrimaryKeyConstraint("operator"),
)

edge_enrollments = Table(
    "edge_enrollments",
    metadata,
    operator(),
    Column("id", Id, nullable=False),
    Column("code_hash", LargeBinary, nullable=False),
    Column("site", Id, nullable=False),
    Column("edge", Id, nullable=False),
    Column("opened_at", When, nullable=False),
    Column("expires_at", When, nullable=False),
    Column("by", Text, nullable=False),  # a key's id, or the command line
    # Set together, by whoever showed the code first: the agent's public key (DER), and its API key as it is now.
    Column("used_at", When),
    Column("public_key", LargeBinary),
    Column("api_key", Id),
    Column("ended_at", When),  # revoked, or followed by another of the same agent
    PrimaryKeyConstraint("operator", "id"),
    UniqueConstraint("code_hash"),
    Index("edge_enrollments_agent_idx", "operator", "site", "edge", postgresql_where=text("ended_at IS NULL")),
)

edge_certificates = Table(
    "edge_certificates",
    metadata,
    operator(),
    Column("serial", Id, nullable=False),  # hexadecimal
    Column("site", Id, nullable=False),
    Column("edge", Id, nullable=False),
    Column("issued_at", When, nullable=False),
    Column("expires_at", When, nullable=False),
    Column("revoked_at", When),
    PrimaryKeyConstraint("operator", "serial"),
    Index("edge_certificates_agent_idx", "operator", "site", "edge"),
)
