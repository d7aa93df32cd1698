"""What Xero is sent of a day: a journal with debits above and credits below zero."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from meter.export.contract import Delivered, Refused
from meter.export.targets.books import batch_in, figures_of
from meter.export.targets.xero.documents import TEXT_CHARS_MAX, body_of
from meter.model.errors import BadInput
from tests.targets.cases.xero import DEBTORS, INCOME, RECEIVABLE, invoice, item, journal, posting
from tests.targets.driving import one
from tests.targets.fakes.xero import FakeXero
from tests.targets.xero.given import BATCH, RULES, Make


def test_a_day_is_a_journal_with_debits_above_and_credits_below_zero() -> None:
    body = body_of(journal(), BATCH, RULES)
    assert {name: value for name, value in body.items() if name != "JournalLines"} == {
        "Narration": f"Usage 2026-11-02 berlin ({journal().number}) [meter:{BATCH}]",
        "Date": "2026-11-02",
        "Status": "POSTED",
        "LineAmountTypes": "NoTax",
    }
    assert [(told["AccountCode"], str(told["LineAmount"])) for told in body["JournalLines"]] == [
        (RECEIVABLE, "26.78"),
        ("404", "4.50"),
        (INCOME, "-22.50"),
        ("825", "-4.50"),
        ("820", "-4.28"),
    ]
    assert body["JournalLines"][0] == {
        "LineAmount": Decimal("26.78"),
        "AccountCode": RECEIVABLE,
        "TaxType": "NONE",
        "Description": "assets:receivable, acme, 2 entries",
        "Tracking": [{"Name": "Site", "Option": "Berlin"}],
    }


def test_what_a_journal_says_follows_the_options() -> None:
    rules = replace(RULES, status="draft", untaxed="BASEXCLUDED", tracking="", url="https://meter.example")
    body = body_of(journal(), BATCH, rules)
    assert (body["Status"], body["Url"]) == (
        "DRAFT",
        "https://meter.example/v1/journal?since=2026-11-02&until=2026-11-02",
    )
    assert {told["TaxType"] for told in body["JournalLines"]} == {"BASEXCLUDED"}
    assert not any("Tracking" in told for told in body["JournalLines"])
    month = body_of(journal(date(2026, 11, 30)), BATCH, replace(rules, grain="period"))
    assert month["Url"].endswith("since=2026-11-01&until=2026-11-30")


def test_a_site_without_a_class_and_an_amount_of_nothing_are_left_out() -> None:
    nothing = posting("income:other", "0.00", INCOME)
    body = body_of(journal(tracking=None, postings=(*journal().postings, nothing)), BATCH, RULES)
    assert len(body["JournalLines"]) == len(journal().postings) == figures_of(journal()).lines
    assert not any("Tracking" in told for told in body["JournalLines"])


def test_however_long_a_narration_is_the_batch_stays_in_it() -> None:
    text = body_of(journal(narration="n" * 9000), BATCH, RULES)["Narration"]
    assert (len(text), batch_in(text)) == (TEXT_CHARS_MAX, BATCH)


def test_amounts_leave_without_an_exponent() -> None:
    large = journal(postings=(posting("a", "1E+3", RECEIVABLE), posting("b", "-1E+3", INCOME)))
    assert [str(told["LineAmount"]) for told in body_of(large, BATCH, RULES)["JournalLines"]] == ["1000.00", "-1000.00"]


def test_what_xero_could_not_keep_is_said() -> None:
    mils = journal(currency="KWD", postings=(posting("a", "1.005", RECEIVABLE), posting("b", "-1.005", INCOME)))
    with pytest.raises(BadInput, match=r"1\.005 has more decimals than the 2"):
        body_of(mils, BATCH, RULES)


async def test_an_account_that_xero_keeps_itself_takes_no_journal(vendor: FakeXero, make: Make) -> None:
    debts = journal(postings=(posting("assets:receivable", "1.00", DEBTORS), posting("income:room", "-1.00", INCOME)))
    outcome = await one(make().send([item(debts)]))
    assert isinstance(outcome, Refused)
    assert "Accounts Receivable" in outcome.reason
    assert "options.accounts" in outcome.reason or "target's options" in outcome.reason
    assert vendor.postings() == ()


async def test_a_journal_in_another_currency_is_refused_with_what_to_do(vendor: FakeXero, make: Make) -> None:
    target = make()
    outcome = await one(target.send([item(journal(currency="USD"))]))
    assert isinstance(outcome, Refused)
    assert "in USD" in outcome.reason
    assert 'mode = "invoices"' in outcome.reason
    await target.send([item(journal(part=part)) for part in (1, 2)])
    assert len(vendor.calls("GET", "/Organisation")) == 1
    assert isinstance(await one(make(mode="invoices").send([item(invoice(currency="USD"))])), Delivered)
