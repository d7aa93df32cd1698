"""A Xero in memory, and targets that send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from meter.export.targets.spec import Means
from meter.export.targets.xero.exporter import XeroTarget
from tests.targets.cases.xero import CASE, open_unhurried, setup
from tests.targets.driving import Closing
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import TENANT
from tests.targets.xero.given import Make


@pytest.fixture
async def vendor() -> AsyncIterator[FakeXero]:
    async with CASE.fake() as made:
        yield made


@pytest.fixture
def make(vendor: FakeXero, means: Means, closing: Closing) -> Make:
    def opened(clock: Any = None, **changes: Any) -> XeroTarget:
        company = changes.pop("company", TENANT)
        given = replace(setup(changes.pop("url", vendor.url), **changes), company=company)
        return closing(open_unhurried(given, means, *([] if clock is None else [clock])))

    return opened
