"""What Xero holds compared with what it was sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from meter.export.contract import Delivered
from meter.export.gather.gatherer import items_from
from meter.export.gather.invoicing import is_invoiced
from meter.export.reconcile import Expected, reconcile
from meter.export.targets.xero import XERO
from meter.model.errors import BadInput, Unavailable
from tests.booked import MARCH, OPERATOR
from tests.export.gathering import Desk, account, customers, known
from tests.targets.cases.xero import invoice, item, journal, line, number_of, setup
from tests.targets.fakes.xero import FakeXero
from tests.targets.random_charges import random_charges, sums_of
from tests.targets.xero.given import BATCH, Make


async def test_what_is_booked_comes_to_the_same_in_xero(vendor: FakeXero, make: Make) -> None:
    booked = random_charges(200, seed=11)
    accounts = {charge.line.account for charge in booked}
    facts = known(*(account(name, xero=vendor.add_contact(name)) for name in sorted(accounts)))
    given = setup(vendor.url, "invoices", tax_codes={"vat": "OUTPUT2"})
    desk = Desk(XERO.shape(replace(given, customers=customers("books", "xero"))))
    assert desk.put(booked, facts) == []
    later = replace(facts, now=facts.now + timedelta(days=400))
    drafts = desk.due(later, closed=[(name, MARCH.start) for name in accounts])
    assert [draft.unmet for draft in drafts] == [None] * len(drafts)
    sent = items_from(drafts, operator=OPERATOR, target="books")
    outcomes = await make(mode="invoices").send(sent)
    assert {type(outcome) for outcome in outcomes} == {Delivered}
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    for held in vendor.books():
        net, tax = sums.get(held.currency, (Decimal(0), Decimal(0)))
        sums[held.currency] = (net + held.amount, tax + held.tax)
    assert sums == sums_of([charge for charge in booked if is_invoiced(charge)])
    assert {held.kind for held in vendor.books()} == {"Invoices", "CreditNotes"}


async def test_what_a_person_changes_shows_when_reconciling(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    sent = [item(invoice(customer=number)) for number in range(4)]
    sent.append(item(invoice(line("-5.00"), customer=0, part=2, credits=number_of(0))))
    await target.send(sent)
    held = [one.id for one in vendor.books()]
    vendor.by_hand(held[1], {"SubTotal": Decimal("11.00")})
    vendor.by_hand(held[2], None)
    vendor.by_hand(held[3], {"Status": "VOIDED"})
    vendor.documents["Invoices"]["x"] = {**vendor.documents["Invoices"][held[0]], "InvoiceID": "x", "Reference": "PO"}
    stray = {"InvoiceID": "y", "Reference": f"[meter:{BATCH}]", "InvoiceNumber": "y"}
    vendor.documents["Invoices"]["y"] = {**vendor.documents["Invoices"][held[0]], **stray}
    expected = [Expected(delivery=n, item=one, figures=target.figures(one)) for n, one in enumerate(sent)]
    known = frozenset(one.batch for one in sent)
    found = await reconcile(target, expected, known, since=date(2026, 11, 1), until=date(2026, 12, 1))
    assert {(one.fault, one.delivery) for one in found.discrepancies} == {
        ("changed", 1),
        ("missing", 2),
        ("void", 3),
        ("extra", None),
    }
    elsewhen = await reconcile(target, [], known, since=date(2026, 12, 1), until=date(2027, 1, 1))
    assert elsewhen.discrepancies == ()


async def test_holdings_are_read_page_by_page(vendor: FakeXero, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meter.export.targets.xero.api.PAGE_MAX", 7)
    target = make()
    sent = [item(journal(part=part)) for part in range(1, 31)]
    await target.send(sent)
    await target.send([item(journal(date(2026, 11, 3)))])
    held = [one async for one in target.holdings(date(2026, 11, 2), date(2026, 11, 3))]
    assert sorted(one.batch for one in held) == sorted(one.batch for one in sent)
    assert {one.figures for one in held} == {target.figures(sent[0])}
    monkeypatch.setattr("meter.export.targets.xero.api.PAGES_MAX", 2)
    with pytest.raises(BadInput, match="fewer days"):
        [one async for one in target.holdings(date(2026, 11, 2), date(2026, 11, 3))]
    vendor.fail_next(503, committed=False, path="/ManualJournals")
    with pytest.raises(Unavailable):
        [one async for one in target.holdings(date(2026, 11, 2), date(2026, 11, 3))]
