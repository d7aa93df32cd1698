"""An account that was charged gets another anchor day (decision 0010): what was billed stays, and months follow on."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from meter.booking.closing import look, prospects
from meter.booking.facts import FactsCache
from meter.store.closes import Closing
from tests.booking.closes import ACME_MARCH, Closes, at
from tests.booking.space import Space, open_space, pages

CATALOG = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites: {berlin: {name: Berlin}}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
plans:
  flex:
    fee: {amount: "310.00"}
    grants: [{id: pages, unit: page, amount: "60"}]
    prices: {print-pages: [{id: mono, model: per_unit, unit_price: "0.05"}]}
accounts:
  acme: {name: ACME, anchor_day: 1, subscriptions: [{id: acme-flex, plan: flex, from: 2026-03-01}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
"""
MOVED = CATALOG.replace("anchor_day: 1,", "anchor_day: 15,")
# The first period of the new terms: to the anchor of the next month. Then comes May's.
APRIL = Closing("acme", ACME_MARCH.end, datetime(2026, 5, 14, 22, tzinfo=UTC))
MAY = Closing("acme", APRIL.end, datetime(2026, 6, 14, 22, tzinfo=UTC))


async def charged(space: Space) -> list[tuple[Any, ...]]:
    return await space.rows(
        "SELECT meter, period_start, period_end, trim_scale(sum(quantity)), trim_scale(sum(covered)),"
        " trim_scale(sum(rounded)) FROM charges GROUP BY 1, 2, 3 ORDER BY 2, 1"
    )


async def test_a_moved_anchor_day_begins_with_the_next_period(database_url: str) -> None:
    async with open_space(database_url, CATALOG) as space:
        space.now = datetime(2026, 3, 10, tzinfo=UTC)
        await space.take(pages("1", "02T09:00", 70))
        await space.apply(MOVED)
        await space.rate()
        march = [
            ("membership", *ACME_MARCH[1:], Decimal(1), Decimal(0), Decimal(310)),
            ("print-pages", *ACME_MARCH[1:], Decimal(70), Decimal(60), Decimal("0.5")),
        ]
        assert await charged(space) == march

        space.now = datetime(2026, 5, 20, tzinfo=UTC)
        await space.take(at(pages("2", "01T09:00", 100), "2026-05-10T09:00:00Z"))
        april = [
            # 44 days at the price of the 30 from 15 April to 15 May; so much is the credit.
            ("membership", *APRIL[1:], Decimal("1.466667"), Decimal(0), Decimal("454.67")),
            ("print-pages", *APRIL[1:], Decimal(100), Decimal(88), Decimal("0.6")),
        ]
        may = [("membership", *MAY[1:], Decimal(1), Decimal(0), Decimal(310))]
        assert await charged(space) == [*march, *april, *may]

        # What comes late belongs to its month as it was.
        await space.take(pages("3", "20T09:00", 4))
        march[1] = ("print-pages", *ACME_MARCH[1:], Decimal(74), Decimal(60), Decimal("0.7"))
        assert await charged(space) == [*march, *april, *may]

        # All of it once more from the beginning, and in another order.
        await space.forget()
        await space.accept([at(pages("2", "01T09:00", 100), "2026-05-10T09:00:00Z"), pages("3", "20T09:00", 4)])
        await space.take(pages("1", "02T09:00", 70))
        assert await charged(space) == [*march, *april, *may]


async def test_the_long_period_closes_as_one_and_is_adjusted_in_the_next(database_url: str) -> None:
    async with open_space(database_url, CATALOG) as space:
        space.now = datetime(2026, 3, 10, tzinfo=UTC)
        closes = await Closes.of(space, since=ACME_MARCH.start)
        await space.take(pages("1", "02T09:00", 70))
        await space.apply(MOVED)
        space.now = datetime(2026, 5, 17, tzinfo=UTC)
        async with space.database.begin() as connection:
            facts = await FactsCache("northside").current(connection)
            assert facts is not None
            known = await look(connection, "northside", at=space.now)
            (found,) = await prospects(connection, "northside", facts, ["acme"], name="2026-04", known=known)
            assert found.closing == APRIL
        await closes.sweep()
        assert [row[0] for row in await closes.closed()] == [ACME_MARCH.start, APRIL.start]
        await space.take(at(pages("2", "01T09:00", 100), "2026-04-20T09:00:00Z"))
        late = (await closes.charges())[-1]
        assert (late.line.period.start, late.invoice_period.start, late.kind) == (APRIL.start, MAY.start, "adjustment")
