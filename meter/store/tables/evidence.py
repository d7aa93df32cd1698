"""Who did what, and what seals it (decision 0020): inserted only; the keys that part a person from what is kept."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from meter.store.tables.schema import NOW, Id, When, metadata, operator, tail
from meter.store.xid8 import Xid8

audit = Table(  # one row a change of an object, or a second's equal readings; written by triggers (store/audited.py)
    "audit",
    metadata,
    operator(),
    *tail(),
    Column("at", When, nullable=False, server_default=NOW),
    Column("actor", Text, nullable=False),  # a key's id, `cli:user`, or `system`
    Column("action", Id, nullable=False),  # found, made, changed, removed, read, ran, started
    Column("kind", Id, nullable=False),  # the table; the route or command that read
    Column("object", Id, nullable=False),
    Column("member", Id),  # the pseudonym of whom it is about
    Column("detail", JSONB, nullable=False),  # names of what changed, digests; no values
    PrimaryKeyConstraint("operator", "seq"),
    Index("audit_tail_idx", "operator", "xid", "seq"),
    Index("audit_object_idx", "operator", "kind", "object", "seq"),
)

seals = Table(  # one chain over all streams: each block holds the hash of the one before it
    "seals",
    metadata,
    operator(),
    Column("n", BigInteger, nullable=False),  # from 1, without holes
    Column("stream", Id, nullable=False),
    Column("version", Integer, nullable=False),  # of the canonical form
    # The rows of the stream in (from, to], by `xid` and `seq`.
    Column("from_xid", Xid8(), nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    Column("to_xid", Xid8(), nullable=False),
    Column("to_seq", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("sealed_at", When, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("operator", "n"),
    Index("seals_stream_idx", "operator", "stream", "n"),
)

member_keys = Table(  # a row a member, made with it by the database
    "member_keys",
    metadata,
    operator(),
    Column("member", Id, nullable=False),
    Column("pseudonym", Id, nullable=False),
    Column("key", LargeBinary),  # NULL: destroyed, so that nothing leads from what is kept to the person
    PrimaryKeyConstraint("operator", "member"),
    UniqueConstraint("operator", "pseudonym"),
)
