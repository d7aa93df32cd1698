"""Closing over a real database: what it books, once, and what becomes of what comes after."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import generate_latest

from meter.booking import books as books_module
from meter.booking import worker as worker_module
from meter.booking.books import write_books
from meter.export.charge_json import charge_json
from meter.model.directory import SINCE_ALWAYS
from meter.model.period import Period
from meter.rating.statement import section_of
from meter.store.booking import request_refold
from meter.store.closes import Closing, mark_booked
from tests.booking.closes import ACME_APRIL, ACME_FEBRUARY, ACME_MARCH, Closes, at
from tests.booking.space import CATALOG, entry, open_space, pages, sale, void

HALL = "berlin/print/hall"
MARCH, APRIL = Period(*ACME_MARCH[1:]), Period(*ACME_APRIL[1:])
# The oracle's: 10.00 for 25 of February's 28 days, at 20 %.
MINIMUM = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites: {berlin: {name: Berlin, timezone: Europe/Berlin, tax: vat20}}
taxes: {vat20: {rate: "0.20"}}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
plans:
  flex:
    prices:
      print-pages: [{id: mono, model: per_unit, unit_price: "0.08", period_minimum: {amount: "10.00"}}]
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-02-04}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
"""


class Killed(BaseException):
    """The process ends here."""


IN_FEBRUARY = at(pages("1", "01T09:00", 100), "2026-02-10T09:00:00Z")


