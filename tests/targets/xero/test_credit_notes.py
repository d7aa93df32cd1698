"""Credit notes: taken off their invoice as far as that is open, and gone on with where they stopped."""

from __future__ import annotations

from decimal import Decimal

import pytest

from meter.export.contract import Absent, Delivered, Outcome, Refused, Uncertain
from tests.targets.cases.xero import INVOICES, invoice, item, line, number_of
from tests.targets.driving import one
from tests.targets.fakes.xero import FakeXero
from tests.targets.xero.given import Make


async def test_a_credit_note_is_taken_off_its_invoice_as_far_as_that_is_open(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    first = invoice(line("100.00"))
    partial = invoice(line("-30.00"), part=2, credits=first.number)
    more = invoice(line("-90.00"), part=3, credits=first.number)
    late = invoice(line("-1.00"), part=4, credits=first.number)
    sent = [item(what) for what in (first, partial, more, late)]
    for what in sent:
        assert isinstance(await one(target.send([what])), Delivered)
    [held] = vendor.documents["Invoices"].values()
    assert (held["Status"], held["AmountDue"], held["AmountCredited"]) == ("PAID", 0, Decimal("119.00"))
    left = {one["CreditNoteNumber"]: one["RemainingCredit"] for one in vendor.documents["CreditNotes"].values()}
    assert left == {partial.number: 0, more.number: Decimal("23.80"), late.number: Decimal("1.19")}
    assert INVOICES.books(vendor) == INVOICES.wanted(sent)
    assert isinstance(await one(target.look_up([sent[3]])), Delivered)


async def test_credit_stays_where_its_invoice_is_another_customers_or_not_there(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    others = invoice(customer=1)
    strays = [
        invoice(line("-1.00"), part=2, credits=others.number),
        invoice(line("-1.00"), part=3, credits="20261031-NOWHERE0"),
        invoice(line("-1.00"), part=4),
    ]
    sent = [item(what) for what in (others, *strays)]
    assert all(isinstance(answer, Delivered) for answer in await target.send(sent))
    assert vendor.calls("PUT", "/Allocations") == []
    assert all(isinstance(found, Delivered) for found in await target.look_up(sent))


@pytest.mark.parametrize("path", ["/CreditNotes", "/Invoices", "/Allocations"])
@pytest.mark.parametrize("done", ["done", "not done"])
async def test_a_credit_note_goes_on_where_it_stopped(vendor: FakeXero, make: Make, path: str, done: str) -> None:
    target = make(mode="invoices")
    first, note = item(invoice(line("100.00"))), item(invoice(line("-30.00"), part=2, credits=number_of(0)))
    await target.send([first])
    vendor.advance(minutes=10)
    outcome: Outcome | None = None
    vendor.fail_next(500, committed=done == "done", path=path)
    for _ in range(3):
        outcome = await one(target.send([note]))
        if isinstance(outcome, Delivered):
            break
        vendor.advance(minutes=10)  # no key helps
        found = await one(target.look_up([note]))
        if isinstance(found, Delivered):
            outcome = found
            break
        assert isinstance(found, Absent)
    assert isinstance(outcome, Delivered)
    [held] = vendor.documents["CreditNotes"].values()
    assert held["RemainingCredit"] == 0
    [owed] = vendor.documents["Invoices"].values()
    assert owed["AmountDue"] == Decimal("83.30")


async def test_a_credit_note_of_another_is_not_taken_for_ours(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    sent = item(invoice(line("-10.00"), part=2))
    await one(target.send([sent]))
    [held] = vendor.books()
    vendor.by_hand(held.id, {"Reference": "by hand"})
    vendor.advance(minutes=10)
    assert isinstance(await one(target.look_up([sent])), Uncertain)
    outcome = await one(target.send([sent]))
    assert isinstance(outcome, Refused)
    assert held.id in outcome.reason
    assert len(vendor.books()) == 1
