"""What every target's tests are given."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from meter.export.targets.spec import Means
from meter.store.engine import Database
from meter.telemetry import Telemetry


@pytest.fixture
def means(database: Database) -> Means:
    return Means(database=database, telemetry=Telemetry())


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
