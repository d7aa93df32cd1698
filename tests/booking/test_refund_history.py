"""Which account a refund is folded with: its sale's, whichever came first and whatever becomes of the sale."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from meter.booking.facts import FactsCache
from meter.booking.history import History, entangled_sales, load_history
from meter.model.event import EventKey, Position
from meter.model.instant import parse_instant
from meter.store import usage
from meter.store.usage import ORIGIN
from tests.booking.space import CATALOG, Space, amend, event, open_space, sale, void

BAR = "berlin/pos/bar"


def refund(event_id: str, time: str, order: Any = "s", status: str = "completed", **more: Any) -> bytes:
    data = {"refund": event_id, "sale": {"source": BAR, "order": order}, "currency": "EUR", "status": status}
    return event("pos.refund", event_id, time, None, BAR, data | {"amount": "1.00"} | more)


def at(time: str, source: str = BAR, event_id: str = "s") -> Position:
    return Position(parse_instant(f"2026-03-{time}:00Z"), source, event_id)


async def history(space: Space, *accounts: str, after: Position = ORIGIN) -> History:
    async with space.database.begin() as connection:
        facts = await FactsCache("northside").current(connection)
        assert facts is not None
        return await load_history(connection, "northside", accounts or ("acme", "solo", "walk-in"), facts, after=after)


def ids(found: History) -> dict[str, list[tuple[str, str | None, str | None]]]:
    """By account: event, member, and the sale of a refund."""
    return {
        account: [(placed.event.id, placed.member, placed.sale and placed.sale.id) for placed in events]
        for account, events in found.placed.items()
        if events
    }


async def ties(space: Space, *keys: str) -> dict[str, tuple[list[str], bool, str | None]]:
    """Of the refunds that change with these events: the events on their sales, whether they count, which sale does."""
    async with space.database.begin() as connection:
        events = await usage.events_by_key(connection, "northside", [EventKey(BAR, key) for key in keys])
        found = await entangled_sales(connection, "northside", events.values())
    return {
        tie.refund.id: (
            sorted(s.id for s in tie.sales),
            tie.counts is not None,
            None if tie.sale is None else tie.sale.id,
        )
        for tie in found
    }


async def test_a_refund_is_its_sales_accounts_whichever_comes_first(database_url: str) -> None:
    bodies = [sale("s", "02T09:00", "3.00", "badge:ADA1"), refund("r", "03T09:00"), refund("early", "01T09:00")]
    async with open_space(database_url) as space:
        await space.accept([refund("r", "03T09:00")])
        assert ids(await history(space)) == {}
        assert (await history(space)).unresolved == []
        assert await ties(space, "r") == {"r": ([], True, None)}
        await space.accept(bodies)
        assert ids(await history(space)) == {"acme": [("early", "ada", "s"), ("s", "ada", None), ("r", "ada", "s")]}
        assert await ties(space, "s") == {"r": (["s"], True, "s"), "early": (["s"], True, "s")}
        assert await ties(space, "r") == {"r": (["s"], True, "s")}


async def test_nobody_lists_a_waiting_refund_as_unresolved(space: Space) -> None:
    unknown = event("pos.refund", "r", "03T09:00", "badge:NOBODY", BAR, {
        "refund": "r", "sale": {"source": BAR, "order": "s"}, "currency": "EUR", "status": "completed", "amount": "1"
    })  # fmt: skip
    await space.accept([unknown, sale("s", "02T09:00", "3.00", None, "account")])
    found = await history(space)
    assert (ids(found), [event.id for event, _ in found.unresolved]) == ({}, ["s"])


async def test_a_refunds_own_subject_decides_nothing(space: Space) -> None:
    data = {
        "refund": "r",
        "sale": {"source": BAR, "order": "s"},
        "currency": "EUR",
        "status": "completed",
        "amount": "1",
    }
    await space.accept([sale("s", "02T09:00", "3.00"), event("pos.refund", "r", "03T09:00", "badge:ADA1", BAR, data)])
    assert ids(await history(space)) == {"walk-in": [("s", None, None), ("r", None, "s")]}


async def test_a_refund_is_found_long_after_its_sale(space: Space) -> None:
    await space.accept([
        sale("s", "02T09:00", "3.00", "badge:ADA1"),
        sale("w", "02T09:30", "3.00"),
        refund("r", "09T09:00"),
        refund("rw", "09T09:00", "w"),
        refund("r0", "02T10:00"),
    ])  # fmt: skip
    found = await history(space, after=at("05T00:00"))
    assert ids(found) == {"acme": [("r", "ada", "s")], "walk-in": [("rw", None, "w")]}
    assert not any(found.early.values())
    assert ids(await history(space, "solo", after=at("05T00:00"))) == {}


async def test_a_refund_before_a_place_that_its_sale_comes_after_is_early_there(space: Space) -> None:
    await space.accept([refund("r", "02T09:00"), sale("s", "05T09:00", "3.00", "badge:ADA1")])
    found = await history(space, after=at("03T09:00"))
    assert ids(found) == {"acme": [("s", "ada", None)]}
    (early,) = found.early["acme"]
    assert (early.event.id, early.sale) == ("r", at("05T09:00"))
    assert not any((await history(space)).early.values())
    assert not any((await history(space, after=at("06T09:00"))).early.values())


async def test_a_refund_of_a_voided_sale_waits_again(space: Space) -> None:
    await space.accept([sale("s", "02T09:00", "3.00", "badge:ADA1"), refund("r", "03T09:00")])
    await space.accept([void("v", "04T09:00", "s", BAR)])
    assert ids(await history(space)) == {}
    assert await ties(space, "s") == {"r": (["s"], True, None)}


async def test_of_several_events_on_one_order_the_latest_is_the_sale(space: Space) -> None:
    for number, order in enumerate(permutations(range(3))):
        name = f"o{number}"
        first = event("pos.sale", f"{name}a", "02T09:00", "badge:ADA1", BAR, _sale_data(name))
        second = event("pos.sale", f"{name}b", "04T09:00", "badge:EFE1", BAR, _sale_data(name))
        bodies = [first, second, refund(f"r{number}", "03T09:00", name)]
        for place in order:
            await space.accept([bodies[place]])
    found = await history(space)
    assert ids(found) == {
        "solo": [*((f"r{n}", "eve", f"o{n}b") for n in range(6)), *((f"o{n}b", "eve", None) for n in range(6))]
    }
    assert await ties(space, "o1a") == {"r1": (["o1a", "o1b"], True, "o1b")}
    await space.accept([void("v", "05T09:00", "o1b", BAR)])
    assert await ties(space, "o1b") == {"r1": (["o1a", "o1b"], True, "o1a")}
    assert ids(await history(space, "acme")) == {"acme": [("o1a", "ada", None), ("r1", "ada", "o1a")]}


def _sale_data(order: str) -> dict[str, Any]:
    lines = [{"quantity": 1, "amount": "3.00"}]
    return {"order": order, "currency": "EUR", "lines": lines, "total": "3.00", "settlement": "account"}


async def test_amendments_and_voids_apply_to_refunds_and_to_sales(space: Space) -> None:
    await space.accept([sale("s", "02T09:00", "3.00"), refund("r", "03T09:00"), refund("gone", "03T10:00")])
    amended = {"amount": "2.00", "status": "completed", "sale": {"source": BAR, "order": "other"}}
    await space.accept([
        amend("a", "04T09:00", "r", BAR, amended),
        void("v", "04T09:00", "gone", BAR),
        amend("b", "04T09:00", "s", BAR, _sale_data("other") | {"settlement": "paid", "tip": "1.00"}),
    ])  # fmt: skip
    found = await history(space)
    assert ids(found) == {"walk-in": [("s", None, None), ("r", None, "s")]}
    sold, given_back = found.placed["walk-in"]
    assert sold.event.data["tip"] == "1.00"
    assert given_back.event.data == amended | {"sale": {"source": BAR, "order": "s"}}
    assert await ties(space, "s") == {"r": (["s"], True, "s"), "gone": (["s"], False, "s")}


async def test_a_sale_that_becomes_one_on_account_takes_its_refund_out_of_every_bill(space: Space) -> None:
    await space.accept([sale("s", "02T09:00", "3.00"), refund("r", "03T09:00")])
    await space.accept([amend("a", "04T09:00", "s", BAR, _sale_data("s"))])
    found = await history(space)
    assert (ids(found), [event.id for event, _ in found.unresolved]) == ({}, ["s"])


async def test_of_a_refunds_events_the_latest_counts_whatever_sale_it_names(space: Space) -> None:
    await space.accept([
        sale("s", "02T09:00", "3.00", "badge:ADA1"),
        sale("t", "02T09:00", "3.00", "badge:EFE1"),
        refund("r1", "03T09:00", "s", "pending", refund="r"),
        refund("r2", "03T10:00", "t", "completed", refund="r"),
    ])  # fmt: skip
    expected = {"acme": [("s", "ada", None)], "solo": [("t", "eve", None), ("r2", "eve", "t")]}
    assert ids(await history(space)) == expected
    both = {"r1": (["s"], False, "s"), "r2": (["t"], True, "t")}
    assert await ties(space, "r1") == both
    assert await ties(space, "t") == both
    assert ids(await history(space, "acme")) == {"acme": expected["acme"]}


async def test_a_claim_moves_the_sale_and_its_refund_to_the_member(space: Space) -> None:
    await space.accept([sale("s", "02T09:00", "3.00", "card:9"), refund("r", "03T09:00"), refund("e", "01T09:00")])
    assert ids(await history(space)) == {"walk-in": [("e", None, "s"), ("s", None, None), ("r", None, "s")]}
    await space.apply(CATALOG.replace('["badge:ADA1"]', '["badge:ADA1", "card:9"]'))
    assert ids(await history(space)) == {"acme": [("e", "ada", "s"), ("s", "ada", None), ("r", "ada", "s")]}


async def test_orders_may_be_numbers(space: Space) -> None:
    numbered = event("pos.sale", "s", "02T09:00", "badge:ADA1", BAR, _sale_data("17") | {"order": 17})
    await space.accept([refund("r", "03T09:00", 17), numbered])
    assert ids(await history(space)) == {"acme": [("s", "ada", None), ("r", "ada", "s")]}


async def test_a_held_refund_waits_for_the_clock(space: Space) -> None:
    space.now = parse_instant("2026-03-02T12:00:00Z")
    await space.accept([sale("s", "02T09:00", "3.00", "badge:ADA1"), refund("r", "03T09:00")])
    assert ids(await history(space)) == {"acme": [("s", "ada", None)]}
    assert await ties(space, "s") == {}
