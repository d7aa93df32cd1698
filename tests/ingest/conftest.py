from collections.abc import AsyncIterator

import pytest_asyncio

from meter.store.engine import Database


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.dispose()
