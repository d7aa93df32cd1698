"""An entry: its day, dimensions, currencies and schedule, and that it balances."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_

from meter.export.journal import BookingDay, deferral_of, entries_of
from meter.model.journal import JournalEntry
from meter.model.ledger import Ledger
from tests.export.posting import BERLINS_MARCH, CATALOG, DAY, MARCH, VAT, charge, entry_for, fee, posted, shared


def test_dimensions_are_ids_that_lead_back() -> None:
    correction = replace(charge(rounded="1.00", line_tax=VAT), corrects="ch_0")
    entry = entry_for(correction, catalog=CATALOG, day=DAY)
    assert entry is not None
    assert (entry.id, entry.day, entry.currency, entry.narration) == ("ch_1", DAY, "EUR", "print-pages 3 page")
    assert entry.dimensions == {
        "site": "berlin",
        "account": "acme",
        "meter": "print-pages",
        "kind": "usage",
        "member": "ada",
        "tax": "vat19",
        "corrects": "ch_0",
    }


def test_a_fee_ahead_is_deferred_with_its_schedule() -> None:
    booked = replace(fee("membership", "310.00", tax="58.90", earned_until=MARCH.end), **shared("agent", "31.00"))
    on = BookingDay(today=DAY, timezone="Europe/Berlin")
    deferral = deferral_of(booked, operator="northside", catalog=CATALOG, day=on)
    assert deferral is not None
    assert (deferral.net, deferral.first_day, deferral.end_day, deferral.next_day) == (
        Decimal("279.00"),
        DAY,
        date(2026, 4, 1),
        DAY,
    )
    [entry] = entries_of(booked, catalog=CATALOG, day=DAY, deferral=deferral)
    assert {posting.account: str(posting.amount) for posting in entry.postings} == {
        "assets:receivable": "368.90",
        "liabilities:deferred": "-279.00",
        "liabilities:vat": "-58.90",
        "liabilities:landlord:mitte": "-31.00",
    }
    at_once = replace(CATALOG, ledger=Ledger(recognition="at_once"))
    assert deferral_of(booked, operator="northside", catalog=at_once, day=on) is None
    assert deferral_of(fee("membership", "310.00"), operator="northside", catalog=CATALOG, day=on) is None


def test_credit_in_another_currency_is_an_entry_of_its_own() -> None:
    used = charge(rounded="3.00", currency="CHF")
    burn = {("EUR", "liabilities:deferred"): Decimal(18), ("EUR", "income:print-pages"): Decimal(-18)}
    own, other = entries_of(used, catalog=CATALOG, day=DAY, burn=burn)
    assert (own.id, own.currency, other.id, other.currency) == ("ch_1", "CHF", "ch_1/EUR", "EUR")
    for entry in (own, other):
        entry.check_invariants()
    assert other.dimensions["charge"] == "ch_1"
    assert {posting.account: posting.amount for posting in other.postings} == {
        account: amount for (_, account), amount in burn.items()
    }


@pytest.mark.parametrize(
    ("time", "part", "day"),
    [
        (datetime(2026, 3, 2, 22, 59, tzinfo=UTC), "", date(2026, 3, 2)),
        (datetime(2026, 3, 2, 23, 1, tzinfo=UTC), "", date(2026, 3, 3)),
        # A fee in arrears and a minimum are of the period that they end, what expires is of the day that begins.
        (BERLINS_MARCH.end, "", date(2026, 3, 31)),
        (BERLINS_MARCH.end, "expired", date(2026, 4, 1)),
    ],
)
def test_the_day_of_an_entry_is_the_operators_day_of_what_it_is_about(time: datetime, part: str, day: date) -> None:
    about = charge(rounded="1.00", period=BERLINS_MARCH)
    line = with_(about.line, key=about.line.key._replace(time=time, part=part))
    about = replace(about, line=line, invoice_period=BERLINS_MARCH)
    today = BookingDay(today=date(2026, 6, 1), timezone="Europe/Berlin")
    assert today.of_charge(about) == day
    assert replace(today, locked=day).of_charge(about) == today.today
    assert replace(today, locked=date(2026, 3, 1)).of_charge(about) == day
    assert today.of_charge(replace(about, invoice_period=MARCH)) == today.today, "an adjustment"


def negated(entry: JournalEntry | None) -> dict[str, Decimal]:
    return {} if entry is None else {posting.account: -posting.amount for posting in entry.postings}


cents = st.decimals(min_value=-1_000_000, max_value=1_000_000, places=2)


@given(
    rounded=cents,
    tax=cents,
    tip=st.none() | cents,
    total=st.none() | cents,
    paid=st.booleans(),
    inclusive=st.booleans(),
    part=st.sampled_from(["", "tip", "refund", "tip/refund"]),
    meter=st.sampled_from(["cafe", "membership", "deposit", "credit"]),
)
def test_every_entry_balances_and_a_reversal_takes_it_back(
    *,
    rounded: Decimal,
    tax: Decimal,
    tip: Decimal | None,
    total: Decimal | None,
    paid: bool,
    inclusive: bool,
    part: str,
    meter: str,
) -> None:
    fields: dict[str, Any] = {"settlement": "paid" if paid else "account", "part": part, "meter": meter}
    line_tax = with_(VAT, inclusive=inclusive)
    forth = charge(rounded=str(rounded), tax=str(tax), line_tax=line_tax, tip=tip, total=total, **fields)
    back = charge(
        rounded=str(-rounded),
        tax=str(-tax),
        line_tax=line_tax,
        tip=None if tip is None else -tip,
        total=None if total is None else -total,
        **fields,
    )
    entry = entry_for(forth, catalog=CATALOG, day=DAY)
    if entry is not None:
        entry.check_invariants()
        assert all(posting.amount for posting in entry.postings)
    assert posted(back) == negated(entry)
