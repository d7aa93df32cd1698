"""What Xero is sent, what its answers make of an item, and that its books come to what was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from operator import methodcaller
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.export.contract import Absent, Barred, Delivered, Outcome, Refused, Retry, Uncertain, Untried
from meter.export.gather.days import Days
from meter.export.gather.documents import Documents
from meter.export.gather.gatherer import items_from
from meter.export.gather.invoicing import is_invoiced
from meter.export.http import Answer
from meter.export.reconcile import Expected, reconcile
from meter.export.targets.books import batch_in, figures_of
from meter.export.targets.spec import Means
from meter.export.targets.xero import XERO
from meter.export.targets.xero.documents import TEXT_CHARS_MAX, body_of, entity_of
from meter.export.targets.xero.exporter import LIMITS, XeroTarget
from meter.export.targets.xero.replies import held_of, made
from meter.export.targets.xero.rules import rules_of
from meter.model.catalog import Site
from meter.model.errors import BadInput, Unavailable
from meter.store.outbox import revised
from tests.booked import MARCH, OPERATOR
from tests.export.clocks import VirtualClock
from tests.export.gathering import CATALOG, Desk, account, customers, known
from tests.targets.cases.xero import (
    CASE,
    CUSTOMERS,
    DEBTORS,
    INCOME,
    INVOICES,
    RECEIVABLE,
    VAT,
    VAT_IN,
    fake,
    invoice,
    item,
    journal,
    line,
    number_of,
    open_unhurried,
    posting,
    setup,
)
from tests.targets.driving import Closing, delivered_through_faults, one
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import TENANT, TOKEN_PATH
from tests.targets.random_charges import random_charges, sums_of

Make = Callable[..., XeroTarget]
BATCH = "k" * 32
RULES = rules_of(setup("https://unused"))
CENT = Decimal("0.01")


@pytest.fixture
async def vendor() -> AsyncIterator[FakeXero]:
    async with CASE.fake() as made:
        yield made


@pytest.fixture
def make(vendor: FakeXero, means: Means, closing: Closing) -> Make:
    def opened(clock: Any = None, **changes: Any) -> XeroTarget:
        company = changes.pop("company", TENANT)
        given = replace(setup(changes.pop("url", vendor.url), **changes), company=company)
        return closing(open_unhurried(given, means, *([] if clock is None else [clock])))

    return opened


def answer_of(status: int, content: Any, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


# --- journals ---------------------------------------------------------------------------------------------------------


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


# --- invoices ---------------------------------------------------------------------------------------------------------


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


# --- answers ----------------------------------------------------------------------------------------------------------

INVALID = {
    "Type": "ValidationException",
    "Elements": [
        {
            "Contact": {"Name": "Ada"},
            "ValidationErrors": [{"Message": "Account code '610' is not a valid code for this document."}],
        }
    ],
}
LOCKED = {"Elements": [{"ValidationErrors": [{"Message": "The document date cannot be before the period lock date"}]}]}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (answer_of(400, INVALID), Refused, "Accounts Receivable"),
        (answer_of(400, LOCKED), Refused, "ledger.locked"),
        (answer_of(400, {"Message": "A validation exception occurred"}), Refused, "A validation exception occurred"),
        (answer_of(400, b"<html>"), Refused, "no reason"),
        (answer_of(401, {"Detail": "TokenExpired"}), Barred, "authorise the app again"),
        (answer_of(403, {"Detail": "AuthenticationUnsuccessful"}), Barred, "company (the tenant)"),
        (answer_of(404, {}), Refused, "Xero refuses"),
        (answer_of(409, {}), Uncertain, "same key"),
        (answer_of(429, b"", x_rate_limit_problem="day", retry_after="7000"), Retry, "(day)"),
        (answer_of(500, {"Message": "An error occurred"}), Uncertain, "500"),
        (answer_of(503, b""), Uncertain, "503"),
        (answer_of(302, b""), Refused, "no reason"),
        (answer_of(200, b"not json"), Uncertain, "cannot be read"),
        (answer_of(200, {"Invoices": []}), Uncertain, "cannot be read"),
        (answer_of(200, {"Invoices": [{"HasErrors": True, **LOCKED["Elements"][0]}]}), Refused, "lock date"),
        (answer_of(200, {"Invoices": [{"StatusAttributeString": "ERROR"}]}), Refused, "does not say which"),
    ],
)
def test_what_an_answer_makes_of_an_item(answer: Answer, kind: type, words: str) -> None:
    outcome = made(answer, "Invoices")
    assert isinstance(outcome, kind)
    assert words in getattr(outcome, "reason", "")
    assert "Ada" not in getattr(outcome, "reason", "")


@pytest.mark.parametrize(
    ("problem", "told", "wait_s"),
    [
        ("minute", None, 60.0),
        ("concurrent", None, 1.0),
        ("day", None, 600.0),
        ("day", "7000", 7000.0),
        ("", None, None),
    ],
)
def test_how_long_xero_wants_to_be_left_alone(problem: str, told: str | None, wait_s: float | None) -> None:
    headers = {"x_rate_limit_problem": problem} | ({} if told is None else {"retry_after": told})
    outcome = made(answer_of(429, b"", **headers), "Invoices")
    assert isinstance(outcome, Retry)
    assert (outcome.throttled, outcome.after_s) == (True, wait_s)


def test_what_is_made_is_what_the_answer_holds() -> None:
    found = made(answer_of(200, {"Invoices": [{"InvoiceID": "i-1", "Total": 11.9, "Warnings": [{}]}]}), "Invoices")
    assert isinstance(found, Mapping)
    assert found["Total"] == Decimal("11.9")


def test_what_is_not_ours_is_not_held() -> None:
    assert held_of("Invoices", {"Reference": "PO 17"}, base_currency="EUR") is None
    assert held_of("ManualJournals", {"Narration": None}, base_currency="EUR") is None


# --- settings ---------------------------------------------------------------------------------------------------------


def test_each_mode_has_its_shape() -> None:
    assert isinstance(XERO.shape(setup("https://unused")), Days)
    assert isinstance(XERO.shape(setup("https://unused", "invoices")), Documents)
    assert [XERO.invoices(setup("https://unused", mode)) for mode in ("journals", "invoices")] == [False, True]


@pytest.mark.parametrize(
    ("mode", "changes", "fault"),
    [
        ("journals", {}, ""),
        ("invoices", {}, ""),
        ("journals", {"accounts": {"income:*": 200}}, ""),
        ("journals", {"accounts": {}}, "options.accounts"),
        ("journals", {"accounts": {"income:*": ""}}, "options.accounts"),
        ("journals", {"status": "submitted"}, "options.status"),
        ("invoices", {"sales": {}}, "options.sales"),
        ("invoices", {"sales": {}, "items": {"*": "USE"}}, ""),
        ("invoices", {"terms_days": -1}, "options.terms_days"),
        ("journals", {"url": "meter.example"}, "options.url"),
        ("journals", {"url": "https://[::1"}, "options.url"),
        ("journals", {"grant": "client_credentials"}, ""),
    ],
)
def test_a_setting_that_cannot_work_is_named(mode: Any, changes: dict[str, Any], fault: str) -> None:
    faults = XERO.faults(setup("https://unused", mode, **changes))
    assert [one.split(":")[0] for one in faults] == ([fault] if fault else [])


def test_an_app_needs_its_first_refresh_token() -> None:
    given = replace(setup("https://unused"), refresh_token=None)
    [fault] = XERO.faults(given)
    assert "client_credentials" in fault
    assert XERO.faults(replace(given, options={**given.options, "grant": "client_credentials"})) == []


def test_codes_may_be_written_as_numbers() -> None:
    assert rules_of(setup("https://unused", sales={"room": 201})).sales == {"room": "201"}


# --- with a stateful vendor -------------------------------------------------------------------------------------------


async def test_a_journal_is_held_as_it_was_sent(vendor: FakeXero, make: Make) -> None:
    sent = item(journal())
    outcome = await one(make().send([sent]))
    assert outcome == Delivered(vendor.postings()[0].entry)
    assert CASE.books(vendor) == CASE.wanted([sent])
    assert {posted.dimensions for posted in vendor.postings()} == {("Site:Berlin",)}
    assert sum(posted.amount for posted in vendor.postings()) == 0
    [asked] = vendor.calls("PUT")
    assert (asked.call.headers["idempotency-key"], asked.call.headers["xero-tenant-id"]) == (sent.key, TENANT)


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


async def test_an_account_that_xero_keeps_itself_takes_no_journal(vendor: FakeXero, make: Make) -> None:
    debts = journal(postings=(posting("assets:receivable", "1.00", DEBTORS), posting("income:room", "-1.00", INCOME)))
    outcome = await one(make().send([item(debts)]))
    assert isinstance(outcome, Refused)
    assert "Accounts Receivable" in outcome.reason
    assert "options.accounts" in outcome.reason or "target's options" in outcome.reason
    assert vendor.postings() == ()


async def test_a_locked_day_is_refused_with_what_to_do(vendor: FakeXero, make: Make) -> None:
    vendor.locked = date(2026, 11, 30)
    sent = [item(journal()), item(invoice())]
    for mode, what in zip(("journals", "invoices"), sent, strict=True):
        outcome = await one(make(mode=mode).send([what]))
        assert isinstance(outcome, Refused)
        assert "lock date" in outcome.reason
        assert "ledger.locked" in outcome.reason
    vendor.locked = None
    assert isinstance(await one(make().send([revised(sent[0], 1)])), Delivered)


async def test_a_journal_in_another_currency_is_refused_with_what_to_do(vendor: FakeXero, make: Make) -> None:
    target = make()
    outcome = await one(target.send([item(journal(currency="USD"))]))
    assert isinstance(outcome, Refused)
    assert "in USD" in outcome.reason
    assert 'mode = "invoices"' in outcome.reason
    await target.send([item(journal(part=part)) for part in (1, 2)])
    assert len(vendor.calls("GET", "/Organisation")) == 1
    assert isinstance(await one(make(mode="invoices").send([item(invoice(currency="USD"))])), Delivered)


async def test_tracking_options_are_asked_for_once(vendor: FakeXero, make: Make) -> None:
    target = make()
    days = [journal(site=site) for site in ("berlin", "hamburg", "köln's")]
    await target.send([item(day) for day in days])
    await target.send([item(journal(part=2))])
    assert len(vendor.calls("GET", "/TrackingCategories")) == 1
    assert CASE.books(vendor).keys() == {item(what).batch for what in [*days, journal(part=2)]}


async def test_a_tracking_option_that_is_not_there_is_said_or_made(vendor: FakeXero, make: Make) -> None:
    sent = item(journal(tracking="München"))
    outcome = await one(make().send([sent]))
    assert isinstance(outcome, Refused)
    assert "no option 'München' in the tracking category 'Site'" in outcome.reason
    assert "options.create_tracking" in outcome.reason
    assert vendor.postings() == ()
    assert isinstance(await one(make(create_tracking=True).send([sent])), Delivered)
    assert {posted.dimensions for posted in vendor.postings()} == {("Site:München",)}
    other = item(journal(part=2))
    assert isinstance(await one(make(create_tracking=True, tracking="Place").send([other])), Delivered)
    assert ("Place:Berlin",) in {posted.dimensions for posted in vendor.postings()}
    full = await one(make(create_tracking=True, tracking="Third").send([item(journal(part=3))]))
    assert isinstance(full, Refused)
    assert "two tracking categories" in full.reason


async def test_a_credit_note_is_taken_off_its_invoice_as_far_as_that_is_open(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    first = invoice(line("100.00"))
    partial = invoice(line("-30.00"), part=2, credits=first.number)
    more = invoice(line("-90.00"), part=3, credits=first.number)
    late = invoice(line("-1.00"), part=4, credits=first.number)
    sent = [item(what) for what in (first, partial, more, late)]
    for what in sent:
        assert isinstance(await one(target.send([what])), Delivered)
    [held] = vendor.documents["Invoices"].values()
    assert (held["Status"], held["AmountDue"], held["AmountCredited"]) == ("PAID", 0, Decimal("119.00"))
    left = {one["CreditNoteNumber"]: one["RemainingCredit"] for one in vendor.documents["CreditNotes"].values()}
    assert left == {partial.number: 0, more.number: Decimal("23.80"), late.number: Decimal("1.19")}
    assert INVOICES.books(vendor) == INVOICES.wanted(sent)
    assert isinstance(await one(target.look_up([sent[3]])), Delivered)


async def test_credit_stays_where_its_invoice_is_another_customers_or_not_there(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    others = invoice(customer=1)
    strays = [
        invoice(line("-1.00"), part=2, credits=others.number),
        invoice(line("-1.00"), part=3, credits="20261031-NOWHERE0"),
        invoice(line("-1.00"), part=4),
    ]
    sent = [item(what) for what in (others, *strays)]
    assert all(isinstance(answer, Delivered) for answer in await target.send(sent))
    assert vendor.calls("PUT", "/Allocations") == []
    assert all(isinstance(found, Delivered) for found in await target.look_up(sent))


@pytest.mark.parametrize("path", ["/CreditNotes", "/Invoices", "/Allocations"])
@pytest.mark.parametrize("done", ["done", "not done"])
async def test_a_credit_note_goes_on_where_it_stopped(vendor: FakeXero, make: Make, path: str, done: str) -> None:
    target = make(mode="invoices")
    first, note = item(invoice(line("100.00"))), item(invoice(line("-30.00"), part=2, credits=number_of(0)))
    await target.send([first])
    vendor.advance(minutes=10)
    outcome: Outcome | None = None
    vendor.fail_next(500, committed=done == "done", path=path)
    for _ in range(3):
        outcome = await one(target.send([note]))
        if isinstance(outcome, Delivered):
            break
        vendor.advance(minutes=10)  # no key helps
        found = await one(target.look_up([note]))
        if isinstance(found, Delivered):
            outcome = found
            break
        assert isinstance(found, Absent)
    assert isinstance(outcome, Delivered)
    [held] = vendor.documents["CreditNotes"].values()
    assert held["RemainingCredit"] == 0
    [owed] = vendor.documents["Invoices"].values()
    assert owed["AmountDue"] == Decimal("83.30")


@pytest.mark.parametrize(
    ("status", "path", "kind"),
    [
        (500, "/ManualJournals", Uncertain),
        (503, "/ManualJournals", Uncertain),
        (409, "/ManualJournals", Uncertain),
        (429, "/ManualJournals", Retry),
        (503, "/TrackingCategories", Retry),
        (500, "/Organisation", Retry),
        (403, "/Organisation", Barred),
    ],
)
async def test_only_what_may_be_held_is_uncertain(
    vendor: FakeXero, make: Make, status: int, path: str, kind: type
) -> None:
    vendor.fail_next(status, committed=False, path=path, method="PUT" if path == "/ManualJournals" else "GET")
    outcome = await one(make().send([item(journal())]))
    assert isinstance(outcome, kind)
    assert vendor.postings() == ()


async def test_a_journal_that_landed_late_is_not_sent_again(vendor: FakeXero, make: Make) -> None:
    target, sent = make(), item(journal())
    assert await target.look_up([sent]) == [Absent()]
    first = await target.send([sent])  # as by a request that was on its way for longer than anybody waited
    vendor.advance(days=3)  # no key helps
    assert await target.send([sent]) == first
    assert len(vendor.documents["ManualJournals"]) == 1


async def test_a_lost_answer_is_found_by_its_name(vendor: FakeXero, make: Make) -> None:
    for mode, what, path in (
        ("journals", item(journal()), "/ManualJournals"),
        ("invoices", item(invoice()), "/Invoices"),
        ("invoices", item(invoice(line("-10.00"), part=2)), "/CreditNotes"),
    ):
        target = make(mode=mode)
        assert isinstance(await one(target.look_up([what])), Absent)
        if path == "/CreditNotes":
            await target.send([what])
        else:
            vendor.fail_next(500, committed=True, path=path, method="PUT")
            assert isinstance(await one(target.send([what])), Uncertain)
        assert isinstance(await one(target.look_up([what])), Delivered)
        vendor.fail_next(503, committed=False, path=path)
        assert isinstance(await one(target.look_up([what])), Uncertain)


async def test_a_number_that_is_taken_is_ours_or_not(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    sent = item(invoice())
    first = await one(target.send([sent]))
    vendor.advance(minutes=10)  # its key is forgotten
    assert await one(target.send([sent])) == first
    assert len(vendor.books()) == 1
    [held] = vendor.books()
    vendor.by_hand(held.id, {"Reference": "by hand"})
    vendor.advance(minutes=10)
    outcome = await one(target.send([sent]))
    assert isinstance(outcome, Refused)
    assert f"({held.id}) under the number {invoice().number}" in outcome.reason
    found = await one(target.look_up([sent]))
    assert isinstance(found, Uncertain)
    assert f"({held.id}) under the number {invoice().number}" in found.reason


async def test_a_credit_note_of_another_is_not_taken_for_ours(vendor: FakeXero, make: Make) -> None:
    target = make(mode="invoices")
    sent = item(invoice(line("-10.00"), part=2))
    await one(target.send([sent]))
    [held] = vendor.books()
    vendor.by_hand(held.id, {"Reference": "by hand"})
    vendor.advance(minutes=10)
    assert isinstance(await one(target.look_up([sent])), Uncertain)
    outcome = await one(target.send([sent]))
    assert isinstance(outcome, Refused)
    assert held.id in outcome.reason
    assert len(vendor.books()) == 1


async def test_xero_is_left_alone_for_as_long_as_it_asks(vendor: FakeXero, make: Make) -> None:
    clock = VirtualClock()
    target = make(clock=clock)
    vendor.fail_next(429, committed=False, path="/ManualJournals", method="PUT")
    refused = await one(target.send([item(journal())]))
    assert isinstance(refused, Retry)
    asked = len(vendor.requests)
    outcome = await one(target.send([item(journal())]))
    assert isinstance(outcome, Retry)
    assert outcome.throttled
    assert isinstance(await one(target.look_up([item(journal())])), Untried)
    assert len(vendor.requests) == asked
    clock.moment_s += 61
    assert isinstance(await one(target.send([item(journal())])), Delivered)


async def test_a_days_quota_is_kept_before_xero_refuses(means: Means) -> None:
    clock = VirtualClock()
    async with fake(day_max=6) as vendor:
        target = open_unhurried(setup(vendor.url), means, clock)
        outcomes = [await one(target.send([item(journal(part=part))])) for part in range(1, 5)]
        # The organisation and the tracking category are asked for once each.
        assert [isinstance(outcome, Delivered) for outcome in outcomes] == [True, True, False, False]
        assert all(isinstance(outcome, Retry) and outcome.throttled for outcome in outcomes[2:])
        assert all(recorded.status != 429 for recorded in vendor.requests)
        clock.moment_s += 61
        assert isinstance(await one(target.send([item(journal(part=3))])), Retry)
        assert vendor.requests[-1].status == 429
        vendor.advance(days=1)
        clock.moment_s += 86_400
        assert isinstance(await one(target.send([item(journal(part=3))])), Delivered)
        await target.close()


async def test_five_requests_at_a_time_are_not_reached(vendor: FakeXero, make: Make) -> None:
    target = make(tracking="")
    sent = [item(journal(site=f"site-{number}")) for number in range(30)]
    assert all(isinstance(outcome, Delivered) for outcome in await target.send(sent))
    assert LIMITS.in_flight == 4
    assert LIMITS.rate_per_s is not None
    assert LIMITS.rate_per_s * 60 + LIMITS.burst <= 60
    assert all(recorded.status == 200 for recorded in vendor.requests)


async def test_a_token_that_ends_loses_nothing(vendor: FakeXero, make: Make) -> None:
    target = make()
    assert isinstance(await one(target.send([item(journal())])), Delivered)
    vendor.advance(hours=1)
    assert isinstance(await one(target.send([item(journal(part=2))])), Delivered)
    vendor.advance(hours=1)
    vendor.tokens.refresh.clear()
    outcome = await one(target.send([item(journal(part=3))]))
    assert isinstance(outcome, Barred)
    assert "offline_access" in outcome.reason
    assert isinstance(await one(target.look_up([item(journal())])), Barred)


async def test_a_token_that_is_refused_early_is_replaced_for_all_that_came_with_it(
    vendor: FakeXero, make: Make
) -> None:
    await make().check()
    vendor.tokens.access.clear()  # as when somebody connects the app anew
    sent = [item(journal(site=site)) for site in ("berlin", "hamburg", "köln's")]
    outcomes = await make(tracking="").send(sent)
    assert all(isinstance(outcome, Delivered) for outcome in outcomes), outcomes


async def test_a_custom_connection_needs_no_refresh_token(vendor: FakeXero, means: Means) -> None:
    given = replace(setup(vendor.url, grant="client_credentials"), refresh_token=None)
    target = open_unhurried(given, means)
    assert isinstance(await one(target.send([item(journal())])), Delivered)
    [asked] = vendor.calls("POST", TOKEN_PATH)
    assert asked.call.body == b"grant_type=client_credentials"
    await target.close()


async def test_checking_reads_the_organisation_and_names_a_wrong_tenant(vendor: FakeXero, make: Make) -> None:
    await make().check()
    assert [one.call.path for one in vendor.calls("GET")] == ["/api.xro/2.0/Organisation"]
    with pytest.raises(BadInput, match=f"company.*connected to these tenants: {TENANT}"):
        await make(company="0" * 8).check()
    vendor.fail_next(503, committed=False, path="/Organisation")
    with pytest.raises(Unavailable):
        await make().check()
    with pytest.raises(Unavailable):
        await make(url="http://127.0.0.1:9").check()


async def test_checking_says_that_an_authorisation_has_ended(vendor: FakeXero, make: Make) -> None:
    vendor.tokens.refresh.clear()
    with pytest.raises(BadInput, match="offline_access"):
        await make().check()


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


async def test_an_item_of_another_kind_is_refused(make: Make) -> None:
    sent = replace(item(journal()), operation="charges", payload=b'{"charges":[]}')
    for broken in (sent, replace(item(journal()), payload=b"{}")):
        assert isinstance(await one(make().send([broken])), Refused)
        assert isinstance(await one(make().look_up([broken])), Absent)


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


async def test_tracking_options_that_are_not_there_are_told_before_they_are_needed(make: Make) -> None:
    hamburg = Site(id="hamburg", name="Hamburg", timezone="UTC", ledger_class="Nowhere")
    catalog = replace(CATALOG, sites={"hamburg": hamburg})
    [told] = await make().mismatches(catalog)
    assert "no option 'Nowhere' in the tracking category 'Site'" in told
    assert await make(create_tracking=True).mismatches(catalog) == ()
    assert await make(tracking="").mismatches(catalog) == ()


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


@pytest.mark.parametrize("case", [CASE, INVOICES], ids=["journals", "invoices"])
@pytest.mark.parametrize("seed", [1])
async def test_through_a_network_that_fails_each_is_held_once(means: Means, case: Any, seed: int) -> None:
    later = methodcaller("advance", hours=5)
    async with delivered_through_faults(case, means, seed=seed, later=later) as (vendor, made):
        assert len(vendor.books()) + len(vendor.documents["ManualJournals"]) == len(made)
        assert len(vendor.calls("POST", TOKEN_PATH)) >= 3
        _assert_allocated(vendor)


def _assert_allocated(vendor: FakeXero) -> None:
    """Nothing of a credit note is left while the invoice that it gives back on is open."""
    due = {one["InvoiceNumber"]: one["AmountDue"] for one in vendor.documents["Invoices"].values()}
    for note in vendor.documents["CreditNotes"].values():
        about = note["Reference"].partition("gives back on ")[2].split()[0]
        assert note["RemainingCredit"] == 0 or due[about] == 0


def test_no_setting_shows_its_secret() -> None:
    shown = repr(setup("https://unused"))
    assert "refresh-0" not in shown
    assert "'secret'" not in shown
