"""Invoices as whole documents: at the closing of a period, and the day after what was due at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace as with_

from meter.export.gather.documents import Documents
from meter.export.gather.invoicing import Codes
from meter.export.gather.shape import Draft
from meter.export.payload import Invoice
from meter.model.charge import Charge
from meter.model.period import Period
from tests.booked import MARCH, NOON, a_charge, a_fee, a_line
from tests.export.gathering import NOW, Desk, account, customers, known

APRIL = Period(MARCH.end, datetime(2026, 5, 1, tzinfo=UTC))


def desk(codes: Codes | None = None) -> Desk:
    shape = Documents(target="books", customers=customers("books", "xero"), grain="period", codes=codes or Codes())
    return Desk(shape)


def usage(n: int = 0, amount: str = "0.50") -> Charge:
    return a_charge(a_line(n, amount=Decimal(amount)))


def fee(n: int = 0) -> Charge:
    charge = a_fee(n)
    return replace(charge, line=with_(charge.line, earned_until=MARCH.end), rounded=Decimal(199))


def invoices(drafts: list[Draft]) -> list[Invoice]:
    return [draft.content for draft in drafts if isinstance(draft.content, Invoice)]


def test_an_invoice_comes_when_its_period_is_closed_with_a_line_for_each_meter() -> None:
    found, facts = desk(), known(account(xero="c-1"))
    found.put([usage(0), usage(1), a_charge(a_line(2, meter="scans", amount=Decimal("2.00")))], facts)
    assert found.due(facts) == []
    [invoice] = invoices(found.due(facts, closed=[("acme", MARCH.start)]))
    assert [(line.meter, line.rounded, line.charges) for line in invoice.lines] == [
        ("print-pages", Decimal("1.00"), 2),
        ("scans", Decimal("2.00"), 1),
    ]
    assert (invoice.net, invoice.customer, invoice.issued) == (Decimal("3.00"), "c-1", date(2026, 3, 31))
    assert invoice.number.startswith("20260331-")
    assert found.due(facts, closed=[("acme", MARCH.start)]) == []


def test_what_is_due_at_once_is_invoiced_when_its_day_is_over() -> None:
    found = desk()
    noon, night = known(account(xero="c-1"), now=NOON), known(account(xero="c-1"), now=NOON + timedelta(days=1))
    found.put([fee(), usage()], noon)
    assert found.due(noon) == []
    [invoice] = invoices(found.due(night))
    assert invoice.advance
    assert [line.meter for line in invoice.lines] == ["membership"]
    assert invoice.issued == date(2026, 3, 2)
    [rest] = invoices(found.due(night, closed=[("acme", MARCH.start)]))
    assert [line.meter for line in rest.lines] == ["print-pages"]
    assert rest.number != invoice.number


def test_lines_that_cancel_out_make_no_invoice() -> None:
    found, facts = desk(), known(account(xero="c-1"))
    found.put([usage(0), usage(1, "-0.50")], facts)
    assert found.due(facts, closed=[("acme", MARCH.start)]) == []


def test_an_invoice_of_less_than_nothing_names_the_one_that_it_gives_back_on() -> None:
    found, facts = desk(), known(account(xero="c-1"))
    found.put([usage(0, "5.00")], facts)
    [march] = invoices(found.due(facts, closed=[("acme", MARCH.start)]))
    found.put([replace(usage(1, "-3.00"), invoice_period=APRIL)], facts)
    [april] = invoices(found.due(facts, closed=[("acme", APRIL.start)]))
    assert april.net == Decimal("-3.00")
    assert april.credits == march.number
    [line] = april.lines
    assert line.adjusts == MARCH.start


def test_what_is_missing_is_named_and_filled_in_later() -> None:
    found, facts = desk(Codes(items={"scans": "7"})), known(account())
    found.put([usage()], facts)
    [draft] = found.due(facts, closed=[("acme", MARCH.start)])
    assert draft.unmet is not None
    assert "accounts.acme.xero" in draft.unmet
    mended = known(account(xero="c-2"), now=NOW)
    content, unmet = found.shape.renew(draft.content, mended)
    assert unmet is not None
    assert "print-pages" in unmet
    content, unmet = desk(Codes(items={"*": "1"})).shape.renew(content, mended)
    assert unmet is None
    assert isinstance(content, Invoice)
    assert (content.customer, content.lines[0].item, content.number) == ("c-2", "1", invoices([draft])[0].number)
