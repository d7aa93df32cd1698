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
from meter.model.catalog import Catalog, Tax
from meter.model.charge import Charge, Line, LineKey, LineTax, SalesRole, Shared
from meter.model.event import EventKey
from meter.model.journal import JournalEntry
from meter.model.ledger import IncomeRule, Ledger
from meter.model.period import Period

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MARCH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
BERLINS_MARCH = Period(datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC))
CATALOG = Catalog(
    operator="northside",
    version=1,
    effective=None,
    currency="EUR",
    timezone="Europe/Berlin",
    taxes={
        "vat19": Tax(name="vat19", rate=Decimal("0.19"), account="liabilities:vat"),
        "plain": Tax(name="plain", rate=Decimal(0)),
    },
)
VAT = LineTax(name="vat19", rate=Decimal("0.19"), inclusive=False)


def charge(*, rounded: str = "0.00", tax: str = "0.00", line_tax: LineTax | None = None, **fields: Any) -> Charge:
    source = fields.pop("source", "berlin/printer/1")
    line = Line(
        key=LineKey(NOON, source, "e1", fields.get("meter", "print-pages"), part=fields.pop("part", "")),
        **{
            "account": "acme",
            "member": "ada",
            "site": "berlin",
            "meter": "print-pages",
            "plan": None,
            "kind": "usage",
            "event_type": "print.job",
            "events": (EventKey(source, "e1"),),
            "period": MARCH,
            "quantity": Decimal(3),
            "unit": "page",
            "covered": Decimal(0),
            "billable": Decimal(3),
            "dimensions": {},
            "price": None,
            "amount": Decimal(rounded),
            "currency": "EUR",
            "tax": line_tax,
            **fields,
        },
    )
    return Charge(
        id="ch_1",
        line=line,
        role="original",
        revision=0,
        rounded=Decimal(rounded),
        tax_amount=Decimal(tax),
        corrects=None,
        reason=None,
        booked_at=NOON,
        invoice_period=MARCH,
    )


def entry_for(charge: Charge, *, catalog: Catalog, day: date) -> JournalEntry | None:
    entries = entries_of(charge, catalog=catalog, day=day)
    assert len(entries) <= 1
    return entries[0] if entries else None


def posted(charge: Charge, catalog: Catalog = CATALOG) -> dict[str, Decimal]:
    entry = entry_for(charge, catalog=catalog, day=DAY)
    if entry is None:
        return {}
    entry.check_invariants()
    assert len({posting.account for posting in entry.postings}) == len(entry.postings)
    return {posting.account: posting.amount for posting in entry.postings}


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


def test_each_till_has_the_clearing_account_that_its_source_names() -> None:
    catalog = replace(CATALOG, ledger=Ledger(accounts={"clearing.square": "assets:clearing:square"}))
    square = charge(rounded="5.00", settlement="paid", source="berlin/square/till")
    assert set(posted(square, catalog)) == {"assets:clearing:square", "income:print-pages"}
    assert "assets:clearing" in posted(charge(rounded="5.00", settlement="paid", source="square/till/1"), catalog)


def test_what_moves_no_money_has_no_entry() -> None:
    assert entry_for(charge(), catalog=CATALOG, day=DAY) is None


def fee(meter: str, rounded: str, *, tax: str = "0.00", **fields: Any) -> Charge:
    """A line that no event stands for."""
    nowhere: dict[str, Any] = {"source": "", "site": "", "member": None, "event_type": "", "events": ()}
    line_tax = VAT if tax != "0.00" else None
    return charge(rounded=rounded, tax=tax, line_tax=line_tax, **{**nowhere, "meter": meter, "kind": "fee", **fields})


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


def shared(role: SalesRole, amount: str, party: str = "mitte") -> dict[str, Any]:
    return {"shared": (Shared(party=party, role=role, amount=Decimal(amount)),)}


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


cents = st.decimals(min_value=-1_000_000, max_value=1_000_000, places=2)


def negated(entry: JournalEntry | None) -> dict[str, Decimal]:
    return {} if entry is None else {posting.account: -posting.amount for posting in entry.postings}


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
