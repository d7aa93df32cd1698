"""Who and what: accounts, members, whose an identity is, what is subscribed to and given."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Numeric, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from meter.store.tables.schema import Id, When, metadata, operator

accounts = Table(
    "accounts",
    metadata,
    operator(),
    Column("account", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("anchor_day", Integer, nullable=False),
    Column("external", JSONB, nullable=False, server_default=text("'{}'")),
    Column("replaced", JSONB, nullable=False, server_default=text("'[]'")),  # earlier terms (decision 0010)
    PrimaryKeyConstraint("operator", "account"),
    CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_day"),
)

members = Table(
    "members",
    metadata,
    operator(),
    Column("member", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("merged_into", Id),  # the member that this one turned out to be
    PrimaryKeyConstraint("operator", "member"),
)

member_accounts = Table(
    "member_accounts",
    metadata,
    operator(),
    Column("member", Id, nullable=False),
    Column("account", Id, nullable=False),
    # '-infinity' in the key stands for "since always", which NULL could not be part of.
    Column("start", When, nullable=False, server_default=text("'-infinity'")),
    Column("end", When),
    PrimaryKeyConstraint("operator", "member", "account", "start"),
    Index("member_accounts_account_idx", "operator", "account"),
)

identities = Table(
    "identities",
    metadata,
    operator(),
    Column("identity", Id, nullable=False),
    Column("member", Id, nullable=False),
    Column("start", When, nullable=False, server_default=text("'-infinity'")),
    Column("end", When),
    PrimaryKeyConstraint("operator", "identity", "member", "start"),
    Index("identities_member_idx", "operator", "member"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    operator(),
    Column("subscription", Id, nullable=False),
    Column("plan", Id, nullable=False),
    Column("account", Id),
    Column("member", Id),
    Column("start", When),
    Column("end", When),
    Column("seats", Integer),
    Column("discounts", JSONB, nullable=False, server_default=text("'[]'")),
    Column("deposit", Numeric),
    PrimaryKeyConstraint("operator", "subscription"),
    CheckConstraint("(account IS NULL) <> (member IS NULL)", name="one_holder"),
)

grants = Table(  # given outside a plan; a plan's grants live in the catalog
    "grants",
    metadata,
    operator(),
    Column("grant", Id, nullable=False),
    Column("account", Id, nullable=False),
    Column("member", Id),
    Column("unit", Id, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("meters", ARRAY(Text)),
    Column("start", When),
    Column("end", When),
    Column("priority", Integer, nullable=False),
    Column("bought_price", Numeric),  # NULL: given, not bought
    Column("bought_tax", Text),
    Column("overage", Text, nullable=False, server_default=text("'bill'")),
    PrimaryKeyConstraint("operator", "grant"),
    CheckConstraint("amount > 0", name="amount"),
    Index("grants_account_idx", "operator", "account"),
)
