"""What QuickBooks' answers make of an item."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as with_

from meter.export.contract import Barred, Delivered, Outcome, Refused, Retry, Uncertain, Untried
from meter.export.http import Answer
from meter.export.payload import DayJournal, Invoice
from meter.export.targets.quickbooks.api import quoted
from meter.export.targets.quickbooks.replies import outcome_of_answer
from meter.model.errors import BadInput
from tests.export.clocks import VirtualClock
from tests.targets.cases.quickbooks import INCOME, RECEIVABLE, SUSPENSE, invoice, item, journal, line, posting
from tests.targets.driving import one
from tests.targets.fakes.quickbooks import FakeQuickBooks
from tests.targets.quickbooks.given import Make


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
