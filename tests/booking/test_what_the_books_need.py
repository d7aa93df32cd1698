"""Shares of revenue, the span in which a fee is earned, and credit that ran out, over a real database."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from meter.api.explain import explained, find_charge
from meter.booking.facts import FactsCache
from meter.store.readers import charge_by_id
from tests.booking.space import CATALOG, Space, entry, open_space, pages, sale, void

SHARES = """
revenue_share:
  - {match: {meter: print-pages}, party: landlord, share: "0.333", basis: net}
  - {match: {meter: cafe, site: berlin}, party: landlord, share: "0.12", basis: net, role: agent}
  - {match: {meter: cafe}, party: roaster, share: "0.5"}
grants:
  - {id: gift, account: acme, unit: EUR, amount: "3.10", meters: [print-pages]}
"""
PACK = """
grants:
  - {id: pack, account: acme, unit: day, amount: "10", effective: 2026-03-02, expires: 2026-03-09,
     bought: {price: "120.00", tax: vat19}}
"""
FEE = CATALOG.replace("    name: Flex\n", '    name: Flex\n    fee: {amount: "310.00"}\n')


async def shares(space: Space) -> list[tuple[Any, ...]]:
    return [row[2:] for row in (await space.books())["shares"]]


async def test_shares_are_those_of_all_that_is_booked_however_often_a_worker_forgot(database_url: str) -> None:
    """Also with tax in the price, and with money that was given: both are in what is read back."""
    catalog = CATALOG.replace('vat19: {rate: "0.19"}', 'vat19: {rate: "0.19", inclusive: true}') + SHARES
    events = [pages(f"p{n}", f"{2 + n % 20:02}T09:{n:02}", 3 + 5 * n) for n in range(30)]
    events += [sale(f"s{n}", f"04T12:{n:02}", "3.53", None if n % 2 else "badge:ADA1") for n in range(8)]
    chance = random.Random(7)  # noqa: S311 -- the same order each time
    async with open_space(database_url, catalog) as space:
        await space.take(*events)
        ((revenue,),) = await space.rows(
            "SELECT sum(amount) + (SELECT sum(amount) FROM draws WHERE unit = 'EUR') FROM charges"
            " WHERE meter = 'print-pages'"
        )
        pages_shared = (revenue * Decimal("0.333") / Decimal("1.19")).quantize(Decimal("0.01"))
        # What tills took is net: 28.24 at 12 and at 50 %, half of it of guests.
        assert await shares(space) == [
            ("cafe", "berlin", "landlord", "agent", Decimal("1.69")),
            ("cafe", "berlin", "roaster", "principal", Decimal("7.06")),
            ("print-pages", "berlin", "landlord", "principal", pages_shared),
            ("cafe", "berlin", "landlord", "agent", Decimal("1.69")),
            ("cafe", "berlin", "roaster", "principal", Decimal("7.06")),
        ]
        books = await space.books()
        await space.forget()
        chance.shuffle(events)
        while events:
            await space.take(*[events.pop() for _ in range(min(len(events), chance.randint(1, 9)))])
            space.new_worker()
        assert await space.books() == books


async def test_a_share_that_changes_since_a_past_day_books_its_lines_again(database_url: str) -> None:
    async with open_space(database_url, CATALOG + SHARES) as space:
        space.now = datetime(2026, 3, 20, tzinfo=UTC)
        await space.take(sale("s1", "02T12:00", "10.00"), sale("s2", "12T12:00", "10.00"))
        more = CATALOG + SHARES.replace('share: "0.12"', 'share: "0.20"')
        await space.apply("effective: 2026-03-10\n" + more)
        await space.rate()
        assert await space.rows(
            "SELECT event_id, role, shares -> 0 ->> 'share', shares -> 0 ->> 'amount' FROM charges"
            " WHERE meter = 'cafe' ORDER BY event_id, revision"
        ) == [
            ("s1", "original", "0.12", "1.20"),
            ("s2", "original", "0.12", "1.20"),
            ("s2", "reversal", "0.12", "-1.20"),
            ("s2", "replacement", "0.20", "2.00"),
        ]
        await space.take(void("v", "20T00:00", "s2", "berlin/pos/bar"))
        assert [row[-1] for row in await shares(space)] == [Decimal("1.20"), Decimal(5)]


async def test_a_fee_says_until_when_it_is_earned(database_url: str) -> None:
    async with open_space(database_url, FEE) as space:
        space.now = datetime(2026, 3, 20, tzinfo=UTC)
        await space.take(pages("1", "02T09:00", 110))
        rows = await space.rows(
            "SELECT meter, period_start, period_end, event_time, earned_until FROM charges"
            " WHERE account = 'acme' AND event_time >= '2026-02-28T23:00:00Z' ORDER BY event_time"
        )
        fee, usage = rows
        assert fee[1] == fee[3] == datetime(2026, 2, 28, 23, tzinfo=UTC)
        assert fee[2] == fee[4] == datetime(2026, 3, 31, 22, tzinfo=UTC)
        assert (fee[0], usage[0], usage[4]) == ("membership", "print-pages", None)
        # Read back it is what the fold says: nothing is booked again.
        space.new_worker()
        await space.take(pages("2", "03T09:00", 1))
        assert await space.rows("SELECT count(*) FROM charges WHERE role <> 'original'") == [(0,)]


async def test_credit_that_was_bought_expires_by_the_clock_and_late_use_changes_it(database_url: str) -> None:
    async with open_space(database_url, CATALOG + PACK) as space:
        space.now = datetime(2026, 3, 8, 22, 59, tzinfo=UTC)
        await space.take(entry("e1", "03T08:00"), entry("e2", "04T08:00"))
        assert await expiries(space) == []
        space.now = datetime(2026, 3, 8, 23, tzinfo=UTC)
        await space.rate()
        assert await expiries(space) == [("original", Decimal(8), Decimal(0), Decimal(0))]
        space.new_worker()
        await space.take(entry("late", "05T08:00"), entry("behind", "10T08:00"))
        assert await expiries(space) == [
            ("original", Decimal(8), Decimal(0), Decimal(0)),
            ("reversal", Decimal(-8), Decimal(0), Decimal(0)),
            ("replacement", Decimal(7), Decimal(0), Decimal(0)),
        ]
        ((name,),) = await space.rows("SELECT id FROM charges WHERE part = 'expired' AND role = 'replacement'")
        assert "8 day bought" not in await explanation(space, name)
        assert (
            "Expiry: 10 day bought for 120 EUR could be drawn until 2026-03-09\n"
            "  10 - 3 drawn = 7 day left; no money moves for them\n"
        ) in await explanation(space, name)


async def expiries(space: Space) -> list[tuple[Any, ...]]:
    return await space.rows(
        "SELECT role, trim_scale(quantity), amount, rounded FROM charges WHERE part = 'expired' AND meter = 'credit'"
        " ORDER BY revision"
    )


async def explanation(space: Space, name: str) -> str:
    async with space.database.begin() as connection:
        facts = await FactsCache("northside").current(connection)
        charge = await charge_by_id(connection, "northside", name)
        assert facts is not None
        assert charge is not None
        found = explained(await find_charge(connection, facts, "northside", charge, until=space.now))
    assert found.agrees, found.text()
    return found.text()