async def test_what_differs_after_closing_is_an_adjustment_of_the_next_open_period(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        await space.take(pages("1", "02T09:00", 110))
        await closes.close(ACME_MARCH)
        await space.rate()
        await space.take(pages("late", "01T09:00", 40))
        first, *later = await closes.charges()
        assert (first.kind, first.invoice_period, first.corrects) == ("usage", MARCH, None)
        # The late job takes the credit that the first had: one new line, one that falls, one that replaces it.
        assert [(c.line.key.id, c.role, c.corrects) for c in later] == [
            ("late", "original", None),
            ("1", "reversal", first.id),
            ("1", "replacement", first.id),
        ]
        for charge in later:
            assert (charge.kind, charge.line.kind) == ("adjustment", "usage")
            assert (charge.line.period, charge.invoice_period) == (MARCH, APRIL)
            assert charge_json(charge).kind == section_of(charge).rstrip("s") == "adjustment"
        assert await space.rows("SELECT DISTINCT kind FROM charges") == [("usage",)]
        assert b'meter_charges_total{kind="adjustment",meter="print-pages"} 3.0' in generate_latest(
            space.telemetry.registry
        )


async def test_with_two_periods_closed_in_a_row_adjustments_go_behind_both(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        await space.take(pages("1", "02T09:00", 110))
        assert await closes.close(ACME_MARCH)
        assert await closes.close(ACME_APRIL)
        assert not await closes.close(ACME_APRIL)
        await space.rate()
        assert await closes.closed() == [(ACME_MARCH.start, True), (ACME_APRIL.start, True)]
        await space.take(pages("late", "03T09:00", 20))
        (late,) = [charge for charge in await closes.charges() if charge.line.key.id == "late"]
        assert late.line.period == MARCH
        assert late.invoice_period.start == ACME_APRIL.end


async def test_the_first_open_period_takes_it_also_where_a_later_one_is_closed(database_url: str) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        await space.take(pages("1", "02T09:00", 110))
        await closes.close(ACME_FEBRUARY)
        await closes.close(ACME_APRIL)
        await space.rate()
        await space.take(at(pages("late", "01T09:00", 20), "2026-02-10T09:00:00Z"), pages("2", "04T09:00", 1))
        found = {c.line.key.id: c for c in await closes.charges() if c.role == "original"}
        assert (found["late"].kind, found["late"].invoice_period) == ("adjustment", MARCH)
        assert (found["2"].kind, found["2"].invoice_period) == ("usage", MARCH)


async def test_a_minimum_is_trued_up_once_when_its_period_closes(database_url: str) -> None:
    async with open_space(database_url, MINIMUM) as space:
        closes = await Closes.of(space)
        await space.take(IN_FEBRUARY)
        assert [charge.line.kind for charge in await closes.charges()] == ["usage"]
        assert await closes.close(ACME_FEBRUARY)
        await space.rate()
        # Whatever makes the account fold again, after a restart or not, it stays at that.
        assert not await closes.close(ACME_FEBRUARY)
        space.new_worker()
        await space.take(pages("2", "02T09:00", 1))
        usage, minimum, _ = await closes.charges()
        assert (minimum.kind, minimum.rounded) == ("minimum", Decimal("0.93"))
        assert (minimum.line.period, minimum.invoice_period) == (usage.line.period, usage.line.period)
        total = sum(charge.rounded + charge.tax_amount for charge in (usage, minimum))
        assert total == Decimal("10.72")


async def test_a_true_up_follows_what_comes_after_closing(database_url: str) -> None:
    async with open_space(database_url, MINIMUM) as space:
        closes = await Closes.of(space)
        await space.take(IN_FEBRUARY)
        await closes.close(ACME_FEBRUARY)
        await space.rate()
        await space.take(at(pages("late", "01T09:00", 5), "2026-02-11T09:00:00Z"))
        later = (await closes.charges())[2:]
        assert [(c.line.kind, c.kind, c.role, c.line.amount) for c in later] == [
            ("usage", "adjustment", "original", Decimal("0.4")),
            ("minimum", "adjustment", "reversal", Decimal("-0.928571428571")),
            ("minimum", "adjustment", "replacement", Decimal("0.528571428571")),
        ]
        assert sum(c.rounded for c in await closes.charges()) == Decimal("8.93")


async def test_a_period_that_is_closed_while_it_runs_is_trued_up_at_its_end_as_an_adjustment(database_url: str) -> None:
    async with open_space(database_url, MINIMUM) as space:
        closes = await Closes.of(space)
        space.now = ACME_FEBRUARY.end - timedelta(days=10)
        await space.take(IN_FEBRUARY)
        await closes.close(ACME_FEBRUARY)
        await space.rate()
        assert [charge.kind for charge in await closes.charges()] == ["usage"]
        space.now = ACME_FEBRUARY.end
        await space.rate()
        _, minimum = await closes.charges()
        assert (minimum.kind, minimum.line.kind, minimum.rounded) == ("adjustment", "minimum", Decimal("0.93"))
        assert minimum.invoice_period == MARCH


async def test_a_period_closed_while_a_late_event_is_rated_knows_the_event(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_space(database_url) as space:
        closes = await Closes.of(space)
        await space.take(pages("1", "02T09:00", 110))
        await space.accept([pages("late", "03T09:00", 40)])
        writing, go_on = asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any, **named: Any) -> None:
            await write_books(*arguments, **named)
            writing.set()
            await go_on.wait()

        monkeypatch.setattr(worker_module, "write_books", slow)
        rating = asyncio.create_task(space.worker.step())
        await writing.wait()
        closing = asyncio.create_task(closes.close(ACME_MARCH))
        async with asyncio.timeout(30):
            while not await space.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 -- the database waits
                await asyncio.sleep(0.01)
        assert not closing.done()
        go_on.set()
        await asyncio.wait([rating, closing])
        assert await closing
        await space.rate()
        await space.take(pages("later", "04T09:00", 40))
        kinds = {c.line.key.id: (c.kind, c.invoice_period) for c in await closes.charges()}
        assert kinds == {"1": ("usage", MARCH), "late": ("usage", MARCH), "later": ("adjustment", APRIL)}


async def test_whoever_goes_on_after_a_kill_between_close_and_fold_books_the_same(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_space(database_url, MINIMUM) as space:
        closes = await Closes.of(space)
        await space.take(IN_FEBRUARY)
        await closes.close(ACME_FEBRUARY)

        async def killed(*_arguments: Any) -> None:
            raise Killed

        monkeypatch.setattr(books_module, "mark_booked", killed)
        with pytest.raises(Killed):
            await space.rate()
        assert await closes.closed() == [(ACME_FEBRUARY.start, False)]
        assert [charge.kind for charge in await closes.charges()] == ["usage"]
        monkeypatch.setattr(books_module, "mark_booked", mark_booked)
        # What arrives meanwhile is of the period still: what closing makes due is not booked before it.
        await space.accept([at(pages("late", "01T09:00", 5), "2026-02-11T09:00:00Z")])
        space.new_worker()
        await space.rate()
        assert await closes.closed() == [(ACME_FEBRUARY.start, True)]
        assert [(c.kind, c.line.amount) for c in await closes.charges()] == [
            ("usage", Decimal(8)),
            ("usage", Decimal("0.4")),
            ("minimum", Decimal("0.528571428571")),
        ]


def _months(seed: int) -> list[bytes]:
    """Events of three months, some of which change what others come to."""
    dice = random.Random(seed)  # noqa: S311 -- the same months for the same seed
    found: list[bytes] = []
    for n in range(90):
        time = (
            f"2026-0{dice.randint(2, 4)}-{dice.randint(1, 28):02}T{dice.randint(6, 20):02}:{dice.randint(0, 59):02}:00Z"
        )
        subject = dice.choice(["badge:ADA1", "badge:B0B1"])
        body = dice.choice(
            [
                pages(f"p{n}", "01T09:00", dice.randint(1, 60), subject),
                entry(f"d{n}", "01T09:00", subject),
                sale(f"s{n}", "01T09:00", f"{dice.randint(1, 20)}.00", subject, dice.choice(["paid", "account"])),
                void(f"v{n}", "01T09:00", f"p{dice.randint(0, n)}", HALL),
            ]
        )
        found.append(at(body, time))
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_service_periods_come_to_the_same_whenever_they_were_closed(database_url: str, seed: int) -> None:
    """All events first and then the closes, against: in any order, by workers that forget everything."""
    catalog = CATALOG.replace('unit_price: "25.00"', 'unit_price: "25.00", period_minimum: {amount: "400.00"}')
    events = _months(seed)
    async with open_space(database_url, catalog) as space:
        closes = await Closes.of(space)
        await space.take(*events)
        for period in (ACME_FEBRUARY, ACME_MARCH, ACME_APRIL):
            await closes.close(period)
        await space.rate()
        expected = await space.books()
        assert {charge.kind for charge in await closes.charges(account="acme")} >= {"usage", "minimum"}
        await closes.begin_anew()

        dice = random.Random(seed)  # noqa: S311 -- the same story for the same seed
        story: list[bytes | Closing] = [*events]
        dice.shuffle(story)
        for period in (ACME_FEBRUARY, ACME_MARCH, ACME_APRIL):
            story.insert(dice.randint(0, len(story) - 1), period)
        for part in story:
            if isinstance(part, Closing):
                await closes.close(part)
            else:
                await space.accept([part])
            if dice.random() < 0.3:
                await space.rate()
            if dice.random() < 0.1:
                space.new_worker()
        await space.rate()
        assert "adjustment" in {charge.kind for charge in await closes.charges()}
        assert await space.books() == expected


ROLLING = CATALOG.replace(
    "every: month, for: account}]", "every: month, for: account, rollover: {max: 30, periods: 1}}]"
)


async def test_what_rolls_over_carries_a_late_event_through_closed_periods(database_url: str) -> None:
    """40 pages in February are 30 of January and 10 of its own: 30 go on, and March has 130. Then come 80 more."""
    async with open_space(database_url, ROLLING) as space:
        closes = await Closes.of(space)
        february = at(pages("feb", "01T09:00", 40), "2026-02-10T09:00:00Z")
        april = at(pages("apr", "01T09:00", 10), "2026-04-10T09:00:00Z")
        await space.take(february, pages("mar", "10T09:00", 130), april)
        for closing in (ACME_FEBRUARY, ACME_MARCH):
            await closes.close(closing)
            await space.rate()
        booked = len(await closes.charges())
        await space.take(at(pages("late", "01T09:00", 80), "2026-02-20T09:00:00Z"))
        later = (await closes.charges())[booked:]
        assert [(c.line.key.id, c.role, c.line.period) for c in later] == [
            ("late", "original", Period(*ACME_FEBRUARY[1:])),
            ("mar", "reversal", MARCH),
            ("mar", "replacement", MARCH),
        ]
        # 10 are left of February now.
        assert [c.line.covered for c in later] == [80, -130, 110]
        assert [c.line.billable for c in later] == [0, 0, 20]
        assert {(c.kind, c.invoice_period) for c in later} == {("adjustment", APRIL)}
        async with space.database.begin() as connection:
            await request_refold(connection, "northside", account="acme", since=SINCE_ALWAYS, reason="test")
        await space.rate()
        assert len(await closes.charges()) == booked + 3
