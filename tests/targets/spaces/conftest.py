"""Booking systems in memory, and targets that send to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from meter.export.targets.spaces.target import SpacesTarget
from meter.export.targets.spec import Means
from tests.targets.case import TargetCase
from tests.targets.cases.spaces import open_unhurried, setup_of
from tests.targets.spaces.given import Make


@pytest.fixture
async def make(means: Means) -> AsyncIterator[Make]:
    """Open a case's fake and its target."""
    async with AsyncExitStack() as stack:

        async def made(
            case: TargetCase, fake: Any = None, clock: Any = None, **options: Any
        ) -> tuple[Any, SpacesTarget]:
            vendor = await stack.enter_async_context(fake or case.fake())
            target = open_unhurried(setup_of(case.kind, options.pop("url", vendor.url), **options), means, clock)
            stack.push_async_callback(target.close)
            return vendor, target

        yield made
