"""Refunds through the worker: the books say the same whatever came first, and wherever their sale moves."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from tests.booking.space import CATALOG, Space, amend, event, open_space, pages, void

BAR = "berlin/pos/bar"
D = Decimal


def sold(event_id: str, time: str, order: str, subject: str | None, settlement: str = "paid") -> bytes:
    return event("pos.sale", event_id, time, subject, BAR, sale_data(order, settlement))


def sale_data(order: str, settlement: str) -> dict[str, Any]:
    lines = [{"quantity": 1, "amount": "4.00"}]
    return {"order": order, "currency": "EUR", "lines": lines, "total": "4.00", "settlement": settlement}


def refund(event_id: str, time: str, order: str, amount: str = "1.00", **more: Any) -> bytes:
    sale = {"source": BAR, "order": order}
    data = {"refund": event_id, "sale": sale, "currency": "EUR", "status": "completed", "amount": amount}
    return event("pos.refund", event_id, time, None, BAR, data | more)


async def stories(space: Space) -> dict[str, list[tuple[Any, ...]]]:
    """What stands of each story, by the first part of its events' ids: account, kind, settlement, net amount."""
    rows = await space.rows(
        "SELECT split_part(event_id, '-', 1), account, kind, settlement, trim_scale(sum(amount)) FROM charges"
        " WHERE source = 'berlin/pos/bar' GROUP BY 1, 2, 3, 4 HAVING sum(amount) <> 0 ORDER BY 1, 2, 3, 4"
    )
    found: dict[str, list[tuple[Any, ...]]] = {}
    for story, *rest in rows:
        found.setdefault(story, []).append(tuple(rest))
    return found


async def test_no_order_of_arrival_changes_what_is_given_back(database_url: str) -> None:
    async with open_space(database_url) as space:
        for story in range(24):
            name = f"n{story}"
            bodies = [
                sold(f"{name}-a", "02T09:00", name, "badge:ADA1"),
                sold(f"{name}-b", "04T09:00", name, "badge:EFE1"),
                void(f"{name}-v", "05T09:00", f"{name}-b", BAR),
                amend(f"{name}-m", "05T09:00", f"{name}-a", BAR, sale_data("whatever", "account")),
                refund(f"{name}-early", "01T09:00", name),
                refund(f"{name}-late", "06T09:00", name, status="pending", refund=f"{name}-late"),
                refund(f"{name}-later", "06T10:00", name, "2.00", refund=f"{name}-late"),
            ]
            random.Random(story).shuffle(bodies)  # noqa: S311 -- the same orders for the same seed
            for body in bodies:
                await space.take(body)
        expected = [("acme", "refund", "account", D(-3)), ("acme", "usage", "account", D(4))]
        assert await stories(space) == {f"n{story}": expected for story in range(24)}
        space.new_worker()
        await space.rows("INSERT INTO refolds (operator, account, since, reason)"
                         " SELECT 'northside', account, '-infinity', 'again' FROM accounts RETURNING 1")  # fmt: skip
        before = await space.rows("SELECT count(*) FROM charges")
        await space.rate()
        assert await space.rows("SELECT count(*) FROM charges") == before


async def test_a_voided_sale_takes_its_refund_along(database_url: str) -> None:
    async with open_space(database_url) as space:
        await space.take(sold("s", "02T09:00", "o", "badge:ADA1"), refund("r", "03T09:00", "o"))
        assert await stories(space) == {
            "s": [("acme", "usage", "paid", D(4))],
            "r": [("acme", "refund", "paid", D(-1))],
        }
        await space.take(void("v", "04T09:00", "s", BAR))
        assert await stories(space) == {}


