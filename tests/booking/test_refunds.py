"""Refunds over a real database: whatever comes first, the books are the same."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import permutations

import pytest

from tests.booking.space import Space, event, open_space, sale, void

BAR = "berlin/pos/bar"


def refund(
    refund_id: str, time: str, order: str, amount: str, *, status: str = "completed", event_id: str = ""
) -> bytes:
    data = {
        "refund": refund_id,
        "sale": {"source": BAR, "order": order},
        "amount": amount,
        "currency": "EUR",
        "status": status,
    }
    return event("pos.refund", event_id or f"refund-{refund_id}", time, None, BAR, data)


@pytest.fixture
async def space(database_url: str) -> AsyncIterator[Space]:
    async with open_space(database_url) as opened:
        yield opened


async def test_a_refund_goes_to_the_account_of_its_sale_and_returns_net_and_tax(space: Space) -> None:
    await space.take(sale("s", "02T09:00", "10.00"))
    await space.take(refund("r", "03T09:00", "s", "5.95"))
    rows = await space.rows("SELECT account, kind, amount, tax_amount, total FROM charges ORDER BY seq")
    assert rows[1:] == [("walk-in", "refund", Decimal("-5.00"), Decimal("-0.95"), Decimal("-5.95"))]


EVENTS = {
    "on account, part by part": [
        sale("s", "02T09:00", "10.00", "badge:ADA1", "account"),
        refund("a", "03T09:00", "s", "4.00"),
        refund("b", "04T09:00", "s", "3.00"),
    ],
    "before its sale": [sale("s", "05T09:00", "10.00"), refund("a", "03T09:00", "s", "4.00")],
    "pending, then completed, then failed": [
        sale("s", "02T09:00", "10.00"),
        refund("a", "03T09:00", "s", "4.00", status="pending", event_id="a1"),
        refund("a", "04T09:00", "s", "4.00", event_id="a2"),
        refund("a", "05T09:00", "s", "4.00", status="failed", event_id="a3"),
        refund("b", "06T09:00", "s", "1.00"),
    ],
    "of a sale that is voided": [
        sale("s", "02T09:00", "10.00", "badge:ADA1", "account"),
        refund("a", "03T09:00", "s", "4.00"),
        void("v", "04T09:00", "s", BAR),
        sale("t", "05T09:00", "2.00", "badge:ADA1", "account"),
    ],
    "voided itself": [
        sale("s", "02T09:00", "10.00"),
        refund("a", "03T09:00", "s", "4.00"),
        void("v", "04T09:00", "refund-a", BAR),
    ],
}


@pytest.mark.parametrize("name", EVENTS)
async def test_the_order_of_arrival_makes_no_difference(database_url: str, name: str) -> None:
    orders = [list(order) for order in permutations(EVENTS[name])]
    random.Random(name).shuffle(orders)  # noqa: S311 -- a seed for the same orders each time
    async with open_space(database_url) as space:
        await space.take(*EVENTS[name])
        expected = await space.books()
        assert expected["sums"]
        for order in orders[:4]:
            await space.forget()
            for body in order:
                await space.take(body)
            assert await space.books() == expected
