"""What every table is made with: the metadata that they share, kinds of columns, the columns that lead a key."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, DateTime, Identity, MetaData, Text, text

from meter.store.xid8 import Xid8

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# Identifiers compare by code point, as the order of events asks, whatever the database's locale.
Id: Final = Text(collation="C")
When: Final = DateTime(timezone=True)
NOW: Final = text("clock_timestamp()")
_XID: Final = text("pg_current_xact_id()")


def operator() -> Column[str]:
    """Return the column that leads every key, so that rows of one operator can live together."""
    return Column("operator", Id, nullable=False)


def tail() -> tuple[Column[int], Column[int]]:
    """Return the pair that gives a safe reading order."""
    return (
        Column("xid", Xid8(), nullable=False, server_default=_XID),
        Column("seq", BigInteger, Identity(always=True), nullable=False),
    )
