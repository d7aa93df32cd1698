"""Which copies of the database were made, and whether it was made from one. Nobody's rows: they are of the whole."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Identity, Table, Text

from meter.store.tables.schema import NOW, When, metadata

backups = Table(
    "backups",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("started_at", When, nullable=False),  # what was committed before it is in the backup
    Column("made_at", When, nullable=False, server_default=NOW),
    Column("seconds", Float, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

restorations = Table(  # from here on nobody knows what targets were sent (meter.store.safekeeping)
    "restorations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("backup", Text),  # NULL: by other means than ours
    Column("restored_at", When, nullable=False, server_default=NOW),
)
