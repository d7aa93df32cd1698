"""What each kind of charge is posted to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from msgspec.structs import replace as with_

from meter.model.event import EventKey
from meter.model.ledger import Ledger
from tests.export.posting import CATALOG, DAY, VAT, charge, entry_for, fee, posted, shared


def test_usage_on_account_is_owed_earned_and_taxed() -> None:
    assert posted(charge(rounded="10.00", tax="1.90", line_tax=VAT)) == {
        "assets:receivable": Decimal("11.90"),
        "income:print-pages": Decimal("-10.00"),
        "liabilities:vat": Decimal("-1.90"),
    }


def test_with_inclusive_tax_income_gets_what_remains() -> None:
    inclusive = with_(VAT, inclusive=True)
    assert posted(charge(rounded="11.90", tax="1.90", line_tax=inclusive)) == {
        "assets:receivable": Decimal("11.90"),
        "income:print-pages": Decimal("-10.00"),
        "liabilities:vat": Decimal("-1.90"),
    }


def test_a_sale_at_the_till_waits_in_clearing_and_its_gap_is_rounding() -> None:
    sale = charge(
        rounded="4.20",
        tax="0.80",
        line_tax=VAT,
        meter="cafe",
        settlement="paid",
        tip=Decimal("1.00"),
        total=Decimal("6.01"),
    )
    assert posted(sale) == {
        "assets:clearing": Decimal("6.01"),
        "income:cafe": Decimal("-4.20"),
        "liabilities:vat": Decimal("-0.80"),
        "liabilities:tips": Decimal("-1.00"),
        "expenses:rounding": Decimal("-0.01"),
    }


def test_a_sale_whose_total_the_till_did_not_say_has_no_gap() -> None:
    assert posted(charge(rounded="4.20", tax="0.80", settlement="paid"))["assets:clearing"] == Decimal("5.00")


def test_a_tip_on_account_is_owed_to_the_staff() -> None:
    assert posted(charge(rounded="2.00", part="tip")) == {
        "assets:receivable": Decimal("2.00"),
        "liabilities:tips": Decimal("-2.00"),
    }


def test_what_moves_no_money_has_no_entry() -> None:
    assert entry_for(charge(), catalog=CATALOG, day=DAY) is None


def test_a_membership_is_income() -> None:
    assert posted(fee("membership", "199.00", tax="37.81")) == {
        "assets:receivable": Decimal("236.81"),
        "income:membership": Decimal("-199.00"),
        "liabilities:vat": Decimal("-37.81"),
    }
    catalog = replace(CATALOG, ledger=Ledger(accounts={"revenue.membership": "income:dues"}))
    assert posted(fee("membership", "-99.50"), catalog) == {
        "assets:receivable": Decimal("-99.50"),
        "income:dues": Decimal("99.50"),
    }


@pytest.mark.parametrize("kind", ["fee", "adjustment"])
def test_a_deposit_is_owed_and_never_earned(kind: str) -> None:
    taken, returned = (posted(fee("deposit", amount, kind=kind)) for amount in ("200.00", "-200.00"))
    assert taken == {"assets:receivable": Decimal("200.00"), "liabilities:deposits": Decimal("-200.00")}
    assert returned == {account: -amount for account, amount in taken.items()}


def test_credit_sold_ahead_is_deferred_without_its_tax() -> None:
    gross = with_(VAT, inclusive=True)
    sold = {
        "assets:receivable": Decimal("214.20"),
        "liabilities:deferred": Decimal("-180.00"),
        "liabilities:vat": Decimal("-34.20"),
    }
    assert posted(fee("credit", "180.00", tax="34.20", unit="day")) == sold
    assert posted(charge(rounded="214.20", tax="34.20", line_tax=gross, meter="credit", kind="fee", source="")) == sold


def test_a_minimum_is_income_of_its_meter() -> None:
    minimum = fee("print-pages", "0.93", kind="minimum", quantity=Decimal(0))
    assert posted(minimum) == {"assets:receivable": Decimal("0.93"), "income:print-pages": Decimal("-0.93")}
    entry = entry_for(minimum, catalog=CATALOG, day=DAY)
    assert entry is not None
    assert entry.narration == "print-pages minimum"


def test_a_refund_on_account_goes_back_where_the_sale_was_posted() -> None:
    sale = posted(charge(rounded="10.00", tax="1.90", line_tax=VAT, meter="cafe"))
    back = posted(charge(rounded="-10.00", tax="-1.90", line_tax=VAT, meter="cafe", kind="refund", part="refund"))
    assert back == {account: -amount for account, amount in sale.items()}
    tip = charge(rounded="-2.00", meter="cafe", kind="refund", part="tip/refund/berlin%2Fpos/r-1")
    assert posted(tip) == {"assets:receivable": Decimal("-2.00"), "liabilities:tips": Decimal("2.00")}


@pytest.mark.parametrize("own", ["berlin/square/till", "berlin/office"])
def test_a_refund_at_the_till_comes_out_of_its_sales_clearing(own: str) -> None:
    catalog = replace(CATALOG, ledger=Ledger(accounts={"clearing.square": "assets:clearing:square"}))
    refund = charge(
        rounded="-4.20",
        tax="-0.80",
        line_tax=VAT,
        meter="cafe",
        kind="refund",
        part="refund",
        settlement="paid",
        tip=Decimal("-1.00"),
        total=Decimal("-6.01"),
        source=own,
        events=(EventKey(own, "r1"), EventKey("berlin/square/till", "s1")),
    )
    assert posted(refund, catalog) == {
        "assets:clearing:square": Decimal("-6.01"),
        "income:cafe": Decimal("4.20"),
        "liabilities:vat": Decimal("0.80"),
        "liabilities:tips": Decimal("1.00"),
        "expenses:rounding": Decimal("0.01"),
    }


def test_tax_alone_is_an_entry() -> None:
    assert posted(charge(tax="0.01", line_tax=VAT)) == {
        "assets:receivable": Decimal("0.01"),
        "liabilities:vat": Decimal("-0.01"),
    }


def test_a_principals_income_is_gross_and_an_agents_is_what_remains() -> None:
    sale = charge(rounded="11.90", tax="1.90", line_tax=with_(VAT, inclusive=True), meter="cafe")
    common = {"assets:receivable": Decimal("11.90"), "liabilities:vat": Decimal("-1.90")}
    assert posted(replace(sale, **shared("principal", "1.20"))) == {
        **common,
        "income:cafe": Decimal("-10.00"),
        "expenses:revenue-share": Decimal("1.20"),
        "liabilities:landlord:mitte": Decimal("-1.20"),
    }
    assert posted(replace(sale, **shared("agent", "1.20"))) == {
        **common,
        "income:cafe": Decimal("-8.80"),
        "liabilities:landlord:mitte": Decimal("-1.20"),
    }
