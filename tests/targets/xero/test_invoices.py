"""What Xero is sent of a closed period: an invoice or a credit note."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.export.contract import Delivered
from meter.export.targets.xero.documents import body_of, entity_of
from meter.model.errors import BadInput
from tests.targets.cases.xero import CUSTOMERS, INCOME, INVOICES, VAT, VAT_IN, invoice, item, journal, line, number_of
from tests.targets.fakes.xero import FakeXero
from tests.targets.xero.given import BATCH, RULES, Make

CENT = Decimal("0.01")


def test_a_period_is_an_invoice() -> None:
    rules = replace(RULES, url="https://meter.example")
    body = body_of(invoice(), BATCH, rules)
    [told] = body.pop("LineItems")
    assert body == {
        "Type": "ACCREC",
        "InvoiceNumber": number_of(0),
        "Reference": f"account-0, 2026-11-01 to 2026-11-30 [meter:{BATCH}]",
        "Contact": {"ContactID": CUSTOMERS[0]},
        "Date": "2026-11-30",
        "DueDate": "2026-12-14",
        "LineAmountTypes": "Exclusive",
        "CurrencyCode": "EUR",
        "Status": "AUTHORISED",
        "Url": "https://meter.example/v1/charges?account=account-0&from=2026-11-01T00%3A00%3A00Z"
        "&to=2026-12-01T00%3A00%3A00Z",
    }
    assert told == {
        "Description": "Print pages, Berlin Mitte, 2026-11-01: 34 pages, 4 covered by credit (3 charges)",
        "Quantity": Decimal(30),
        "UnitAmount": Decimal("0.3333"),
        "LineAmount": Decimal("10.00"),
        "TaxType": "OUTPUT2",
        "TaxAmount": Decimal("1.90"),
        "Tracking": [{"Name": "Site", "Option": "Berlin"}],
        "AccountCode": INCOME,
    }


def test_what_gives_back_is_a_credit_note_with_amounts_above_zero() -> None:
    note = invoice(line("-10.00"), line("1.00", tax=None), credits="20261031-AAAAAAAA")
    body = body_of(note, BATCH, RULES)
    assert (entity_of(note), body["Type"], body["CreditNoteNumber"]) == ("CreditNotes", "ACCRECCREDIT", note.number)
    assert [(str(told["LineAmount"]), str(told["TaxAmount"])) for told in body["LineItems"]] == [
        ("10.00", "1.90"),
        ("-1.00", "0.00"),
    ]
    assert "gives back on 20261031-AAAAAAAA" in body["Reference"]
    assert not {"DueDate", "InvoiceNumber", "Url"} & set(body)
    assert entity_of(invoice(line("-10.00"), line("10.00"))) == "Invoices"  # nothing to pay, nothing to give back


@pytest.mark.parametrize(
    ("taxes", "shown", "amounts"),
    [
        ((VAT_IN, VAT_IN, None), "Inclusive", ["10.70", "10.70", "10.70"]),
        ((VAT_IN, VAT, None), "Exclusive", ["10.00", "10.70", "10.70"]),
        ((None,), "Exclusive", ["10.70"]),
    ],
)
def test_prices_show_with_their_tax_where_all_of_a_document_do(taxes: Any, shown: str, amounts: list[str]) -> None:
    body = body_of(invoice(*(line("10.70", tax=tax) for tax in taxes)), BATCH, RULES)
    assert body["LineAmountTypes"] == shown
    assert [str(told["LineAmount"]) for told in body["LineItems"]] == amounts
    assert [told["TaxType"] for told in body["LineItems"]] == [tax.code if tax else "NONE" for tax in taxes]


@given(
    cents=st.integers(-(10**9), 10**9),
    billable=st.decimals(min_value=0, max_value=10**7, places=6),
)
def test_quantity_times_price_is_the_amount_in_every_way_of_rounding(cents: int, billable: Decimal) -> None:
    amount = Decimal(cents).scaleb(-2)
    [told] = body_of(invoice(line(str(amount), billable=billable)), BATCH, RULES)["LineItems"]
    product = told["Quantity"] * told["UnitAmount"]
    assert {product.quantize(CENT, way) for way in (ROUND_HALF_UP, ROUND_HALF_EVEN)} == {abs(amount)}
    assert told["Quantity"] in {billable, 1}


def test_items_and_accounts_are_named_by_meter() -> None:
    rules = replace(RULES, sales={"room": "201", "*": "299"})
    named = invoice(line(meter="room", item="ROOM"), line(meter="bar"))
    told = body_of(named, BATCH, rules)["LineItems"]
    assert [(one.get("AccountCode"), one.get("ItemCode")) for one in told] == [("201", "ROOM"), ("299", None)]
    without = replace(RULES, sales={"room": "201"})
    assert "AccountCode" not in body_of(invoice(line(meter="bar", item="BAR")), BATCH, without)["LineItems"][0]
    with pytest.raises(BadInput, match=r"options\.sales"):
        body_of(invoice(line(meter="bar")), BATCH, without)


async def test_an_invoice_is_held_as_it_was_sent(vendor: FakeXero, make: Make) -> None:
    sent = [
        item(invoice(line("0.37", billable=Decimal("0.017")), line("-0.10", tax=None), line("33.33", tax=VAT_IN))),
        item(invoice(line("9.99", tax=VAT_IN), line("0.01", tax=VAT_IN), customer=1)),
        item(invoice(line("-5.00"), customer=2)),
    ]
    outcomes = await make(mode="invoices").send(sent)
    assert outcomes == [Delivered(held.id) for held in vendor.books()]
    assert INVOICES.books(vendor) == INVOICES.wanted(sent)
    assert [(held.reference, held.customer) for held in vendor.books()] == [
        (number_of(number), CUSTOMERS[number]) for number in range(3)
    ]


async def test_a_draft_is_for_somebody_to_approve(vendor: FakeXero, make: Make) -> None:
    await make(status="draft").send([item(journal())])
    credited = item(invoice(line("-5.00"), part=2, credits=number_of(0)))
    await make(mode="invoices", status="submitted").send([item(invoice()), credited])
    assert [held.state for held in vendor.books()] == ["SUBMITTED", "SUBMITTED"]
    [kept] = vendor.documents["ManualJournals"].values()
    assert kept["Status"] == "DRAFT"
    assert vendor.calls("PUT", "/Allocations") == []
