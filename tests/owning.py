"""What no gateway may do, for tests that need it done: damage to be found, another operator's rows, an empty log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meter.store.engine import Database


@asynccontextmanager
async def as_owner(database: Database) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in a transaction that acts as the tables' owner and sees every operator's rows."""
    async with database.begin() as connection:
        await connection.execute(text("SET LOCAL ROLE NONE"))
        await connection.execute(text("SET LOCAL meter.operator = ''"))
        yield connection
