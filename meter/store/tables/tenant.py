"""An operator, the versions of its catalog, and who may ask."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from meter.store.tables.schema import NOW, Id, When, metadata, operator

operators = Table(
    "operators",
    metadata,
    Column("operator", Id, primary_key=True),
    # Bumped by every change of catalog or directory, under a row lock that rating shares (decision 0006).
    Column("facts_version", BigInteger, nullable=False, server_default=text("0")),
    # Part of the MQTT client ids: who can guess one takes over the session and its queue.
    Column(
        "mqtt_nonce",
        Text,
        nullable=False,
        server_default=text("replace((gen_random_uuid())::text, '-'::text, ''::text)"),
    ),
    Column("created_at", When, nullable=False, server_default=NOW),
    # Tells whether a gateway hashes identities with the same key as those before it.
    Column("identity_check", LargeBinary),
    # What every gateway's METER_RATING_SHARDS must be; none before anybody has rated.
    Column("rating_shards", Integer),
)

catalogs = Table(
    "catalogs",
    metadata,
    operator(),
    Column("version", Integer, nullable=False),
    Column("effective", When),  # NULL: since always
    Column("body", JSONB, nullable=False),  # the catalog's sections as read, without the directory's
    Column("digest", LargeBinary, nullable=False),
    Column("reason", Text),
    Column("applied_at", When, nullable=False, server_default=NOW),
    Column("account", Id),  # NULL: for everyone; else in force for this account alone
    PrimaryKeyConstraint("operator", "version"),
)

api_keys = Table(
    "api_keys",
    metadata,
    operator(),
    Column("id", Id, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("site", Id),
    Column("account", Id),
    Column("created_at", When, nullable=False, server_default=NOW),
    Column("revoked_at", When),
    # What people call it.
    Column("label", Text),
    # The first of the keys that follow one another at one client; none: this one.
    Column("client", Id),
    Column("expires_at", When),
    PrimaryKeyConstraint("operator", "id"),
    UniqueConstraint("secret_hash"),
)

# Apart from the keys, whose changes are recorded.
api_key_uses = Table(
    "api_key_uses",
    metadata,
    operator(),
    Column("key", Id, nullable=False),
    Column("used_at", When, nullable=False),
    PrimaryKeyConstraint("operator", "key"),
)
