"""What is owed, shared, billed and held, from events to the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from meter.store.journal import EntryFilter
from tests.booking.closes import ACME_MARCH, Closes
from tests.booking.journals import at, balances, entries, told, until
from tests.booking.space import CATALOG, Space, event, open_space, pages, sale

LANDLORD = (
    CATALOG
    + """
revenue_share:
  - {match: {meter: cafe}, party: landlord-mitte, share: "0.12", basis: net, role: ROLE}
ledger:
  accounts: {clearing.pos: "assets:clearing:pos"}
"""
)


def refund(event_id: str, time: str, order: str, gross: str) -> bytes:
    """Money given back at the till."""
    data = {
        "refund": event_id,
        "sale": {"source": "berlin/pos/bar", "order": order},
        "amount": gross,
        "currency": "EUR",
        "status": "completed",
    }
    return event("pos.refund", event_id, time, None, "berlin/pos/bar", data)


@pytest.mark.parametrize("role", ["principal", "agent"])
async def test_a_landlord_has_a_part_of_what_a_till_sold_and_gives_it_back_in_proportion(
    database_url: str, role: str
) -> None:
    async with open_space(database_url, LANDLORD.replace("ROLE", role)) as space:
        await space.take(sale("s1", "04T12:00", "10.00"))
        sold = {
            "assets:clearing:pos": Decimal("11.90"),
            "expenses:revenue-share": Decimal("1.20"),
            "income:cafe": Decimal("-10.00"),
            "liabilities:landlord:landlord-mitte": Decimal("-1.20"),
            "liabilities:tax": Decimal("-1.90"),
        }
        if role == "agent":
            sold["income:cafe"] += sold.pop("expenses:revenue-share")
        assert await balances(space) == sold
        # A quarter of it.
        await space.take(refund("r1", "05T12:00", "s1", "2.98"))
        kept = await balances(space)
        assert kept["assets:clearing:pos"] == Decimal("8.92")
        assert kept["liabilities:landlord:landlord-mitte"] == Decimal("-0.90")
        assert sum(kept.values()) == 0
        await space.take(refund("r2", "06T12:00", "s1", "8.92"))
        assert await balances(space) == {}


DEPOSIT = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19}
taxes:
  vat19: {rate: "0.19"}
plans:
  flex: {name: Flex}
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-03-10, to: 2026-05-10, deposit: "200.00"}]}
members:
  ada: {account: acme, name: Ada}
"""


async def test_a_deposit_is_a_debt_from_the_day_it_is_taken_to_the_day_it_goes_back(database_url: str) -> None:
    async with open_space(database_url, DEPOSIT) as space:
        await until(space, "2026-06-01T00:00")
        taken = {"assets:receivable": "200.00", "liabilities:deposits": "-200.00"}
        assert await told(space) == [
            ("2026-03-10", "charge", taken),
            ("2026-05-10", "charge", {account: str(-Decimal(amount)) for account, amount in taken.items()}),
        ]


UNBILLED = """
ledger:
  accounts: {unbilled: "assets:unbilled"}
"""


@pytest_asyncio.fixture
async def unbilled(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, CATALOG + UNBILLED) as opened:
        yield opened


async def test_usage_is_billed_when_its_period_is_closed(unbilled: Space) -> None:
    space = unbilled
    closes = await Closes.of(space)
    await space.take(pages("p1", "02T10:00", 140), pages("p2", "03T10:00", 10))
    waiting = await balances(space)
    assert waiting["assets:unbilled"] == Decimal("2.98")
    assert "assets:receivable" not in waiting
    assert await closes.close(ACME_MARCH)
    await space.rate()
    [billed] = [entry for entry in await entries(space) if entry.kind == "billed"]
    assert billed.day.isoformat() == "2026-06-01"
    assert billed.narration == "billed 2026-03"
    assert billed.dimensions["account"] == "acme"
    after = await balances(space)
    assert after["assets:receivable"] == waiting["assets:unbilled"]
    assert "assets:unbilled" not in after
    # What comes late is billed with the period that is open.
    await space.take(pages("p3", "03T11:00", 10))
    assert (await balances(space))["assets:unbilled"] == Decimal("0.48")
    space.new_worker()
    await space.rate()
    assert sum(entry.kind == "billed" for entry in await entries(space)) == 1


async def test_what_closing_itself_makes_due_is_billed_with_it(database_url: str) -> None:
    minimum = CATALOG.replace(
        'model: per_unit, unit_price: "25.00"',
        'model: per_unit, unit_price: "25.00", period_minimum: {amount: "50.00"}',
    )
    async with open_space(database_url, minimum + UNBILLED) as space:
        closes = await Closes.of(space)
        await space.take(pages("p1", "02T10:00", 140))
        assert await closes.close(ACME_MARCH)
        await space.rate()
        found = await told(space)
        assert ("2026-03-31", "charge") in [(day, kind) for day, kind, _ in found], "the minimum is of March"
        sums = await balances(space)
        # 40 pages and the minimum, with their tax.
        assert sums["assets:receivable"] == Decimal("61.88")
        assert "assets:unbilled" not in sums


async def test_what_nothing_names_waits_in_suspense_and_is_counted(database_url: str) -> None:
    ledger = """
ledger:
  unmapped: suspense
  revenue: {print-pages: "income:print"}
  rules:
    - {match: {meter: day-passes, site: berlin}, income: "income:berlin:passes"}
    - {match: {kind: fee}, income: "income:fees"}
"""
    async with open_space(database_url, CATALOG + ledger) as space:
        await space.take(pages("p1", "02T10:00", 140), sale("s1", "04T12:00", "10.00"), sale("s2", "04T12:05", "1.00"))
        [one, other] = await entries(space, EntryFilter(suspense=True))
        assert {posting.account for posting in one.postings} == {
            "assets:clearing",
            "equity:suspense",
            "liabilities:tax",
        }
        assert {one.dimensions["meter"], other.dimensions["meter"]} == {"cafe"}
        metrics = text_string_to_metric_families(generate_latest(space.telemetry.registry).decode())
        samples = {sample.name: sample.value for family in metrics for sample in family.samples}
        assert samples["meter_suspense_entries_total"] == 2


async def test_a_chart_that_changes_leaves_each_line_where_it_was_and_takes_it_back_from_there(
    database_url: str,
) -> None:
    async with open_space(database_url, CATALOG) as space:
        space.now = at("2026-03-05T12:00")
        await space.take(pages("p1", "02T10:00", 140))
        await space.apply(CATALOG + "ledger: {revenue: {print-pages: 'income:print'}}\n")
        space.now = at("2026-03-07T12:00")
        await space.take(pages("p2", "06T10:00", 10), pages("p0", "01T10:00", 100))
        sums = await balances(space)
        # p1 is now priced in full, and all that is before the change stays on its account.
        assert (sums["income:print-pages"], sums["income:print"]) == (Decimal("-6.19"), Decimal("-0.41"))
