"""The days that customers read on invoices: those of their own periods, both included, whatever the operator's zone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from meter.export.gather.days import DayGrain, Days
from meter.export.gather.documents import Documents
from meter.export.gather.invoicing import Codes
from meter.export.gather.lines import Lines
from meter.export.gather.shape import Known
from meter.export.gather.spans import GRACE, Grain
from meter.export.payload import DayJournal, Invoice, InvoiceLine, LineItem, frozen, thawed
from meter.model.catalog import Plan
from meter.model.charge import Charge
from meter.model.directory import Account
from meter.model.instant import local_date
from meter.model.journal import JournalEntry, Posting
from meter.model.period import Period, Replaced, Terms
from tests.booked import a_charge, a_fee, a_line
from tests.export.gathering import CATALOG, Desk, account, customers, in_zone, known

FAR = datetime(2040, 1, 1, tzinfo=UTC)
BERLIN, AUCKLAND, HONOLULU = "Europe/Berlin", "Pacific/Auckland", "Pacific/Honolulu"
ACME = in_zone(BERLIN, account(stripe="cus_1"))
FLEX = Plan(id="flex-10", name="Flex 10")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def facts(holder: Account = ACME, *, timezone: str = BERLIN, now: datetime = FAR) -> Known:
    return known(holder, now=now, catalog=replace(CATALOG, timezone=timezone, plans={FLEX.id: FLEX}))


def used(holder: Account, time: datetime, **changes: Any) -> Charge:
    """Usage of an account, in its own billing period."""
    period = holder.periods.at(time)
    charge = a_charge(a_line(period=period), invoice_period=period)
    return replace(charge, line=with_(charge.line, key=charge.line.key._replace(time=time), **changes))


def fee(holder: Account, time: datetime, *, of: datetime | None = None, **changes: Any) -> Charge:
    """What falls due at `time` without an event, in the period that holds `of`."""
    period = holder.periods.at(of or time)
    charge = a_fee(invoice_period=period)
    key = charge.line.key._replace(time=time, meter=changes.get("meter", charge.line.meter))
    return replace(charge, line=with_(charge.line, key=key, period=period, **changes))


def invoiced(known_: Known, *charges: Charge, grain: Grain = "period") -> list[Invoice]:
    shape = Documents(target="books", customers=customers("books", "stripe"), grain=grain, codes=Codes())
    desk = Desk(shape)
    desk.put(charges, known_)
    closed = [(one.line.account, one.invoice_period.start) for one in charges]
    return [thawed("invoice", frozen(one.content)) for one in desk.due(known_, closed=closed)]  # type: ignore[misc]


def lined(known_: Known, *charges: Charge, grain: Grain = "day") -> list[InvoiceLine]:
    shape = Lines(target="stripe", customers=customers(), grain=grain, codes=Codes(), replaces=True, notices=False)
    desk = Desk(shape)
    drafts = [*desk.put(charges, known_), *desk.due(known_)]
    return [draft.content.line for draft in drafts if isinstance(draft.content, LineItem)]


# --- periods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operators", [BERLIN, AUCKLAND, HONOLULU])
def test_november_in_berlin_is_told_as_november(operators: str) -> None:
    [invoice] = invoiced(facts(timezone=operators), used(ACME, utc("2026-11-10T12:00")))
    assert str(invoice.days) == str(invoice.lines[0].days) == "2026-11-01 to 2026-11-30"
    assert (invoice.start, invoice.end) == (utc("2026-10-31T23:00"), utc("2026-11-30T23:00"))
    assert (invoice.issued, invoice.number[:9]) == (date(2026, 11, 30), "20261130-")


@given(
    st.sampled_from([BERLIN, AUCKLAND, HONOLULU, "America/Havana", "Asia/Kathmandu", "UTC"]),
    st.sampled_from([BERLIN, AUCKLAND, HONOLULU]),
    st.integers(1, 31),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(lambda one: one.replace(tzinfo=UTC)),  # noqa: DTZ001 -- zoned by the map
)
def test_the_days_told_are_the_accounts_and_follow_each_other(
    timezone: str, operators: str, anchor: int, time: datetime
) -> None:
    holder = in_zone(timezone, account(stripe="cus_1"), anchor_day=anchor)
    period = holder.periods.at(time)
    known_ = facts(holder, timezone=operators)
    invoices = invoiced(known_, used(holder, time), used(holder, period.end))
    before, after = sorted(invoices, key=lambda one: one.start)
    for invoice in (before, after):
        first, last = invoice.days
        assert first == local_date(invoice.start, timezone)
        assert last == local_date(invoice.end - timedelta(microseconds=1), timezone)
        assert invoice.lines[0].days == invoice.days
        assert invoice.issued == last
        assert invoice.number.startswith(f"{last:%Y%m%d}-")
    assert after.days.first - before.days.last == timedelta(days=1)
    [line] = lined(known_, used(holder, time))
    day = local_date(time, timezone)
    assert (line.days, line.day) == ((day, day), day)
    assert before.days.first <= day <= before.days.last
    assert line.start <= time < line.end


def test_a_change_of_zone_leaves_the_numbers_and_days_of_before_as_they_were() -> None:
    moved = replace(in_zone(AUCKLAND, ACME), replaced=(Replaced(Terms("EUR", BERLIN), "2026-12"),))
    november, december = utc("2026-11-10T12:00"), utc("2026-12-10T12:00")
    [before] = invoiced(facts(ACME), used(ACME, november))
    again, next_one = sorted(
        invoiced(facts(moved), used(moved, november), used(moved, december)), key=lambda one: one.start
    )
    assert (again.number, again.days, again.issued) == (before.number, before.days, before.issued)
    assert str(next_one.days) == "2026-12-01 to 2026-12-31"
    # The first hours of December in Berlin are its second day's in Auckland, and nobody's November.
    assert [line.day for line in lined(facts(moved), used(moved, utc("2026-11-30T23:30")))] == [date(2026, 12, 1)]


def test_what_is_given_back_names_the_invoice_of_then() -> None:
    moved = replace(in_zone(AUCKLAND, ACME), replaced=(Replaced(Terms("EUR", BERLIN), "2026-12"),))
    [november] = invoiced(facts(ACME), used(ACME, utc("2026-11-10T12:00")))
    late = replace(
        used(moved, utc("2026-11-10T12:00")),
        invoice_period=moved.periods.named("2026-12"),
        rounded=Decimal(-3),
    )
    [december] = invoiced(facts(moved), late)
    assert december.credits == november.number


# --- grains -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grain", "days", "clock", "start", "end"),
    [
        ("charge", "2026-10-25", "02:40", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("hour", "2026-10-25", "02:00", "2026-10-25T01:00", "2026-10-25T02:00"),
        ("day", "2026-10-25", None, "2026-10-24T22:00", "2026-10-25T23:00"),
        ("period", "2026-10-01 to 2026-10-31", None, "2026-09-30T22:00", "2026-10-31T23:00"),
    ],
)
def test_a_grain_is_of_the_accounts_clocks(grain: Grain, days: str, clock: str | None, start: str, end: str) -> None:
    # The day on which the clocks go back, in the second of its hours from two to three.
    [line] = lined(facts(timezone=HONOLULU), used(ACME, utc("2026-10-25T01:40")), grain=grain)
    assert (str(line.days), line.clock, line.day) == (days, clock, date(2026, 10, 25))
    assert (line.start, line.end) == (utc(start), utc(end))


def test_an_hour_does_not_reach_into_the_period_before() -> None:
    moved = replace(in_zone("UTC", ACME), replaced=(Replaced(Terms("EUR", "Asia/Kolkata"), "2026-12"),))
    start = utc("2026-11-30T18:30")
    [line] = lined(facts(moved), used(moved, start), grain="hour")
    assert (line.start, line.end) == (start, utc("2026-11-30T19:00"))
    assert str(line.days) == "2026-12-01"


def test_what_can_only_be_added_to_waits_for_the_accounts_day() -> None:
    shape = Lines(target="stripe", customers=customers(), grain="day", codes=Codes(), replaces=False, notices=False)
    desk, over = Desk(shape), utc("2026-11-10T23:00") + GRACE
    early = facts(timezone=HONOLULU, now=over - timedelta(seconds=1))
    desk.put([used(ACME, utc("2026-11-10T12:00"))], early)
    assert desk.due(early) == []
    assert len(desk.due(facts(timezone=HONOLULU, now=over))) == 1


# --- what is for a time of its own ------------------------------------------------------------------------------------

NOVEMBER = Period(utc("2026-10-31T23:00"), utc("2026-11-30T23:00"))


@pytest.mark.parametrize("grain", ["day", "period", "charge"])
@pytest.mark.parametrize(
    ("charge", "days", "day"),
    [
        (fee(ACME, NOVEMBER.start, earned_until=NOVEMBER.end), "2026-11-01 to 2026-11-30", "2026-11-01"),
        (fee(ACME, utc("2026-11-09T23:00"), earned_until=NOVEMBER.end), "2026-11-10 to 2026-11-30", "2026-11-10"),
        (fee(ACME, NOVEMBER.end, of=NOVEMBER.start), "2026-11-01 to 2026-11-30", "2026-11-30"),  # in arrears
        (fee(ACME, utc("2026-11-09T23:00")), "2026-11-01 to 2026-11-09", "2026-11-10"),  # in arrears, ended before
        (
            fee(ACME, NOVEMBER.end, of=NOVEMBER.start, kind="minimum", meter="room", quantity=Decimal(0)),
            "2026-11-01 to 2026-11-30",
            "2026-11-30",
        ),
        (fee(ACME, utc("2026-11-09T23:00"), meter="deposit"), None, "2026-11-10"),
    ],
)
def test_what_is_for_more_than_a_moment_is_told_for_all_of_it(
    grain: Grain, charge: Charge, days: str | None, day: str
) -> None:
    [line] = lined(facts(timezone=HONOLULU), charge, grain=grain)
    whole = "2026-11-01 to 2026-11-30" if grain == "period" else day
    assert (str(line.days), str(line.day), line.clock) == (days or whole, day, None)


def test_what_is_due_at_once_is_dated_by_the_accounts_day() -> None:
    [invoice] = invoiced(facts(timezone=HONOLULU), fee(ACME, NOVEMBER.start, earned_until=NOVEMBER.end))
    assert (invoice.advance, invoice.issued) == (True, date(2026, 11, 1))
    assert invoice.number.startswith("20261101-")


def test_a_correction_is_of_the_period_that_it_corrects() -> None:
    december = ACME.periods.named("2026-12")
    late = replace(used(ACME, utc("2026-11-10T12:00")), invoice_period=december)
    own = used(ACME, utc("2026-12-10T12:00"))
    [invoice] = invoiced(facts(), late, own)
    assert [(str(line.days), line.adjusts) for line in invoice.lines] == [
        ("2026-12-01 to 2026-12-31", None),
        ("2026-11-01 to 2026-11-30", NOVEMBER.start),
    ]
    [line] = lined(facts(), late)
    assert (str(line.days), str(line.adjusts_days)) == ("2026-11-10", "2026-11-01 to 2026-11-30")


def test_lines_are_called_as_people_call_them() -> None:
    plan = fee(ACME, NOVEMBER.start, earned_until=NOVEMBER.end)
    minimum = fee(ACME, NOVEMBER.end, of=NOVEMBER.start, kind="minimum", meter="room-hours", quantity=Decimal(0))
    tip = used(ACME, utc("2026-11-10T12:00"), unit="EUR")
    tip = replace(tip, line=with_(tip.line, key=tip.line.key._replace(part="tip")))
    found = lined(facts(), plan, minimum, tip, used(ACME, utc("2026-11-10T12:00"), meter="pos", site="attic"))
    assert sorted((line.name, line.place, line.kind) for line in found) == [
        ("Flex 10", "", "fee"),
        ("Print pages", "Berlin Mitte", "tip"),
        ("Purchase", "attic", "usage"),
        ("Room hours", "", "minimum"),
    ]


# --- journals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grain", "said"), [("day", "Usage 2026-11-10 berlin"), ("period", "Usage 2026-11-01 to 2026-11-30 berlin")]
)
def test_a_journal_says_of_which_of_the_operators_days_it_is(grain: DayGrain, said: str) -> None:
    desk = Desk(Days(target="books", grain=grain, codes={"suspense": "999"}, keys=("xero",), parties={}))
    entry = JournalEntry(
        id="ch_1",
        day=date(2026, 11, 10),
        currency="EUR",
        narration="",
        postings=(Posting(account="a", amount=Decimal(1)), Posting(account="b", amount=Decimal(-1))),
        dimensions={"site": "berlin", "account": "acme"},
    )
    desk.put([entry], facts())
    [draft] = desk.due(facts())
    assert isinstance(draft.content, DayJournal)
    assert draft.content.narration == said
