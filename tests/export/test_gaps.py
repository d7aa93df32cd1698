"""What a target has no name for, told before a line of it is a dead delivery."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from meter.export.targets.gaps import Needs, billed_by_nobody, few, foreign, gaps_of, untracked
from meter.export.targets.registry import KINDS
from meter.export.targets.spec import Setup
from meter.model.catalog import Fee, Plan, Site, Tax
from tests.export.gathering import BERLIN, CATALOG, account, customers
from tests.targets.cases import quickbooks, spaces, square, stripe, xero

HAMBURG = Site(id="hamburg", name="Hamburg", timezone="Europe/Berlin")
FEES = Plan(id="flex", name="Flex", fee=Fee(amount=Decimal(199)), prices={"print-pages": (), "cafe": ()})
FULL = replace(
    CATALOG,
    sites={"berlin": BERLIN, "hamburg": HAMBURG},
    taxes={name: Tax(name=name, rate=Decimal("0.19")) for name in ("vat19", "vat7")},
    plans={"flex": FEES},
)


def test_each_name_is_told_with_where_to_set_it() -> None:
    needs = Needs(taxes={"vat19": "1"}, meters=("items", {"cafe": "7"}), sites=("locations", {"berlin": "b"}))
    assert list(gaps_of(needs, FULL)) == [
        "the target knows no tax called vat7; name a code for each in options.tax_codes",
        "the target has no name for membership, print-pages; name each (or '*') in options.items",
        "the target has no name for the sites hamburg; name each (or '*') in options.locations",
        "fees are of no site where there are several; name '*' in options.locations for them",
    ]


def test_a_star_stands_for_all_and_what_is_not_needed_is_not_asked_for() -> None:
    assert list(gaps_of(Needs(meters=("items", {"*": "7"}), sites=("locations", {"*": "b"})), FULL)) == []
    assert list(gaps_of(Needs(), FULL)) == []


def test_sites_without_a_class_are_told_where_others_have_one() -> None:
    assert "hamburg" in (untracked(Needs(tracked=True), FULL) or "")
    assert untracked(Needs(), FULL) is None
    assert untracked(Needs(tracked=True), replace(FULL, sites={"hamburg": HAMBURG})) is None
    assert untracked(Needs(tracked=True), CATALOG) is None


def test_accounts_that_nobody_bills_are_counted_and_the_first_named() -> None:
    catalog = replace(FULL, sites={"berlin": replace(BERLIN, walk_in="guests")})
    unknown = [account(f"acme-{n:02}") for n in range(12)]
    told = billed_by_nobody(customers(), catalog, [account("known", stripe="cus_1"), account("guests"), *unknown])
    assert told is not None
    assert told.startswith("12 accounts have no customer at stripe")
    assert "acme-09 and 2 more" in told
    assert "acme-10" not in told
    assert billed_by_nobody(customers(), catalog, [account("known", stripe="cus_1"), account("guests")]) is None


def test_customers_in_a_currency_that_is_not_taken_are_told() -> None:
    swiss = replace(account("swiss", stripe="cus_2"), currency="CHF")
    accounts = [account("known", stripe="cus_1"), swiss, replace(account("other"), currency="CHF")]
    told = foreign(Needs(currency="EUR"), customers(), accounts)
    assert told is not None
    assert "takes EUR alone" in told
    assert "deliveries: swiss;" in told
    assert foreign(Needs(), customers(), accounts) is None


def test_few_shows_no_more_than_ten() -> None:
    assert few([f"{n:02}" for n in range(10)]).endswith("08, 09")
    assert few([f"{n:02}" for n in range(47)]).endswith("09 and 37 more")


@pytest.mark.parametrize(
    "setup",
    [
        stripe.CASE.setup("http://x"),
        quickbooks.CASE.setup("http://x"),
        quickbooks.INVOICES.setup("http://x"),
        xero.CASE.setup("http://x"),
        xero.INVOICES.setup("http://x"),
        square.CASE.setup("http://x"),
        *(case.setup("http://x") for case in spaces.CASES.values()),
    ],
    ids=lambda setup: f"{setup.kind} {setup.mode}",
)
def test_what_the_cases_of_targets_are_set_to_has_no_gap(setup: Setup) -> None:
    """Each of them is sent pages at any site, and takes them."""
    printing = {"flex": Plan(id="flex", name="Flex", prices={"print-pages": ()})}
    sound = replace(FULL, plans=printing, taxes={"vat19": FULL.taxes["vat19"]})
    assert list(gaps_of(KINDS[setup.kind].needs_names(setup), sound)) == []
