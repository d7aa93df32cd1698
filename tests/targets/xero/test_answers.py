"""What Xero's answers make of an item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from meter.export.contract import Absent, Barred, Delivered, Refused, Retry, Uncertain
from meter.export.http import Answer
from meter.export.targets.xero.replies import held_of, made
from meter.store.outbox import revised
from tests.targets.cases.xero import invoice, item, journal
from tests.targets.driving import one
from tests.targets.fakes.xero import FakeXero
from tests.targets.xero.given import Make


def answer_of(status: int, content: Any, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body)


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


async def test_an_item_of_another_kind_is_refused(make: Make) -> None:
    sent = replace(item(journal()), operation="charges", payload=b'{"charges":[]}')
    for broken in (sent, replace(item(journal()), payload=b"{}")):
        assert isinstance(await one(make().send([broken])), Refused)
        assert isinstance(await one(make().look_up([broken])), Absent)
