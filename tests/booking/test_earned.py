"""Fees are earned with their days: by the sweep as they end, at once where they are over, whoever sweeps."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from meter.booking.earner import DEFERRALS_MAX, Earner
from meter.store.journal import EntryFilter, entries_after, trial_balance
from meter.store.usage import BEGINNING
from tests.booking.closes import ACME_MARCH, Closes
from tests.booking.journals import at, balances, entries, new_earner, nonzero, told, until
from tests.booking.space import Space, open_space, pages
from tests.owning import as_owner

FEES = """
operator: northside
currency: EUR
timezone: Europe/Berlin
sites:
  berlin: {name: Berlin, timezone: Europe/Berlin}
meters:
  print-pages: {event: print.job, where: {status: completed}, aggregate: sum, value: impressions, unit: page}
plans:
  flex: {name: Flex, fee: {amount: "199.00"}, prices: {print-pages: [{id: mono, model: per_unit, unit_price: "0.05"}]}}
  big: {name: Big, fee: {amount: "300.00"}, prices: {print-pages: [{id: mono, model: per_unit, unit_price: "0.04"}]}}
accounts:
  acme: {name: ACME, subscriptions: [{id: acme-flex, plan: flex, from: 2026-03-01, to: 2026-04-01, seats: 1}]}
members:
  ada: {account: acme, name: Ada, identities: ["badge:ADA1"]}
