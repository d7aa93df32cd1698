"""Which account is meant: rules, names of the catalog, suspense."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as with_

from meter.model.ledger import IncomeRule, Ledger
from tests.export.posting import CATALOG, DAY, MARCH, VAT, charge, entry_for, fee, posted, shared


def test_each_till_has_the_clearing_account_that_its_source_names() -> None:
    catalog = replace(CATALOG, ledger=Ledger(accounts={"clearing.square": "assets:clearing:square"}))
    square = charge(rounded="5.00", settlement="paid", source="berlin/square/till")
    assert set(posted(square, catalog)) == {"assets:clearing:square", "income:print-pages"}
    assert "assets:clearing" in posted(charge(rounded="5.00", settlement="paid", source="square/till/1"), catalog)


@pytest.mark.parametrize("name", ["plain", "MwSt 7%"])
def test_a_tax_without_an_account_goes_to_the_common_one(name: str) -> None:
    tax = with_(VAT, name=name)
    assert posted(charge(rounded="1.00", tax="0.07", line_tax=tax))["liabilities:tax"] == Decimal("-0.07")


def test_the_catalog_names_the_accounts() -> None:
    accounts = {"receivable": "Assets:Debtors", "revenue.print-pages": "revenue: print", "tips": "liabilities"}
    catalog = replace(CATALOG, ledger=Ledger(accounts=accounts))
    assert posted(charge(rounded="1.00"), catalog) == {
        "assets:Debtors": Decimal("1.00"),
        "income:print": Decimal("-1.00"),
    }
    assert posted(charge(rounded="1.00", part="tip"), catalog)["liabilities:general"] == Decimal("-1.00")


@pytest.mark.parametrize(
    ("suspense", "root"), [(None, "equity:suspense"), ("assets:check", "assets:check"), ("x", "equity:suspense")]
)
def test_an_account_of_no_kind_goes_to_suspense_under_its_name(suspense: str | None, root: str) -> None:
    accounts = {"receivable": "1200 Debtors"} | ({"suspense": suspense} if suspense else {})
    catalog = replace(CATALOG, ledger=Ledger(accounts=accounts))
    assert posted(charge(rounded="1.00"), catalog) == {
        f"{root}:1200 Debtors": Decimal("1.00"),
        "income:print-pages": Decimal("-1.00"),
    }


RULES = (
    IncomeRule(income="income:colour", meter="print-pages", dimensions={"color": True}),
    IncomeRule(income="income:hamburg", site="hamburg"),
    IncomeRule(income="income:flex", plan="flex", kind="usage"),
    IncomeRule(income="income:fees", kind="fee"),
)


@pytest.mark.parametrize(
    ("fields", "account"),
    [
        ({"dimensions": {"color": True}, "site": "hamburg"}, "income:colour"),
        ({"dimensions": {"color": 1}}, "income:print"),
        ({"dimensions": {"color": True}, "meter": "scans"}, "income:scans"),
        ({"site": "hamburg", "plan": "flex"}, "income:hamburg"),
        ({"plan": "flex"}, "income:flex"),
        ({"kind": "fee"}, "income:fees"),
        ({"kind": "minimum", "plan": "flex"}, "income:print"),
        ({"kind": "refund", "plan": "flex"}, "income:flex"),
        ({"kind": "fee", "meter": "deposit"}, "liabilities:deposits"),
        ({"kind": "fee", "meter": "credit"}, "liabilities:deferred"),
        ({"site": "hamburg", "part": "tip"}, "liabilities:tips"),
    ],
)
def test_the_first_rule_that_fits_names_the_income(fields: dict[str, Any], account: str) -> None:
    ledger = Ledger(accounts={"revenue.print-pages": "income:print"}, rules=RULES)
    assert posted(charge(rounded="1.00", **fields), replace(CATALOG, ledger=ledger))[account] == Decimal(-1)


def test_refunds_go_where_they_are_wanted_and_otherwise_where_their_sale_was() -> None:
    refund = charge(rounded="-1.00", kind="refund", meter="cafe", part="refund", plan="flex")
    rule = IncomeRule(income="income:cafe-returned", meter="cafe", kind="refund")
    for ledger, account in (
        (Ledger(), "income:cafe"),
        (Ledger(rules=RULES), "income:flex"),
        (Ledger(rules=RULES, accounts={"refunds": "income:returned"}), "income:returned"),
        (Ledger(rules=(*RULES, rule), accounts={"refunds": "income:returned"}), "income:cafe-returned"),
    ):
        assert posted(refund, replace(CATALOG, ledger=ledger))[account] == Decimal(1)


def test_what_nothing_names_waits_in_suspense_where_that_is_wanted() -> None:
    ledger = Ledger(accounts={"revenue.membership": "income:dues", "suspense": "assets:check"}, unmapped="suspense")
    catalog = replace(CATALOG, ledger=ledger)
    unnamed, named = (
        entry_for(charge(rounded="1.00", meter=m), catalog=catalog, day=DAY) for m in ("cafe", "membership")
    )
    assert unnamed is not None
    assert unnamed.suspense
    assert {posting.account for posting in unnamed.postings} == {"assets:receivable", "assets:check"}
    assert named is not None
    assert not named.suspense


def test_a_landlord_has_an_account_of_its_own_the_one_of_all_or_one_by_its_name() -> None:
    for accounts, account in (
        ({"landlord.mitte": "liabilities:rent", "landlord": "liabilities:others"}, "liabilities:rent"),
        ({"landlord.kreuzberg": "liabilities:rent", "landlord": "liabilities:others"}, "liabilities:others"),
        ({}, "liabilities:landlord:mitte"),
    ):
        catalog = replace(CATALOG, ledger=Ledger(accounts=accounts))
        assert posted(replace(charge(rounded="9.00"), **shared("agent", "1.00")), catalog)[account] == Decimal(-1)


def test_what_is_due_at_once_is_receivable_and_the_rest_unbilled_where_that_has_an_account() -> None:
    catalog = replace(CATALOG, ledger=Ledger(accounts={"unbilled": "assets:unbilled"}))
    until = MARCH.end
    at_once = [fee("membership", "199.00", earned_until=until), fee("deposit", "200.00"), fee("credit", "180.00")]
    for due in at_once:
        assert "assets:receivable" in posted(due, catalog)
    for later in (charge(rounded="1.00"), fee("membership", "199.00"), charge(rounded="2.00", part="tip")):
        assert "assets:unbilled" in posted(later, catalog)
    assert "assets:clearing" in posted(charge(rounded="2.00", settlement="paid"), catalog)
