"""Credit that was bought: deferred when it is sold, earned as it is drawn, the rest when it expires."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import permutations

import pytest
import pytest_asyncio

from tests.booking.journals import at, balances, told, until
from tests.booking.space import Space, entry, open_space, pages, void

PACK = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19}
taxes:
  vat19: {rate: "0.19"}
meters:
  day-passes: {event: door.access, where: {granted: true, direction: in}, aggregate: unique_days, unit: day}
plans:
  flex:
    name: Flex
    prices:
      day-passes: [{id: day, model: per_unit, unit_price: "25.00"}]
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-01-01}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
grants:
  - {id: pack-1, account: acme, member: ada, unit: day, amount: "10", meters: [day-passes], effective: 2026-02-25,
     expires: 2026-08-25, bought: {price: "180.00", tax: vat19}}
"""
SOLD = {"assets:receivable": "214.20", "liabilities:deferred": "-180.00", "liabilities:tax": "-34.20"}
DRAWN = {"liabilities:deferred": "18.00", "income:day-passes": "-18.00"}


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, PACK) as opened:
        yield opened


async def test_ten_day_passes_are_earned_as_they_are_used_and_when_they_expire(space: Space) -> None:
    await until(space, "2026-02-25T12:00")
    space.now = at("2026-03-02T12:00")
    await space.take(entry("e1", "02T08:00"))
    space.now = at("2026-03-09T12:00")
    await space.take(entry("e2", "09T08:00"), entry("e3", "09T09:00"))
    await until(space, "2026-08-25T12:00")
    assert await told(space) == [
        ("2026-02-25", "charge", SOLD),
        ("2026-03-02", "charge", DRAWN),
        ("2026-03-09", "charge", DRAWN),
        ("2026-08-25", "charge", {"income:breakage": "-144.00", "liabilities:deferred": "144.00"}),
    ]
    # Ten months late, and the twelfth day is not the pack's: what was breakage is income of the day.
    space.now = at("2026-08-26T12:00")
    await space.take(entry("late", "03T08:00"))
    sums = await balances(space)
    assert "liabilities:deferred" not in sums
    assert (sums["income:day-passes"], sums["income:breakage"]) == (Decimal(-54), Decimal(-126))


async def test_a_pass_that_was_not_used_after_all_is_deferred_again(space: Space) -> None:
    await space.take(entry("e1", "02T08:00"))
    before = await balances(space)
    space.now = at("2026-06-02T12:00")
    await space.take(entry("e2", "04T08:00"), void("v", "05T00:00", "e2", "berlin/door/main"))
    assert await balances(space) == before


async def test_what_is_drawn_by_a_worker_that_remembers_nothing_goes_on_where_the_books_stand(space: Space) -> None:
    for n in range(1, 11):
        space.new_worker()
        await space.take(entry(f"e{n}", f"{n:02}T08:00"))
    sums = await balances(space)
    assert sums == {
        "assets:receivable": Decimal("214.20"),
        "income:day-passes": Decimal(-180),
        "liabilities:tax": Decimal("-34.20"),
    }


ODD = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin}
meters:
  print-pages: {event: print.job, where: {color: false}, aggregate: sum, value: impressions, unit: page}
  colour-pages: {event: print.job, where: {color: true}, aggregate: sum, value: impressions, unit: page}
plans:
  flex:
    name: Flex
    prices:
      print-pages: [{id: mono, model: per_unit, unit_price: "0.05"}]
      colour-pages: [{id: colour, model: per_unit, unit_price: "0.25"}]
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-01-01}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
grants:
  - {id: pages, account: acme, unit: page, amount: "7", effective: 2026-02-25, bought: {price: "1.00"}}
  - {id: gift, account: acme, unit: page, amount: "2", priority: 1}
"""


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_odd_cents_are_the_same_in_every_order_and_the_whole_is_the_price(
    database_url: str, order: tuple[int, int, int]
) -> None:
    jobs = [
        pages("p1", "02T10:00", 4, color=False),
        pages("p2", "03T10:00", 3, color=True),
        pages("p3", "04T10:00", 4, color=True),
    ]
    async with open_space(database_url, ODD) as space:
        for n in order:
            await space.take(jobs[n])
        sums = await balances(space)
    # Two of the gift, then seven at a seventh each: 3 colour pages of p2 and 2 of p3, 2 mono pages of p1.
    assert sums == {
        "assets:receivable": Decimal("1.50"),
        "income:colour-pages": Decimal("-1.21"),
        "income:print-pages": Decimal("-0.29"),
    }
