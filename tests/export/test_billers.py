"""Who bills an account is decided once: a change between two targets that lag doubles nothing and loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest_asyncio

from meter.export.gather.customers import Customers
from meter.export.gather.gatherer import Gatherer
from meter.export.gather.invoicing import Codes
from meter.export.gather.lines import Lines
from meter.export.payload import LineItem, thawed
from meter.model.money import ZERO
from tests.booking.space import Space, open_space, pages
from tests.export.test_gatherer import KNOWN, leased

AT_XERO = KNOWN.replace("stripe: cus_1", "xero: c-1")
AT_BOTH = KNOWN.replace("stripe: cus_1", "stripe: cus_1, xero: c-1")


@pytest_asyncio.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url, KNOWN) as opened:
        yield opened


def gatherer(space: Space, target: str, *rivals: str) -> Gatherer:
    customers = Customers(target=target, keys=(target,), rivals={rival: (rival,) for rival in rivals})
    shape = Lines(target=target, customers=customers, grain="day", codes=Codes(), replaces=True, notices=False)
    return Gatherer(
        space.database, operator="northside", target=target, shape=shape, clock=lambda: space.now, past=True
    )


async def gather(space: Space, *working: Gatherer) -> None:
    async with leased(space) as lease:
        for one in working:
            while (step := await one.step(lease)).more or step.items:
                pass


async def told(space: Space) -> dict[str, Decimal]:
    """What each target was told, by the newest revision of each batch."""
    rows = await space.rows(
        "SELECT DISTINCT ON (target, batch) target, operation, payload FROM outbox"
        " ORDER BY target, batch, revision DESC"
    )
    found: dict[str, Decimal] = {}
    for target, operation, payload in rows:
        content = thawed(operation, payload)
        assert isinstance(content, LineItem)
        found[target] = found.get(target, ZERO) + content.line.rounded
    return found


async def test_who_lags_does_not_bill_again_what_was_billed_before_the_change(space: Space) -> None:
    stripe, xero = gatherer(space, "stripe", "xero"), gatherer(space, "xero", "stripe")
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, stripe)
    await space.apply(AT_XERO)
    await space.take(pages("p2", "03T10:00", 20))
    await gather(space, xero, stripe)
    assert await told(space) == {"stripe": Decimal("2.50"), "xero": Decimal("0.82")}


async def test_what_nobody_had_billed_before_the_change_is_not_passed_over(space: Space) -> None:
    stripe, xero = gatherer(space, "stripe", "xero"), gatherer(space, "xero", "stripe")
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, xero)
    await space.apply(AT_XERO)
    await gather(space, stripe)
    assert await told(space) == {"stripe": Decimal("2.50")}
    [[state, fault]] = await space.rows("SELECT state, fault FROM outbox")
    assert state == "dead", "acme has no customer there any more: somebody must see it"
    assert "acme" in fault


async def test_a_target_that_is_switched_on_again_leaves_what_another_has_billed(space: Space) -> None:
    await space.apply(AT_BOTH)
    await space.take(pages("p1", "02T10:00", 150))
    await gather(space, gatherer(space, "stripe"))
    await space.take(pages("p2", "03T10:00", 20))
    await gather(space, gatherer(space, "xero"))
    stripe, xero = gatherer(space, "stripe", "xero"), gatherer(space, "xero", "stripe")
    await gather(space, stripe, xero)
    await space.take(pages("p3", "04T10:00", 40))
    await gather(space, xero, stripe)
    assert await told(space) == {"stripe": Decimal("4.14"), "xero": Decimal("0.82")}


async def test_of_two_that_disagree_one_alone_bills_each_charge(space: Space) -> None:
    """Two gateways for a while: one does not know of the other target."""
    await space.apply(AT_BOTH)
    alone, beside = gatherer(space, "xero"), gatherer(space, "stripe", "xero")
    for n in range(4):
        await space.take(pages(f"p{n}", f"0{n + 2}T10:00", 150))
        await gather(space, *((alone, beside) if n % 2 else (beside, alone)))
    [[owed]] = await space.rows("SELECT sum(rounded) FROM charges")
    assert sum((await told(space)).values()) == owed
