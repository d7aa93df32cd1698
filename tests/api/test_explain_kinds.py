"""Every kind of charge explained over a real gateway: booked, corrected and billed late, and it adds up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest_asyncio
from sqlalchemy import text

from meter.api.explain_json import ExplanationJson
from tests.api.conftest import Gateway, serving, the_services
from tests.booking.closes import ACME_MARCH, Closes
from tests.booking.space import amend, event, open_space, pages, void
from tests.rating.arithmetic import adds_up

RICH = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat19, walk_in: walk-in, closes: "22:00"}
taxes:
  vat19: {rate: "0.19"}
  low: {rate: "0.07", inclusive: true}
credits: {rates: {print-pages: [{rate: "0.5"}]}}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
  presence: {event: door.access, aggregate: duration, unit: hour, start: {direction: in}, end: {direction: out},
             max: 14h, missing_end: close_at, increment: 15m, minimum: 30m}
  days: {event: door.access, where: {direction: in}, aggregate: unique_days, unit: day}
  power: {event: power.read, aggregate: counter, value: wh, unit: kWh, scale: "0.001"}
  seats: {event: seats.seen, aggregate: max, value: n, unit: seat}
  cafe: {event: pos.sale, aggregate: sum, value: lines.amount, unit: EUR}
plans:
  flex:
    name: Flex
    fee: {amount: "210.00", tax: vat19}
    grants:
      - {id: credits, unit: credit, amount: "20", meters: [print-pages], rollover: {max: "10"}}
      - {id: hours, unit: hour, amount: "3", meters: [presence]}
      - {id: cash, unit: EUR, amount: "4.00", meters: [cafe]}
    prices:
      print-pages:
        - {id: mono, model: graduated, flat_at_zero: true,
           tiers: [{up_to: 50, unit_price: "0.053", flat: "2"}, {unit_price: "0.041"}]}
      presence:
        - {id: evening, model: per_unit, unit_price: "1.10", when: {hours: "18:00-24:00"}, tax: low}
        - {id: day, model: package, size: 1, price: "3.00", cap: {amount: "8.00", every: day}}
      days: [{id: once, model: flat, amount: "1.005"}]
      power:
        - {id: kwh, model: volume, tiers: [{up_to: 10, unit_price: "0.40"}, {unit_price: "0.30"}],
           period_minimum: {amount: "9.99"}}
      seats: [{id: seat, model: percentage, field: n, rate: "0.5", minimum: "2"}]
      cafe: [{id: cafe, model: pass_through, markup: "0.1"}]
accounts:
  walk-in: {name: Guests}
  acme:
    name: ACME
    subscriptions:
      - {id: acme-flex, plan: flex, from: 2026-02-10, to: 2026-04-16, seats: 2, deposit: "200.00",
         discounts: [{id: tenth, rate: "0.1"}, {id: five, amount: "5", on: [fees]}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
grants:
  - {id: pack, account: acme, unit: page, amount: "30", effective: 2026-03-05, expires: 2026-03-20,
     bought: {price: "3.00", tax: vat19}}
"""
BAR = "berlin/pos/bar"


@asynccontextmanager
async def _gateway(database_url: str, catalog: str) -> AsyncIterator[Gateway]:
    async with (
        open_space(database_url, catalog) as space,
        serving(the_services(database_url, clock=lambda: space.now)) as served,
    ):
        yield Gateway(space=space, api=served)


@pytest_asyncio.fixture
async def rich(database_url: str) -> AsyncIterator[Gateway]:
    async with _gateway(database_url, RICH) as found:
        yield found


def door(event_id: str, time: str, direction: str) -> bytes:
    data = {"door": "main", "granted": True, "direction": direction}
    return event("door.access", event_id, time, "badge:ADA1", "berlin/door", data)


def sold(order: str, time: str, settlement: str) -> bytes:
    soup = {"quantity": 1, "amount": "6.00", "sku": "soup", "tax": "1.14"}
    lines = [soup, {"quantity": 2, "amount": "3.50", "sku": "tea", "tax": "0.66"}]
    data = {
        "order": order,
        "currency": "EUR",
        "lines": lines,
        "total": "12.80",
        "tip": "1.50",
        "settlement": settlement,
    }
    return event("pos.sale", order, time, "badge:ADA1", BAR, data)


def returned(refund: str, time: str, order: str, amount: str) -> bytes:
    of = {"source": BAR, "order": order}
    data = {"refund": refund, "sale": of, "currency": "EUR", "status": "completed", "amount": amount}
    return event("pos.refund", refund, time, None, BAR, data)