async def test_a_claim_takes_the_refunds_along_with_their_sale(database_url: str) -> None:
    """One refund lies before a checkpoint of the member's account, and its sale in the period after that."""
    claimed = CATALOG.replace('["badge:ADA1"]', '["badge:ADA1", {id: "card:9", from: 2026-04-15}]')
    assert claimed != CATALOG
    async with open_space(database_url) as space:
        await space.take(*(pages(f"p{n}", f"{2 + n // 100:02}T{n % 24:02}:{n % 60:02}", 1) for n in range(900)))
        april = [sold("s", "20T09:00", "o", "card:9"), refund("late", "21T09:00", "o")]
        await space.take(refund("early", "01T09:00", "o"), *(body.replace(b"2026-03-", b"2026-04-") for body in april))
        (last,) = await space.rows("SELECT max(time)::text FROM checkpoints WHERE account = 'acme'")
        assert "2026-03-02" < last[0] < "2026-03-31"
        late = ("refund", "paid", D(-1))
        assert await stories(space) == {
            "s": [("walk-in", *late), ("walk-in", "usage", "paid", D(4))],
            "late": [("walk-in", *late)],
        }
        await space.apply(claimed)
        await space.rate()
        assert await stories(space) == {
            "s": [("acme", *late), ("acme", "usage", "paid", D(4))],
            "late": [("acme", *late)],
        }


async def test_a_held_refund_counts_when_its_time_has_come(database_url: str) -> None:
    async with open_space(database_url) as space:
        space.now = space.now.replace(month=3, day=3, hour=12)
        await space.take(sold("s", "02T09:00", "o", "badge:ADA1"), refund("r", "05T09:00", "o"))
        assert await stories(space) == {"s": [("acme", "usage", "paid", D(4))]}
        space.now = space.now.replace(day=6)
        await space.rate()
        assert (await stories(space))["r"] == [("acme", "refund", "paid", D(-1))]


async def test_a_sale_that_is_released_later_than_its_refund_is_refunded(database_url: str) -> None:
    async with open_space(database_url) as space:
        space.now = space.now.replace(month=3, day=3, hour=12)
        await space.take(refund("r", "02T09:00", "o"), sold("s", "05T09:00", "o", "badge:ADA1"))
        assert await stories(space) == {}
        space.now = space.now.replace(day=6)
        await space.rate()
        expected = [("acme", "refund", "paid", D(-1)), ("acme", "usage", "paid", D(4))]
        assert await stories(space) == {"s": expected}


async def test_a_refund_of_the_tip_alone_is_booked(database_url: str) -> None:
    """The first one takes all that was sold; of the second only the tip is left."""
    tipped = {**sale_data("o", "paid"), "tip": "0.50", "total": "4.50"}
    whole = {"refund": "r1", "sale": {"source": BAR, "order": "o"}, "currency": "EUR", "status": "completed"}
    bodies = [
        event("pos.sale", "s", "02T09:00", "badge:ADA1", BAR, tipped),
        event("pos.refund", "r1", "03T09:00", None, BAR, {**whole, "lines": tipped["lines"]}),
        refund("r2", "04T09:00", "o", "5.95"),
    ]
    for order in ((0, 1, 2), (2, 0, 1), (2, 1, 0)):
        async with open_space(database_url) as space:
            await space.forget()
            for n in order:
                await space.take(bodies[n])
            assert await space.rows("SELECT sum(amount), sum(tip), sum(total) FROM charges") == [(D(0), D(0), D(0))]
            assert (await space.books())["journal"] == []


async def test_a_sale_that_is_stored_while_its_refund_is_rated_comes_as_a_late_one(database_url: str) -> None:
    """A transaction that goes on holds the tail back before the sale, which the refund finds all the same."""
    undated = CATALOG.replace(", subscriptions: [{id: acme-flex, plan: flex, from: 2026-01-01}]", "")
    async with open_space(database_url, undated) as space:
        await space.rate()
        await space.accept([refund("r", "06T09:00", "o")])
        async with space.database.begin() as going_on:
            await going_on.execute(text("SELECT pg_current_xact_id()"))
            await space.accept([sold("s", "02T09:00", "o", "badge:ADA1")])
            await space.rate()
            assert await stories(space) == {}
        await space.rate()
        assert await stories(space) == {
            "s": [("acme", "usage", "paid", D(4))],
            "r": [("acme", "refund", "paid", D(-1))],
        }
        assert space.telemetry.registry.get_sample_value("meter_fold_failures_total") == 0
