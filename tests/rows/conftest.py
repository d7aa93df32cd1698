from collections.abc import AsyncIterator

import pytest_asyncio

from tests.booking.space import Space, open_space


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        yield opened
