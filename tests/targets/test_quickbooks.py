"""What QuickBooks is sent, what its answers make of an item, and that its books come to what was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from operator import methodcaller
from typing import Any

import pytest
from msgspec.structs import replace as with_

from meter.export.contract import Absent, Barred, Delivered, Finding, Outcome, Refused, Retry, Uncertain, Untried
from meter.export.gather.documents import Documents
from meter.export.http import Answer
from meter.export.payload import DayJournal, Invoice
from meter.export.reconcile import Expected, reconcile
from meter.export.targets.books import batch_in
from meter.export.targets.quickbooks import QUICKBOOKS, faults_of, shape_of
from meter.export.targets.quickbooks.api import quoted
from meter.export.targets.quickbooks.entities import TEXT_CHARS_MAX, body_of, entity_of
from meter.export.targets.quickbooks.exporter import QuickBooksTarget
from meter.export.targets.quickbooks.replies import outcome_of_answer
from meter.export.targets.quickbooks.rules import Rules, rules_of
from meter.export.targets.spec import Means, Setup
from meter.model.catalog import Site
from meter.model.charge import LineTax
from meter.model.errors import BadInput, Unavailable
from tests.booked import MARCH, a_charge, a_line
from tests.export.books import entry
from tests.export.clocks import VirtualClock
from tests.export.gathering import CATALOG, NOW, Desk, account, customers, known
from tests.targets.cases.quickbooks import (
    CASE,
    DEPOSIT,
    EXEMPT,
    FIRST_CUSTOMER,
    INCOME,
    INVOICES,
    LANDLORDS_VENDOR,
    RECEIVABLE,
    SUSPENSE,
    TAX_CODE,
    TAX_RATE,
    VAT,
    WALK_IN,
    fake,
    invoice,
    item,
    journal,
    line,
    open_unhurried,
    posting,
    setup,
)
from tests.targets.driving import Closing, delivered_through_faults, one
from tests.targets.fakes.quickbooks import TOKEN_PATH, FakeQuickBooks

Make = Callable[..., QuickBooksTarget]
BATCH = "k" * 32
RULES = rules_of(setup("https://unused"))


@pytest.fixture
async def vendor() -> AsyncIterator[FakeQuickBooks]:
    async with CASE.fake() as made:
        yield made


@pytest.fixture
def make(vendor: FakeQuickBooks, means: Means, closing: Closing) -> Make:
    def made(**options: Any) -> QuickBooksTarget:
        clock = options.pop("clock", None)
        return closing(open_unhurried(setup(options.pop("url", vendor.url), **options), means, clock))

    return made


# --- journals ---------------------------------------------------------------------------------------------------------


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


# --- invoices ---------------------------------------------------------------------------------------------------------


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


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "changes", "fault"),
    [
        ("journals", {"accounts": {}}, "options.accounts"),
        ("invoices", {"items": {}}, "options.items"),
        ("journals", {"accounts": {"income:*": 4}}, "needs an id as a string"),
        ("journals", {"terms_days": 400}, "options.terms_days"),
        ("invoices", {"tax_rates": {}}, "cents would differ"),
    ],
)
def test_what_is_wrong_with_the_settings_is_named(mode: Any, changes: dict[str, Any], fault: str) -> None:
    [said] = faults_of(setup("https://unused", mode, **changes))
    assert fault in said


def test_a_realm_has_digits_only() -> None:
    given = replace(setup("https://unused"), company="../9130347596842384")
    assert "digits only" in faults_of(given)[0]
    assert faults_of(setup("https://unused")) == []


def test_the_mode_decides_what_is_made() -> None:
    given = replace(setup("https://unused", "invoices"), customers=customers("books", "quickbooks"))
    assert isinstance(shape_of(given), Documents)
    assert shape_of(replace(given, mode="journals")).reads == "entries"
    assert (QUICKBOOKS.invoices(given), QUICKBOOKS.books) == (True, True)


# --- answers ----------------------------------------------------------------------------------------------------------


def fault(code: str, text: str = "what it says", key: str = "Fault") -> dict[str, Any]:
    names = ("Error", "Message", "Detail") if key == "Fault" else ("error", "message", "detail")
    return {key: {names[0]: [{names[1]: text, names[2]: text, "code": code}], "type": "ValidationFault"}}


@pytest.mark.parametrize(
    ("status", "content", "outcome", "words"),
    [
        (400, fault("2500"), Refused, "not there or inactive"),
        (400, fault("6000"), Refused, "needs a customer"),
        (400, fault("6210"), Refused, "books are closed"),
        (400, fault("2020"), Refused, "(2020): what it says"),
        (400, fault("5010"), Retry, "for now"),
        (400, fault("6190"), Barred, "subscription has ended"),
        (403, fault("3100", key="fault"), Barred, "set company to its id"),
        (401, fault("3200", key="fault"), Barred, "authorise the app"),
        (401, {}, Barred, "authorise the app"),
        (429, fault("3001"), Retry, "too often"),
        (400, fault("3001"), Retry, "too often"),
        (500, fault("10000"), Uncertain, "500"),
        (503, {}, Uncertain, "503"),
        (409, {}, Retry, "409"),
        (302, {}, Refused, "base_url"),
        (200, {}, Uncertain, "cannot be read"),
        (404, {}, Refused, "404"),
    ],
)
def test_what_an_answer_makes_of_an_item(status: int, content: Any, outcome: type[Outcome], words: str) -> None:
    made = outcome_of_answer(Answer(status=status, headers={}, body=json.dumps(content).encode()))
    assert isinstance(made, outcome)
    assert not isinstance(made, Delivered | Untried)
    assert words in made.reason
    assert isinstance(made, Retry) is (outcome is Retry)
    if isinstance(made, Retry):
        assert made.throttled is ("too often" in words)
        assert made.after_s == (60.0 if made.throttled else None)


@pytest.mark.parametrize("text", ["Köln's", "a\\' or 'x' = 'x", "\\"])
def test_a_name_cannot_leave_its_quotes(text: str) -> None:
    made = quoted(text)
    assert made[1:-1].replace("\\\\", "").replace("\\'", "").count("'") == 0
    with pytest.raises(BadInput):
        quoted("a\nb")


# --- with a stateful vendor -------------------------------------------------------------------------------------------


async def test_a_journal_is_held_as_it_was_sent(vendor: FakeQuickBooks, make: Make) -> None:
    sent = item(journal())
    outcome = await one(make().send([sent]))
    [held] = vendor.books()
    assert outcome == Delivered(held.id)
    assert CASE.books(vendor) == CASE.wanted([sent])
    berlin = next(id for id, one in vendor.entities["Class"].items() if one["Name"] == "Berlin")
    assert {posted.dimensions for posted in vendor.postings()} == {(berlin,)}
    assert sum(posted.amount for posted in vendor.postings()) == 0


async def test_a_class_is_asked_for_once(vendor: FakeQuickBooks, make: Make) -> None:
    target = make()
    for part in range(1, 4):
        await target.send([item(journal(part=part))])
    assert len(vendor.calls("GET", "/query")) == 1


async def test_a_class_that_is_not_there_is_said_or_made(vendor: FakeQuickBooks, make: Make) -> None:
    sent = item(journal(tracking="München"))
    outcome = await one(make().send([sent]))
    assert isinstance(outcome, Refused)
    assert "no class called 'München'" in outcome.reason
    assert "options.create_tracking" in outcome.reason
    assert vendor.books() == ()
    assert isinstance(await one(make(create_tracking=True).send([sent])), Delivered)
    assert [one["Name"] for one in vendor.entities["Class"].values()][-1] == "München"
    nested = await one(make(create_tracking=True).send([item(journal(tracking="Bayern:München"))]))
    assert isinstance(nested, Refused)
    assert "below another" in nested.reason


async def test_a_class_that_is_inactive_is_not_made_again(vendor: FakeQuickBooks, make: Make) -> None:
    vendor.add("Class", Name="München", Active=False)  # no query finds it, and its name is taken
    outcome = await one(make(create_tracking=True).send([item(journal(tracking="München"))]))
    assert isinstance(outcome, Refused)


async def test_what_quickbooks_refuses_says_what_to_do(vendor: FakeQuickBooks, make: Make) -> None:
    outcome = await one(make(customer="").send([item(journal(postings=_owed_by_nobody()))]))
    assert isinstance(outcome, Refused)
    assert "choose a customer" in outcome.reason
    assert "options.customer" in outcome.reason
    gone = journal(postings=(posting("assets:till", "1.00", "999"), posting("income:room", "-1.00", "2")))
    outcome = await one(make().send([item(gone)]))
    assert isinstance(outcome, Refused)
    assert "2500" in outcome.reason
    assert "check the options" in outcome.reason


def _owed_by_nobody() -> Any:
    return (posting("assets:receivable", "1.00", RECEIVABLE, account="acme"), posting("income:room", "-1.00", "2"))


@pytest.mark.parametrize(
    "given",
    [
        journal(
            currency="KWD",
            postings=(posting("equity:a", "1.005", SUSPENSE), posting("income:room", "-1.005", INCOME)),
        ),
        invoice(line("1.234", tax=None), currency="KWD"),
        invoice(with_(line("1.23"), tax_amount=Decimal("0.062")), currency="BHD"),
    ],
)
async def test_what_quickbooks_would_round_is_refused_and_not_sent(
    vendor: FakeQuickBooks, make: Make, given: DayJournal | Invoice
) -> None:
    [outcome] = await make().send([item(given)])
    assert isinstance(outcome, Refused)
    assert "more decimals than the 2 that QuickBooks keeps" in outcome.reason
    assert vendor.books() == ()


async def test_an_item_of_another_kind_is_refused(make: Make) -> None:
    sent = replace(item(journal()), operation="charges", payload=b'{"charges":[]}')
    outcome = await one(make().send([sent]))
    assert isinstance(outcome, Refused)
    assert "check the target's mode" in outcome.reason


@pytest.mark.parametrize(("status", "path"), [(500, "/journalentry"), (429, "/journalentry"), (503, "/query")])
async def test_only_what_may_be_held_is_uncertain(vendor: FakeQuickBooks, make: Make, status: int, path: str) -> None:
    vendor.fail_next(status, committed=path == "/journalentry" and status == 500, path=path)
    outcome = await one(make().send([item(journal())]))
    expected = {500: Uncertain, 429: Retry, 503: Retry}
    assert isinstance(outcome, expected[status])


async def test_a_minute_passes_after_too_many_requests(vendor: FakeQuickBooks, make: Make) -> None:
    clock = VirtualClock()
    target = make(clock=clock)
    vendor.fail_next(429, committed=False, path="/journalentry")
    await target.send([item(journal())])
    asked = len(vendor.requests)
    outcome = await one(target.send([item(journal())]))
    assert isinstance(outcome, Retry)
    assert outcome.throttled
    assert isinstance(await one(target.look_up([item(journal())])), Untried)
    assert len(vendor.requests) == asked
    clock.moment_s += 61
    assert isinstance(await one(target.send([item(journal())])), Delivered)


async def test_a_lost_answer_is_found_by_its_number(vendor: FakeQuickBooks, make: Make) -> None:
    target = make(mode="invoices")
    sent, memo = item(invoice()), item(invoice(line("-10.00"), part=2))
    assert isinstance(await one(target.look_up([sent])), Absent)
    for what in (sent, memo):
        vendor.fail_next(500, committed=True, path="/invoice" if what is sent else "/creditmemo")
        assert isinstance(await one(target.send([what])), Uncertain)
    found: list[Finding] = [*await target.look_up([sent, memo])]
    assert [isinstance(one, Delivered) for one in found] == [True, True]
    vendor.fail_next(503, committed=False, path="/query")
    assert isinstance(await one(target.look_up([sent])), Uncertain)


async def test_the_same_request_creates_once(vendor: FakeQuickBooks, make: Make) -> None:
    target = make()
    first, second = [await one(target.send([item(journal())])) for _ in range(2)]
    assert first == second
    assert len(vendor.books()) == 1


async def test_a_number_that_is_taken_is_compared(means: Means) -> None:
    async with fake(unique_doc_numbers=True) as vendor:
        target = open_unhurried(setup(vendor.url), means)
        sent = item(journal())
        first = await one(target.send([sent]))
        again = replace(sent, key="another key")  # as of a later revision, its first attempt forgotten
        assert await one(target.send([again])) == first
        other = item(journal(narration="of somebody else"))
        [held] = vendor.books()
        vendor.by_hand("JournalEntry", held.id, {"PrivateNote": "by hand"})
        outcome = await one(target.send([replace(other, key="a third key")]))
        assert isinstance(outcome, Refused)
        assert f"another JournalEntry ({held.id}) under the number {journal().number}" in outcome.reason
        await target.close()


async def test_what_has_our_number_and_not_our_mark_is_never_taken_for_ours(vendor: FakeQuickBooks, make: Make) -> None:
    """A person's, another program's, or ours with its note written over: of which nobody but a person can tell."""
    target = make(mode="invoices")
    sent = item(invoice())
    await one(target.send([sent]))
    [held] = vendor.books()
    for note in ("by hand", "[meter:" + "a" * 32 + "]", None):
        vendor.by_hand("Invoice", held.id, {"PrivateNote": note})
        found = await one(target.look_up([sent]))
        assert isinstance(found, Uncertain), note
        assert f"another Invoice ({held.id}) under the number {invoice().number}" in found.reason
        assert f"write [meter:{sent.batch}] into its private note" in found.reason
    vendor.by_hand("Invoice", held.id, {"PrivateNote": f"Ours all the same [meter:{sent.batch}]"})
    assert await one(target.look_up([sent])) == Delivered(held.id)
    vendor.by_hand("Invoice", held.id, {"PrivateNote": "by hand", "DocNumber": "MINE-1"})
    assert await one(target.look_up([sent])) == Absent()


async def test_a_token_that_ends_loses_nothing(vendor: FakeQuickBooks, make: Make) -> None:
    target = make()
    assert isinstance(await one(target.send([item(journal())])), Delivered)
    vendor.advance(hours=2)
    assert isinstance(await one(target.send([item(journal(part=2))])), Delivered)
    vendor.advance(hours=2)
    vendor.tokens.refresh.clear()
    outcome = await one(target.send([item(journal(part=3))]))
    assert isinstance(outcome, Barred)
    assert "playground" in outcome.reason


async def test_checking_reads_the_company(vendor: FakeQuickBooks, make: Make) -> None:
    await make().check()
    assert vendor.calls("GET", "/companyinfo/")
    await make(mode="invoices").check()
    vendor.fail_next(403, committed=False, path="/companyinfo/")
    with pytest.raises(BadInput, match="check company"):
        await make().check()
    vendor.fail_next(503, committed=False, path="/companyinfo/")
    with pytest.raises(Unavailable):
        await make().check()
    with pytest.raises(Unavailable):
        await make(url="http://127.0.0.1:9").check()


@pytest.mark.parametrize(
    ("mode", "options", "named"),
    [
        ("journals", {"accounts": {"income:*": "2", "assets:receivable": "998"}, "customer": "997"}, "Account 998, Cu"),
        ("invoices", {"items": {"*": "998"}}, "Item 998"),
        ("invoices", {"tax_codes": {"none": "998"}}, "TaxCode 998"),
    ],
)
async def test_checking_names_what_the_company_does_not_have(
    make: Make, mode: Any, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadInput, match=f"no active {named}"):
        await make(mode=mode, **options).check()


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


async def test_what_a_person_changes_shows_when_reconciling(vendor: FakeQuickBooks, make: Make) -> None:
    target = make(mode="invoices")
    sent = [item(invoice(customer=number)) for number in range(4)]
    sent += [item(invoice(line("-5.00"), customer=0, part=2)), item(journal(day=date(2026, 11, 30)))]
    await target.send(sent)
    held = {one.details["note"].partition(",")[0]: one.id for one in vendor.books()}
    changed = [{**vendor.entities["Invoice"][held["account account-1"]]["Line"][0], "Amount": Decimal("11.00")}]
    vendor.by_hand("Invoice", held["account account-1"], {"Line": changed})
    vendor.by_hand("Invoice", held["account account-2"], None)
    void = {"PrivateNote": "Voided - " + vendor.entities["Invoice"][held["account account-3"]]["PrivateNote"]}
    vendor.by_hand("Invoice", held["account account-3"], void)
    vendor.add("Invoice", CustomerRef={"value": "11"}, TxnDate="2026-11-30", Line=changed, DocNumber="by hand")
    stray = f"[meter:{BATCH}]"
    vendor.add("Invoice", CustomerRef={"value": "11"}, TxnDate="2026-11-30", Line=changed, PrivateNote=stray)
    expected = [Expected(delivery=n, item=one, figures=target.figures(one)) for n, one in enumerate(sent)]
    known = frozenset(one.batch for one in sent)
    found = await reconcile(target, expected, known, since=date(2026, 11, 1), until=date(2026, 12, 1))
    told = {(one.fault, one.delivery) for one in found.discrepancies}
    assert told == {("changed", 1), ("missing", 2), ("void", 3), ("extra", None)}
    elsewhen = await reconcile(target, [], known, since=date(2026, 12, 1), until=date(2027, 1, 1))
    assert elsewhen.discrepancies == ()


async def test_classes_that_are_not_there_are_told_before_they_are_needed(make: Make) -> None:
    hamburg = Site(id="hamburg", name="Hamburg", timezone="UTC", ledger_class="Nowhere")
    catalog = replace(CATALOG, sites={**CATALOG.sites, "hamburg": hamburg})
    [told] = await make().mismatches(catalog)
    assert "no class called 'Nowhere'" in told
    assert await make(create_tracking=True).mismatches(catalog) == ()
    assert await make(tracking="none").mismatches(catalog) == ()


async def test_holdings_are_read_page_by_page(vendor: FakeQuickBooks, make: Make) -> None:
    target = make()
    sent = [item(journal(part=part)) for part in range(1, 121)]
    await target.send(sent)
    held = [one.batch async for one in target.holdings(date(2026, 11, 2), date(2026, 11, 3))]
    assert sorted(held) == sorted(one.batch for one in sent)


@pytest.mark.parametrize("case", [CASE, INVOICES], ids=["journals", "invoices"])
@pytest.mark.parametrize(("seed", "kept"), [(1, timedelta(hours=4)), (2, timedelta(0))])
async def test_through_a_network_that_fails_each_is_held_once(
    means: Means, case: Any, seed: int, kept: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether QuickBooks knows a `requestid` for hours or not at all."""
    monkeypatch.setattr(FakeQuickBooks, "keys_kept", kept)
    later = methodcaller("advance", hours=5)
    async with delivered_through_faults(case, means, seed=seed, later=later) as (vendor, made):
        assert len(vendor.books()) == len(made)
        assert len(vendor.calls("POST", TOKEN_PATH)) >= 3


def test_no_setting_shows_its_secret() -> None:
    given: Setup = setup("https://unused")
    assert "refresh-0" not in repr(given)
    assert "secret" not in repr(given).replace("client_secret", "")
