"""What QuickBooks is sent of a closed period: an invoice or a credit memo, with our sums and our tax."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from msgspec.structs import replace as with_

from meter.export.payload import Invoice
from meter.export.targets.quickbooks import shape_of
from meter.export.targets.quickbooks.entities import body_of, entity_of
from meter.export.targets.quickbooks.rules import Rules, rules_of
from meter.model.charge import LineTax
from tests.booked import MARCH, a_charge, a_line
from tests.export.gathering import NOW, Desk, account, customers, known
from tests.targets.cases.quickbooks import (
    DEPOSIT,
    EXEMPT,
    FIRST_CUSTOMER,
    TAX_CODE,
    TAX_RATE,
    VAT,
    invoice,
    item,
    line,
    setup,
)
from tests.targets.fakes.quickbooks import FakeQuickBooks
from tests.targets.quickbooks.given import BATCH, RULES, Make


def tax_line(tax: str, net: str) -> dict[str, Any]:
    detail = {"TaxRateRef": {"value": TAX_RATE}, "PercentBased": True, "TaxPercent": Decimal(19)}
    return {
        "Amount": Decimal(tax),
        "DetailType": "TaxLineDetail",
        "TaxLineDetail": {**detail, "NetAmountTaxable": Decimal(net)},
    }


def test_an_invoice_has_our_sums_and_our_tax() -> None:
    deposit = line("200.00", tax=None, meter="deposit", item=DEPOSIT)
    body = body_of(invoice(line("10.00"), deposit), BATCH, RULES, {"Berlin": "21"})
    assert (body["TxnDate"], body["DueDate"]) == ("2026-11-30", "2026-12-14")
    assert body["CustomerRef"] == {"value": str(FIRST_CUSTOMER)}
    assert body["GlobalTaxCalculation"] == "TaxExcluded"
    assert body["TxnTaxDetail"] == {"TotalTax": Decimal("1.90"), "TaxLine": [tax_line("1.90", "10.00")]}
    told = [
        (one["Amount"], one["SalesItemLineDetail"]["ItemRef"]["value"], one["SalesItemLineDetail"]["TaxCodeRef"])
        for one in body["Line"]
    ]
    assert told == [
        (Decimal("10.00"), "7", {"value": TAX_CODE}),
        (Decimal("200.00"), DEPOSIT, {"value": EXEMPT}),
    ]
    assert body["Line"][0]["Description"] == "Print pages, Berlin Mitte, 2026-11-01: 34 pages, 4 covered by credit"
    assert body["PrivateNote"].startswith("account account-0, 2026-11-01 to 2026-11-30, 6 charges")


def test_an_inclusive_price_is_sent_without_its_tax() -> None:
    inclusive = line("10.00", tax=with_(VAT, inclusive=True))
    body = body_of(invoice(inclusive), BATCH, RULES, {"Berlin": "21"})
    assert body["Line"][0]["Amount"] == Decimal("8.10")
    assert body["TxnTaxDetail"] == {"TotalTax": Decimal("1.90"), "TaxLine": [tax_line("1.90", "8.10")]}


def test_what_gives_back_more_than_it_takes_is_a_credit_memo_of_positive_amounts() -> None:
    memo = invoice(line("-10.00"), line("2.00"), credits="20261031-OLDER")
    assert entity_of(memo) == "CreditMemo"
    body = body_of(memo, BATCH, RULES, {"Berlin": "21"})
    assert [one["Amount"] for one in body["Line"]] == [Decimal("10.00"), Decimal("-2.00")]
    assert body["TxnTaxDetail"] == {"TotalTax": Decimal("1.52"), "TaxLine": [tax_line("1.52", "8.00")]}
    assert "DueDate" not in body
    assert "gives back on 20261031-OLDER" in body["PrivateNote"]


def test_a_company_in_the_united_states_has_its_own_codes() -> None:
    rules = rules_of(setup("https://unused", "invoices", us_sales_tax=True, tax_codes={"vat19": "TAX"}))
    body = body_of(invoice(line(tax=None)), BATCH, rules, {"Berlin": "21"})
    assert "GlobalTaxCalculation" not in body
    assert body_of(invoice(), BATCH, rules, {"Berlin": "21"})["TxnTaxDetail"] == {"TotalTax": Decimal("1.90")}
    assert body["Line"][0]["SalesItemLineDetail"]["TaxCodeRef"] == {"value": "NON"}


def test_a_department_is_the_whole_documents() -> None:
    rules = Rules(tracking="Department")
    two = invoice(line(), line(tracking="Hamburg"))
    assert body_of(invoice(), BATCH, rules, {"Berlin": "21"})["DepartmentRef"] == {"value": "21"}
    assert "DepartmentRef" not in body_of(two, BATCH, rules, {"Berlin": "21", "Hamburg": "22"})


async def test_a_period_that_was_closed_is_in_the_books(vendor: FakeQuickBooks, make: Make) -> None:
    given = replace(setup(vendor.url, "invoices"), customers=customers("books", "quickbooks"))
    desk = Desk(shape_of(given))
    facts = known(account("acme", quickbooks="12"), now=NOW)
    vat = LineTax(name="vat19", rate=Decimal("0.19"), inclusive=False)
    charges = [a_charge(a_line(n, tax=vat), tax_amount=Decimal("0.10")) for n in range(3)]
    desk.put(charges, facts)
    drafts = desk.due(facts, closed=[("acme", MARCH.start)])
    assert [draft.unmet for draft in drafts] == [None]
    await make(mode="invoices").send([item(one.content) for one in drafts if isinstance(one.content, Invoice)])
    [held] = vendor.books()
    assert (held.kind, held.customer, held.amount, held.tax) == ("Invoice", "12", Decimal("1.5"), Decimal("0.30"))
