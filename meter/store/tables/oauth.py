"""The tokens by which targets are asked: they change with every refresh, so settings cannot hold them."""

from __future__ import annotations

from sqlalchemy import Column, PrimaryKeyConstraint, Table, Text

from meter.store.tables.schema import NOW, Id, When, metadata, operator

oauth_tokens = Table(
    "oauth_tokens",
    metadata,
    operator(),
    Column("target", Id, nullable=False),
    Column("seed", Id, nullable=False),  # a hash of the settings that the tokens descend from
    Column("access_token", Text, nullable=False),
    Column("access_until", When, nullable=False),
    Column("refresh_token", Text),  # NULL: the grant has none
    Column("previous_refresh_token", Text),  # good for a while yet, should an answer have been lost
    Column("refresh_until", When),  # NULL: not known
    Column("refreshed_at", When, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("operator", "target", "seed"),
)
