"""Every kind of request that QuickBooks is sent fits Intuit's schemas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from meter.export.contract import Absent, Delivered
from meter.export.targets.quickbooks.exporter import TIMEOUT_S
from meter.export.targets.spec import Means, Mode
from meter.store.engine import Database
from meter.telemetry import Telemetry
from tests.contract.judged import ContractServer
from tests.targets.cases.quickbooks import VAT, fake, invoice, item, journal, line, open_unhurried, setup
from tests.targets.fakes.quickbooks import FakeQuickBooks


@pytest.fixture
async def vendor(quickbooks_contract: ContractServer) -> AsyncIterator[FakeQuickBooks]:
    """Each request is held against the schemas first."""
    async with fake(check_request=quickbooks_contract.check) as made:
        yield made


async def sent(vendor: FakeQuickBooks, database: Database, mode: Mode, what: Any, **options: Any) -> None:
    means = Means(database=database, telemetry=Telemetry())
    target = open_unhurried(setup(vendor.url, mode, **options), means, timeout_s=TIMEOUT_S)
    try:
        await target.check()
        assert await target.look_up([item(what)]) == [Absent()]
        [outcome] = await target.send([item(what)])
        assert isinstance(outcome, Delivered), outcome
        assert await target.look_up([item(what)]) == [outcome]
        assert [held.remote_id async for held in target.holdings(date(2026, 11, 1), date(2026, 12, 1))]
    finally:
        await target.close()


@pytest.mark.parametrize(
    "options",
    [{}, {"tracking": "department", "create_tracking": True}, {"tracking": "none", "home_currency": "EUR"}],
)
async def test_journals_fit(
    vendor: FakeQuickBooks, database: Database, quickbooks_contract: ContractServer, options: dict[str, Any]
) -> None:
    await sent(vendor, database, "journals", journal(), **options)
    quickbooks_contract.assert_accepted()


@pytest.mark.parametrize(
    ("what", "options"),
    [
        (invoice(line(), line("3.33", tax=None)), {}),
        (invoice(line("-10.00")), {}),
        (
            invoice(line("0.01", charge="ch_1", adjusts=invoice().start)),
            {"tracking": "department", "create_tracking": True},
        ),
        (invoice(), {"us_sales_tax": True, "terms_days": 0, "tax_codes": {VAT.name: "TAX"}}),
    ],
)
async def test_invoices_and_credit_memos_fit(
    vendor: FakeQuickBooks, database: Database, quickbooks_contract: ContractServer, what: Any, options: dict[str, Any]
) -> None:
    await sent(vendor, database, "invoices", what, **options)
    quickbooks_contract.assert_accepted()


async def test_a_class_fits(vendor: FakeQuickBooks, database: Database, quickbooks_contract: ContractServer) -> None:
    await sent(vendor, database, "journals", journal(tracking="Köln's Dom"), create_tracking=True)
    quickbooks_contract.assert_accepted()
    assert any(one.path.endswith("/class") for one in quickbooks_contract.sent)
