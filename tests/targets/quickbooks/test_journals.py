"""What QuickBooks is sent of a day: a journal that names who owes and whom we owe."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from meter.export.payload import DayJournal
from meter.export.targets.books import batch_in
from meter.export.targets.quickbooks import shape_of
from meter.export.targets.quickbooks.entities import TEXT_CHARS_MAX, body_of
from meter.export.targets.quickbooks.rules import Rules
from tests.export.books import entry
from tests.export.gathering import NOW, Desk, account, customers, known
from tests.targets.cases.quickbooks import (
    FIRST_CUSTOMER,
    INCOME,
    LANDLORDS_VENDOR,
    RECEIVABLE,
    WALK_IN,
    item,
    journal,
    posting,
    setup,
)
from tests.targets.fakes.quickbooks import FakeQuickBooks
from tests.targets.quickbooks.given import BATCH, RULES, Make


def test_a_day_is_a_journal_with_a_customer_on_what_is_owed_and_a_vendor_on_what_we_owe() -> None:
    body = body_of(journal(), BATCH, RULES, {"Berlin": "21"})
    assert body["DocNumber"] == journal().number
    assert (body["TxnDate"], body["CurrencyRef"]) == ("2026-11-02", {"value": "EUR"})
    assert body["PrivateNote"] == f"Usage 2026-11-02 berlin [meter:{BATCH}]"
    told = [
        (
            one["JournalEntryLineDetail"]["PostingType"],
            one["Amount"],
            one["JournalEntryLineDetail"].get("Entity", {}).get("Type"),
            one["JournalEntryLineDetail"].get("Entity", {}).get("EntityRef", {}).get("value"),
        )
        for one in body["Line"]
    ]
    assert told == [
        ("Debit", Decimal("26.78"), "Customer", str(FIRST_CUSTOMER)),
        ("Debit", Decimal("4.50"), None, None),
        ("Credit", Decimal("22.50"), None, None),
        ("Credit", Decimal("4.50"), "Vendor", LANDLORDS_VENDOR),
        ("Credit", Decimal("4.28"), None, None),
    ]
    assert {json.dumps(one["JournalEntryLineDetail"]["ClassRef"]) for one in body["Line"]} == {'{"value": "21"}'}
    assert body["Line"][0]["Description"] == "assets:receivable, acme, 2 entries"


@pytest.mark.parametrize(
    ("given", "owed"),
    [
        ({"account": "acme", "party": "77"}, ("Customer", "77")),
        ({"account": "acme"}, ("Customer", WALK_IN)),
        ({}, None),  # a bank or a till: nobody owes it
        ({"party": "77"}, None),
    ],
)
def test_whoever_has_no_customer_of_its_own_owes_as_the_default_one(
    given: dict[str, Any], owed: tuple[str, str] | None
) -> None:
    [body] = body_of(
        journal(postings=(posting("assets:receivable", "1.00", RECEIVABLE, **given),)), BATCH, RULES, {"Berlin": "21"}
    )["Line"]
    entity = body["JournalEntryLineDetail"].get("Entity")
    assert entity == (None if owed is None else {"Type": owed[0], "EntityRef": {"value": owed[1]}})


def test_with_a_posting_for_each_charge_the_landlord_is_still_the_vendor() -> None:
    """There every posting of an entry is about the account, and its customer stands beside each."""
    owing = posting("liabilities:landlord", "-4.50", "4", account="acme", party="77")
    [body] = body_of(journal(postings=(owing,)), BATCH, RULES, {"Berlin": "21"})["Line"]
    assert body["JournalEntryLineDetail"]["Entity"] == {"Type": "Vendor", "EntityRef": {"value": LANDLORDS_VENDOR}}


@pytest.mark.parametrize(("tracking", "field"), [("Class", "ClassRef"), ("Department", "DepartmentRef"), (None, "")])
def test_a_site_is_a_class_or_a_department_or_nothing(tracking: Any, field: str) -> None:
    body = body_of(journal(), BATCH, Rules(tracking=tracking), {"Berlin": "21"})
    found = {name for one in body["Line"] for name in one["JournalEntryLineDetail"] if name.endswith("Ref")}
    assert found == {"AccountRef", field} - {""}


def test_the_home_currency_goes_without_saying_and_no_amount_has_an_exponent() -> None:
    large = posting("assets:receivable", "1E+3", RECEIVABLE, account="acme")
    body = body_of(journal(postings=(large,), tracking=None), BATCH, Rules(home_currency="EUR"), {})
    assert "CurrencyRef" not in body
    assert str(body["Line"][0]["Amount"]) == "1000"


def test_what_comes_to_nothing_has_no_line() -> None:
    nothing = posting("income:room", "0.00", "2")
    assert body_of(journal(postings=(nothing,), tracking=None), BATCH, RULES, {})["Line"] == []


def test_a_long_note_keeps_the_name_of_the_batch() -> None:
    note = body_of(journal(narration="x" * 5000), BATCH, RULES, {"Berlin": "21"})["PrivateNote"]
    assert len(note) == TEXT_CHARS_MAX
    assert batch_in(note) == BATCH


async def test_a_day_that_was_booked_is_in_the_books(vendor: FakeQuickBooks, make: Make) -> None:
    given = replace(setup(vendor.url), customers=customers("books", "quickbooks"))
    desk = Desk(shape_of(given))
    facts = known(account("acme", quickbooks="12"), account("bob"), now=NOW)
    desk.put([entry("a", amount="1.10"), entry("b", amount="2.20"), entry("c", account="bob", amount="4.00")], facts)
    await make().send([item(draft.content) for draft in desk.due(facts) if isinstance(draft.content, DayJournal)])
    assert [(one.account, one.amount, one.customer) for one in vendor.postings()] == [
        (RECEIVABLE, Decimal("3.30"), "12"),
        (RECEIVABLE, Decimal("4.00"), WALK_IN),
        (INCOME, Decimal("-7.30"), ""),
    ]