MARCH = [
    pages("p1", "02T09:00", 60),
    pages("p2", "06T09:00", 80),
    pages("p3", "07T09:00", 90),
    door("in-1", "02T08:00", "in"),
    door("out-1", "02T13:20", "out"),
    door("in-2", "03T08:00", "in"),
    door("in-3", "03T18:00", "in"),
    event("power.read", "w1", "02T08:00", "badge:ADA1", "berlin/power", {"wh": 1000}),
    event("power.read", "w2", "04T08:00", "badge:ADA1", "berlin/power", {"wh": 9000}),
    event("power.read", "w3", "05T08:00", "badge:ADA1", "berlin/power", {"wh": 13000}),
    event("seats.seen", "n1", "04T08:00", "badge:ADA1", "berlin/seats", {"n": 3}),
    event("seats.seen", "n2", "05T08:00", "badge:ADA1", "berlin/seats", {"n": 7}),
    sold("o1", "03T12:00", "account"),
    sold("o2", "03T13:00", "paid"),
    returned("r1", "04T12:00", "o1", "6.40"),
    returned("r2", "04T12:00", "o2", "3.00"),
    returned("r3", "29T12:00", "o1", "6.40"),
]


async def _told(gateway: Gateway) -> list[dict[str, Any]]:
    charges = await gateway.charges()
    answers = [await gateway.api.get(f"/v1/charges/{charge['id']}/explain") for charge in charges]
    assert {answer.status for answer in answers} == {200}
    told: list[dict[str, Any]] = [answer.json for answer in answers]
    # The document says what is served, no more and no less.
    assert [msgspec.to_builtins(msgspec.convert(one, ExplanationJson)) for one in told] == told
    return told


async def test_every_charge_of_a_month_adds_up_whatever_came_late(rich: Gateway) -> None:
    space, closes = rich.space, Closes(rich.space)
    space.now = datetime(2026, 4, 20, tzinfo=UTC)
    await space.take(*MARCH)
    await closes.close(ACME_MARCH)
    await closes.sweep()
    await space.take(
        door("out-2", "03T15:10", "out"),
        void("v", "09T08:00", "p1", "berlin/print/hall"),
        amend("a", "09T08:00", "w2", "berlin/power", {"wh": 8000}),
    )
    told = await _told(rich)
    for one in told:
        assert one["recomputed"]["agrees"], one["text"]
        assert one["arithmetic_of"] == "recomputed" or adds_up(one)
    stands = [one for one in told if one["arithmetic_of"] == "charge"]
    assert {one["kind"] for one in told} == {"usage", "fee", "minimum", "refund", "adjustment"}
    assert {one["measured"]["aggregate"] for one in stands if one["measured"]} >= {
        "sum",
        "duration",
        "unique_days",
        "counter",
        "max",
    }
    assert {one["price"]["model"] for one in stands if one["price"]} >= {
        "graduated",
        "per_unit",
        "package",
        "volume",
        "flat",
        "percentage",
        "pass_through",
    }
    assert {one["due"]["what"] for one in stands if one["due"]} == {
        "fee",
        "unused",
        "deposit",
        "deposit_returned",
        "purchase",
        "first_flat",
        "minimum",
    }
    assert {one["refund"]["sale"]["settlement"] for one in stands if one["refund"]} == {"account", "paid"}
    assert {row["kind"] for one in stands for row in one["reductions"]} == {"day_cap", "discount"}
    assert {row["origin"] for one in stands for row in one["grants"]} == {"plan", "rollover", "bought"}


async def test_a_fee_that_is_due_because_of_a_later_event(database_url: str) -> None:
    """A subscription without a start pays from the period of the account's first event on."""
    undated = RICH.replace("from: 2026-02-10, to: 2026-04-16,", "").replace('deposit: "200.00",', "")
    async with _gateway(database_url, undated.partition("grants:\n  - {id: pack")[0]) as gateway:
        await gateway.space.take(pages("p1", "20T09:00", 60))
        fees = [one for one in await _told(gateway) if one["due"] and one["due"]["what"] == "fee"]
    assert fees[0]["period"]["start"] == "2026-02-28T23:00:00Z"
    assert all(fee["recomputed"]["agrees"] for fee in fees)


async def test_neither_checkpoints_nor_a_later_clock_change_the_words(rich: Gateway) -> None:
    space = rich.space
    space.now = datetime(2026, 4, 20, tzinfo=UTC)
    await space.take(*MARCH)
    told = await _told(rich)
    async with rich.api.db.begin() as conn:
        await conn.execute(text("DELETE FROM checkpoints"))
    assert await _told(rich) == told
