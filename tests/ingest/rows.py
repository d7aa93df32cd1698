from typing import Any

from sqlalchemy import RowMapping, select

from meter.store.engine import Database


async def rows(database: Database, table: Any) -> list[RowMapping]:
    """Everything in a table."""
    async with database.begin() as connection:
        return list((await connection.execute(select(table))).mappings())
