"""A QuickBooks in memory, and targets that send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from meter.export.targets.quickbooks.exporter import QuickBooksTarget
from meter.export.targets.spec import Means
from tests.targets.cases.quickbooks import CASE, open_unhurried, setup
from tests.targets.driving import Closing
from tests.targets.fakes.quickbooks import FakeQuickBooks
from tests.targets.quickbooks.given import Make


@pytest.fixture
async def vendor() -> AsyncIterator[FakeQuickBooks]:
    async with CASE.fake() as made:
        yield made


@pytest.fixture
def make(vendor: FakeQuickBooks, means: Means, closing: Closing) -> Make:
    def made(**options: Any) -> QuickBooksTarget:
        clock = options.pop("clock", None)
        return closing(open_unhurried(setup(options.pop("url", vendor.url), **options), means, clock))

    return made