"""
MARCH = [date(2026, 3, 1) + timedelta(days=n) for n in range(31)]


async def by_day(space: Space, account: str = "income:membership") -> dict[date, Decimal]:
    """What a ledger account got on each day."""
    sums: dict[date, Decimal] = {}
    for entry in await entries(space):
        for posting in entry.postings:
            if posting.account == account:
                sums[entry.day] = sums.get(entry.day, Decimal(0)) - posting.amount
    return {day: amount for day, amount in sorted(sums.items()) if amount}


async def test_each_day_earns_its_part_when_it_has_ended(database_url: str) -> None:
    async with open_space(database_url, FEES) as space:
        # In Berlin, an hour ahead, it is March already.
        await until(space, "2026-02-28T23:30")
        assert await told(space) == [
            ("2026-03-01", "charge", {"assets:receivable": "199.00", "liabilities:deferred": "-199.00"})
        ]
        await until(space, "2026-03-01T22:59")
        assert await by_day(space) == {}
        await until(space, "2026-03-01T23:00")
        assert (await told(space))[1:] == [
            ("2026-03-01", "earned", {"liabilities:deferred": "6.42", "income:membership": "-6.42"})
        ]
        await until(space, "2026-03-20T12:00")
        assert list(await by_day(space)) == MARCH[:19]
        await until(space, "2026-04-20T12:00")
        earned = await by_day(space)
        assert list(earned) == MARCH
        assert sum(earned.values()) == Decimal("199.00")
        assert set(earned.values()) == {Decimal("6.42"), Decimal("6.41")}
        assert "liabilities:deferred" not in await balances(space)


async def test_days_that_are_over_are_entered_with_the_booking(database_url: str) -> None:
    async with open_space(database_url, FEES) as at_once:
        await at_once.take(pages("p1", "02T10:00", 1))
        in_one = await told(at_once)
        ids = {entry.id for entry in await entries(at_once)}
        await at_once.forget()
        await until(at_once, "2026-02-28T23:30")
        for day in MARCH:
            await until(at_once, f"{day}T23:30")
        await at_once.take(pages("p1", "02T10:00", 1))
        assert await told(at_once) == in_one
        assert {entry.id for entry in await entries(at_once)} == ids


async def test_at_once_earns_a_fee_when_it_is_booked(database_url: str) -> None:
    async with open_space(database_url, FEES + "ledger: {recognition: at_once}\n") as space:
        await until(space, "2026-06-01T00:00")
        assert await told(space) == [
            ("2026-03-01", "charge", {"assets:receivable": "199.00", "income:membership": "-199.00"})
        ]


CHANGE = FEES.replace(
    "to: 2026-04-01, seats: 1}",
    "to: 2026-03-17, seats: 1}, {id: acme-big, plan: big, from: 2026-03-17, to: 2026-04-01}",
)


async def test_a_fee_that_is_credited_in_mid_month_nets_to_nothing_per_day_after(database_url: str) -> None:
    """Within the cent of either rounding each day, and to the cent in all."""
    async with open_space(database_url, FEES) as space:
        await until(space, "2026-03-05T12:00")
        await space.apply(CHANGE)
        await until(space, "2026-04-02T12:00")
        fee: dict[date, Decimal] = {}
        for entry in await entries(space):
            if entry.kind == "earned" and "acme-flex" in await _line_of(space, entry.dimensions["charge"]):
                fee[entry.day] = fee.get(entry.day, Decimal(0)) - entry.postings[1].amount
        after: list[Decimal] = [fee.get(day, Decimal(0)) for day in MARCH[16:]]
        assert max([abs(amount) for amount in after]) <= Decimal("0.01")
        assert abs(sum(after, Decimal(0))) <= Decimal("0.01")
        sums = await balances(space)
        assert "liabilities:deferred" not in sums
        assert sums["income:membership"] == -sums["assets:receivable"]
        [[billed]] = await space.rows("SELECT sum(rounded) FROM charges")
        assert sums["assets:receivable"] == billed


async def _line_of(space: Space, charge: str) -> str:
    [[event_id]] = await space.rows(f"SELECT event_id FROM charges WHERE id = '{charge}'")  # noqa: S608 -- a test's
    assert isinstance(event_id, str)
    return event_id


async def test_a_correction_moves_what_days_that_are_over_have_earned(database_url: str) -> None:
    """Two seats since the first: each day that is over gets the difference, the others double."""
    async with open_space(database_url, FEES) as space:
        await until(space, "2026-03-05T12:00")
        await space.apply(FEES.replace("seats: 1", "seats: 2"))
        await space.rate()
        await until(space, "2026-04-02T12:00")
        earned = await by_day(space)
        assert list(earned) == MARCH
        assert sum(earned.values()) == Decimal("398.00")
        assert set(earned.values()) <= {Decimal("12.83"), Decimal("12.84"), Decimal("12.85")}
        # Reversal and replacement of one line: one entry a day.
        assert sum(entry.kind == "earned" for entry in await entries(space)) == 4 + len(MARCH)


async def test_what_is_about_a_locked_day_is_entered_today(database_url: str) -> None:
    async with open_space(database_url, FEES + "ledger: {locked: 2026-03-10}\n") as space:
        space.now = at("2026-03-15T12:00")
        await space.take(pages("p1", "02T10:00", 100), pages("p2", "12T10:00", 100))
        today = ("2026-03-15", "earned", {"liabilities:deferred": "64.19", "income:membership": "-64.19"})
        found = await told(space)
        assert today in found
        days = {day for day, _, _ in found}
        assert days == {"2026-03-11", "2026-03-12", "2026-03-13", "2026-03-14", "2026-03-15"}
        assert sum(kind == "charge" for day, kind, _ in found if day == "2026-03-15") == 2, "the fee and p1"


async def test_what_adjusts_a_closed_period_is_entered_today(database_url: str) -> None:
    async with open_space(database_url, FEES) as space:
        await until(space, "2026-04-05T12:00")
        closes = Closes(space)
        assert await closes.close(ACME_MARCH)
        await space.rate()
        before = await told(space)
        space.now = at("2026-04-07T12:00")
        await space.take(pages("late", "20T10:00", 40))
        fresh = [one for one in await told(space) if one not in before]
        assert fresh == [("2026-04-07", "charge", {"assets:receivable": "2.00", "income:print-pages": "-2.00"})]


async def test_late_usage_of_yesterday_is_yesterdays_revenue(database_url: str) -> None:
    async with open_space(database_url, FEES) as space:
        space.now = at("2026-03-03T09:00")
        # Late in the evening of the second in UTC, and the third in Berlin.
        await space.take(pages("p1", "02T10:00", 20), pages("p2", "02T23:30", 20))
        assert await by_day(space, "income:print-pages") == {
            date(2026, 3, 2): Decimal(1),
            date(2026, 3, 3): Decimal(1),
        }


async def test_any_number_of_processes_enter_each_day_once(database_url: str) -> None:
    """More schedules than one transaction takes, and sweeps that die."""
    members = "".join(f"  a{n}: {{account: a{n}, name: A{n}}}\n" for n in range(DEFERRALS_MAX + 50))
    accounts = "".join(
        f"  a{n}: {{name: A{n}, subscriptions: [{{id: s{n}, plan: flex, from: 2026-03-01, to: 2026-03-03}}]}}\n"
        for n in range(DEFERRALS_MAX + 50)
    )
    catalog = FEES.split("accounts:", maxsplit=1)[0] + f"accounts:\n{accounts}members:\n{members}"
    async with open_space(database_url, catalog) as space:
        space.now = at("2026-03-01T10:00")
        await space.rate()
        space.now = at("2026-04-03T10:00")

        async def sweep(earner: Earner) -> None:
            while await earner.step():
                pass

        await asyncio.gather(*[sweep(new_earner(space)) for _ in range(4)])
        while await new_earner(space).step():
            pass
        earned = await by_day(space)
        days = DEFERRALS_MAX + 50
        assert earned[MARCH[0]] == Decimal("6.42") * days
        [[left]] = await space.rows("SELECT count(*) FROM deferrals WHERE next_day < end_day")
        assert left == 0
        assert sum(entry.kind == "earned" for entry in await entries(space)) == days * 31
        sums = await balances(space)
        # Two days are paid for, and what was charged for the others came back.
        assert "liabilities:deferred" not in sums
        assert sums["income:membership"] == -sums["assets:receivable"]


async def test_after_a_standstill_days_are_entered_a_few_at_a_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = (
        "  late: {name: Late, subscriptions: [{id: late-big, plan: big, from: 2026-03-20, to: 2026-04-01}]}\nmembers:"
    )
    monkeypatch.setattr("meter.booking.earner.ENTRIES_MAX", 6)
    async with open_space(database_url, FEES.replace("members:", late)) as space:
        await until(space, "2026-03-02T12:00")
        space.now = at("2026-03-20T12:00")
        await space.rate()
        space.now = at("2026-03-25T12:00")
        earner = new_earner(space)
        reached = []
        while await earner.step():
            reached.append(max(await by_day(space)).day)
        # Both wait, of which one three weeks; the other has nothing to enter before the twentieth.
        assert reached == [4, 7, 10, 13, 16, 19, 22, 24]
        earned = await by_day(space)
        assert list(earned) == MARCH[:24]
        assert earned[MARCH[19]] == Decimal("6.42") + Decimal("9.68")


async def test_a_line_of_which_another_process_holds_a_part_is_left_to_it(database_url: str) -> None:
    async with open_space(database_url, FEES) as space:
        await until(space, "2026-03-05T12:00")
        await space.apply(FEES.replace("seats: 1", "seats: 2"))
        await space.rate()
        before = await told(space)
        space.now = at("2026-03-06T12:00")
        async with space.database.begin() as other:
            held = await other.execute(text("SELECT charge FROM deferrals ORDER BY charge LIMIT 1 FOR UPDATE"))
            assert len(held.all()) == 1
            assert not await new_earner(space).step()
            assert await told(space) == before
        await until(space, "2026-03-06T12:00")
        [(day, kind, postings)] = [one for one in await told(space) if one not in before]
        assert (day, kind, postings["income:membership"]) == ("2026-03-05", "earned", "-12.84")


async def test_a_sweep_waits_for_midnight(database_url: str) -> None:
    async with open_space(database_url, FEES) as space:
        await until(space, "2026-03-01T10:00")
        earner = Earner(
            space.worker,
            database=space.database,
            operator="northside",
            telemetry=space.telemetry,
            clock=lambda: space.now,
            interval_s=3600.0,
        )
        assert not await earner.step()
        async with as_owner(space.database) as connection:
            # Were it to look now, it would find this.
            await connection.execute(text("UPDATE deferrals SET first_day = '2026-02-20', next_day = '2026-02-20'"))
        assert not await earner.step()
        space.now = at("2026-03-01T23:00")
        assert await earner.step()
        assert not await earner.step()


async def test_a_day_is_entered_whole_or_not_at_all(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_space(database_url, FEES) as space:
        await until(space, "2026-03-01T10:00")
        space.now = at("2026-03-09T10:00")

        async def dies(*_arguments: object, **_more: object) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as patched:
            patched.setattr("meter.booking.earner.move_on", dies)
            with pytest.raises(RuntimeError):
                await new_earner(space).step()
        assert await by_day(space) == {}
        await until(space, "2026-03-09T10:00")
        assert list(await by_day(space)) == MARCH[:8]


async def test_the_cursor_passes_over_no_entry_and_the_trial_balance_is_the_postings(database_url: str) -> None:
    async with open_space(database_url, FEES) as space:
        await until(space, "2026-03-20T12:00")
        whole = await entries(space)
        read, cursor, more = [], BEGINNING, True
        while more:
            async with space.database.begin() as connection:
                page = await entries_after(connection, "northside", cursor, entries_max=7)
            read += [entry for entry, _ in page.entries]
            cursor, more = page.next, page.more
        assert read == whole
        async with space.database.begin() as connection:
            found = {one.ledger_account: one.amount for one in await trial_balance(connection, "northside")}
            early = await trial_balance(connection, "northside", until=date(2026, 3, 4))
        assert found == await balances(space)
        assert {one.ledger_account: one.amount for one in early} == await balances(space, before=date(2026, 3, 5))
        assert len(await entries(space, EntryFilter(ledger_account="income"))) == 19
        assert await entries(space, EntryFilter(ledger_account="inc")) == []
        [first] = await entries(space, EntryFilter(since=date(2026, 3, 7), until=date(2026, 3, 7)))
        assert first.narration == "membership earned 2026-03-07"
        assert nonzero({}) == {}
