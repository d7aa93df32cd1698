"""What every target's tests are given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from meter.export.targets.spec import Means
from meter.store.engine import Database
from meter.telemetry import Telemetry
from tests.targets.driving import Closing, Target


@pytest.fixture
def means(database: Database) -> Means:
    return Means(database=database, telemetry=Telemetry())


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def closing() -> AsyncIterator[Closing]:
    """Gives back the target that it is given, and closes it at the end of the test."""
    async with AsyncExitStack() as stack:

        def closed_at_the_end(target: Target) -> Target:
            stack.push_async_callback(target.close)
            return target

        yield closed_at_the_end
