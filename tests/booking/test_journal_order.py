"""The journal's sums depend on no order of booking, nor on when the clock let days and fees in."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from meter.store.journal import trial_balance
from tests.booking.journals import at, balances, entries, new_earner
from tests.booking.space import Space, entry, open_space, pages, sale, void

EVERYTHING = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19, walk_in: walk-in}
taxes:
  vat19: {rate: "0.19"}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
  day-passes: {event: door.access, where: {granted: true, direction: in}, aggregate: unique_days, unit: day}
  cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}
plans:
  flex:
    name: Flex
    fee: {amount: "199.00", tax: vat19}
    prices:
      print-pages: [{id: mono, model: graduated, tiers: [{up_to: 50, unit_price: "0.05"}, {unit_price: "0.041"}]}]
      day-passes: [{id: day, model: per_unit, unit_price: "25.00"}]
      cafe: [{id: cafe, model: pass_through}]
revenue_share:
  - {match: {meter: cafe}, party: landlord, share: "0.12", basis: net, role: principal}
  - {match: {meter: print-pages}, party: lessor, share: "0.333", basis: net, role: agent}
accounts:
  walk-in: {name: Guests}
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-03-03, to: 2026-04-12, deposit: "200.00"}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
grants:
  - {id: passes, account: acme, unit: day, amount: "14", effective: 2026-03-01, expires: 2026-03-25,
     bought: {price: "100.00", tax: vat19}}
  - {id: pages, account: acme, unit: page, amount: "200", effective: 2026-03-01, expires: 2026-05-01,
     bought: {price: "9.99"}}
  - {id: wallet, account: acme, unit: EUR, amount: "50", meters: [cafe, day-passes], effective: 2026-03-01,
     bought: {price: "45.00"}}
ledger:
  accounts: {unbilled: "assets:unbilled"}
  rules: [{match: {kind: fee}, income: "income:fees"}]
"""
END = "2026-05-20T12:00"


async def enter_days(space: Space) -> None:
    while await new_earner(space).step():
        pass


@pytest.mark.parametrize("seed", range(3))
async def test_the_order_of_booking_changes_no_accounts_sum(database_url: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 -- the same order each time
    events = [
        *(entry(f"e{n}", f"{3 + n:02}T08:00") for n in range(12)),
        *(pages(f"p{n}", f"{3 + n * 2:02}T10:00", 37 + n) for n in range(9)),
        *(sale(f"s{n}", f"{4 + n:02}T12:00", "3.53", "badge:ADA1", "account") for n in range(8)),
        *(sale(f"t{n}", f"{4 + n:02}T13:00", "2.49") for n in range(8)),
        *(void(f"v{n}", "24T00:00", f"p{n}", "berlin/print/hall") for n in range(0, 9, 4)),
        void("ve", "24T00:00", "e3", "berlin/door/main"),
    ]
    async with open_space(database_url, EVERYTHING) as space:
        space.now = at(END)
        await space.take(*events)
        in_one = await balances(space)
        assert {"income:breakage", "income:fees", "assets:unbilled", "liabilities:landlord:lessor"} <= set(in_one)
        # Nothing is left of what has expired; of the wallet there is.
        assert in_one["liabilities:deferred"] < 0

        await space.forget()
        chance.shuffle(events)
        space.now = at("2026-03-02T12:00")
        # By the end, what arrives by mail after weeks is in as well.
        while events:
            space.now = min(space.now + timedelta(days=chance.randint(0, 6)), at(END))
            here = [body for body in events if _time(body) <= space.now.isoformat()[:16]]
            if space.now == at(END):
                here = events[:]
            some = here[: chance.randint(0, 9)] if space.now < at(END) else here
            events = [body for body in events if body not in some]
            await space.take(*some)
            await enter_days(space)
            if chance.random() < 0.5:
                space.new_worker()
        space.now = at(END)
        await space.rate()
        await enter_days(space)
        assert await balances(space) == in_one
        async with space.database.begin() as connection:
            found = await trial_balance(connection, "northside")
        assert {one.ledger_account: one.amount for one in found} == in_one
        assert sum(in_one.values()) == 0
        assert all(entry.day <= at(END).date() for entry in await entries(space))


def _time(body: bytes) -> str:
    return body.decode().partition('"time": "')[2][:16]
