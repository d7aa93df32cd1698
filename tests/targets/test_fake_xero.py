"""The fake of Xero: its state and keys, and answers held against Xero's document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.specs import spec
from tests.targets.caller import Caller, refreshed
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import API, TENANT
from tests.targets.fakes.xero_core import TOKEN_PATH as XERO_TOKEN_PATH


@pytest.fixture
async def xero() -> AsyncIterator[FakeXero]:
    async with FakeXero() as fake:
        fake.add_account("200")
        fake.add_account("610", type="CURRENT", system="DEBTORS")
        fake.add_account("620", type="CURRENT")
        fake.add_tax_rate("OUTPUT2", "20")
        fake.add_tracking("Site", "Berlin")
        yield fake


@pytest.fixture
def ledger(xero: FakeXero, session: aiohttp.ClientSession) -> Caller:
    token = xero.tokens.issue_access()
    return Caller(session, xero.url + API, {"Authorization": f"Bearer {token}", "Xero-Tenant-Id": TENANT})


def _journal(narration: str, credit: str = "-10", account: str = "620", **more: Any) -> Any:
    lines = [{"LineAmount": 10, "AccountCode": account, "Tracking": [{"Name": "Site", "Option": "Berlin"}]},
             {"LineAmount": float(credit), "AccountCode": "200"}]  # fmt: skip
    return {"Narration": narration, "Date": "2026-11-20", "Status": "POSTED", "JournalLines": lines} | more


async def test_xero_keeps_a_balanced_journal(xero: FakeXero, ledger: Caller) -> None:
    status, answer = await ledger("PUT", "/ManualJournals", {"ManualJournals": [_journal("key-1")]})
    assert status == 200
    spec("xero").validate(answer, "ManualJournals")
    assert [(one.account, one.amount, one.dimensions) for one in xero.postings()] == [
        ("620", Decimal(10), ("Site:Berlin",)), ("200", Decimal(-10), ()),
    ]  # fmt: skip
    for wrong in (_journal("x", credit="-9.99"), _journal("x", account="610"), _journal("x", account="999")):
        status, refused = await ledger("PUT", "/ManualJournals", {"ManualJournals": [_journal("fine"), wrong]})
        assert (status, refused["Type"]) == (400, "ValidationException")
    assert len(xero.postings()) == 2


async def test_xero_says_of_each_what_became_of_it_where_asked(xero: FakeXero, ledger: Caller) -> None:
    sent = {"ManualJournals": [_journal("fine"), _journal("x", credit="-9.99")]}
    status, answer = await ledger("PUT", "/ManualJournals?summarizeErrors=false", sent)
    assert status == 200
    assert [one["StatusAttributeString"] for one in answer["ManualJournals"]] == ["OK", "ERROR"]
    assert {one.reference for one in xero.postings()} == {"fine"}


async def test_xero_finds_a_journal_by_its_narration(xero: FakeXero, ledger: Caller) -> None:
    for narration in ("Day 20 [k-1]", "Day 21 [k-2]"):
        await ledger("PUT", "/ManualJournals", _journal(narration))
    document = spec("xero")

    async def narrations(where: str, **headers: str) -> list[str]:
        status, answer = await ledger("GET", "/ManualJournals", params={"where": where, "page": 1}, headers=headers)
        assert status == 200, answer
        document.validate(answer, "ManualJournals")
        assert all(len(one["JournalLines"]) == 2 for one in answer["ManualJournals"])
        return [one["Narration"] for one in answer["ManualJournals"]]

    assert await narrations('Narration.Contains("k-2")') == ["Day 21 [k-2]"]
    assert await narrations('Narration=="Day 20 [k-1]" AND Date>=DateTime(2026,11,20)') == ["Day 20 [k-1]"]
    assert await narrations("Date>DateTime(2026, 11, 20)") == []
    xero.advance(minutes=1)
    token = {"If-Modified-Since": "2026-11-20T12:00:30"}
    assert await narrations('Status=="POSTED"', **token) == []
    xero.by_hand(xero.postings()[0].entry, {"Narration": "changed"})
    assert await narrations('Status=="POSTED"', **token) == ["changed"]
    status, summary = await ledger("GET", "/ManualJournals")
    assert (status, "JournalLines" in summary["ManualJournals"][0]) == (200, False)
    assert (await ledger("GET", "/ManualJournals", params={"where": "Narration ~ x"}))[0] == 400


def _sale(contact: str, kind: str, **more: Any) -> Any:
    line = {"Description": "Pages", "Quantity": 3, "UnitAmount": 0.3333, "AccountCode": "200", "TaxType": "OUTPUT2"}
    return {"Type": kind, "Contact": {"ContactID": contact}, "LineItems": [line], "Date": "2026-11-20",
            "DueDate": "2026-12-20", "Status": "AUTHORISED", **more}  # fmt: skip


async def test_xero_numbers_invoices_once_and_allocates_credit(xero: FakeXero, ledger: Caller) -> None:
    ada = xero.add_contact("Ada")
    invoice = _sale(ada, "ACCREC", InvoiceNumber="I-1")
    document = spec("xero")
    status, made = await ledger("PUT", "/Invoices?unitdp=4", {"Invoices": [invoice]})
    assert status == 200
    document.validate(made, "Invoices")
    assert (await ledger("PUT", "/Invoices", {"Invoices": [invoice]}))[0] == 400
    assert (await ledger("POST", "/Invoices?unitdp=4", {"Invoices": [invoice]}))[0] == 200  # changes it
    [held] = xero.books()
    assert (held.amount, held.tax, held.reference) == (Decimal(1), Decimal("0.2"), "I-1")
    credit = _sale(ada, "ACCRECCREDIT", CreditNoteNumber="C-1")
    status, note = await ledger("PUT", "/CreditNotes?unitdp=4", {"CreditNotes": [credit]})
    assert status == 200
    document.validate(note, "CreditNotes")
    path = f"/CreditNotes/{note['CreditNotes'][0]['CreditNoteID']}/Allocations"
    allocation = {"Invoice": {"InvoiceID": made["Invoices"][0]["InvoiceID"]}, "Amount": 1.2, "Date": "2026-11-20"}
    status, allocated = await ledger("PUT", path, {"Allocations": [allocation]})
    assert status == 200
    document.validate(allocated, "Allocations")
    assert (await ledger("PUT", path, {"Allocations": [allocation]}))[0] == 400
    assert [one.state for one in xero.books()] == ["PAID", "PAID"]


async def test_xero_keeps_a_key_for_minutes(xero: FakeXero, ledger: Caller) -> None:
    key = {"Idempotency-Key": "k"}
    first = await ledger("PUT", "/ManualJournals", _journal("a"), headers=key)
    assert await ledger("PUT", "/ManualJournals", _journal("a"), headers=key) == first
    assert (await ledger("PUT", "/ManualJournals", _journal("b"), headers=key))[0] == 400
    xero.advance(minutes=6)
    await ledger("PUT", "/ManualJournals", _journal("a"), headers=key)
    assert len(xero.postings()) == 4


async def test_xero_works_on_five_requests_at_a_time(xero: FakeXero, ledger: Caller) -> None:
    async with xero.held_back() as arrived:
        five = [asyncio.create_task(ledger("GET", "/Accounts")) for _ in range(5)]
        for _ in five:
            await arrived()
        sixth = asyncio.create_task(ledger("GET", "/Accounts"))
        arrival = asyncio.ensure_future(arrived())
        await asyncio.wait({sixth, arrival}, return_when=asyncio.FIRST_COMPLETED)
        assert not arrival.done(), "a sixth is worked on"
        arrival.cancel()
        assert (await sixth)[0] == 429
    assert [(await one)[0] for one in five] == [200] * 5


async def test_xero_counts_minutes_and_days(session: aiohttp.ClientSession) -> None:
    async with FakeXero(minute_max=2, day_max=3) as fake:
        headers = {"Authorization": f"Bearer {fake.tokens.issue_access()}", "Xero-Tenant-Id": TENANT}
        seen = []
        for wait_s in (0, 0, 0, 60, 60):
            fake.advance(seconds=wait_s)
            async with session.get(f"{fake.url}{API}/TaxRates", headers=headers) as answer:
                about = answer.headers
                seen.append((answer.status, about["X-MinLimit-Remaining"], about.get("X-Rate-Limit-Problem")))
        assert seen == [(200, "1", None), (200, "0", None), (429, "0", "minute"), (200, "1", None), (429, "2", "day")]


async def test_xero_wants_its_tenant_and_a_fresh_token(
    xero: FakeXero, ledger: Caller, session: aiohttp.ClientSession
) -> None:
    assert (await ledger("GET", "/Accounts", headers={"Xero-Tenant-Id": "other"}))[0] == 403
    status, granted = await refreshed(session, xero.url + XERO_TOKEN_PATH, xero.tokens.first())
    assert status == 200
    xero.advance(minutes=29)
    token = {"Authorization": f"Bearer {granted['access_token']}"}
    assert (await ledger("GET", "/Accounts", headers=token))[0] == 200
    xero.advance(minutes=1)
    assert (await ledger("GET", "/Accounts", headers=token))[0] == 401


async def test_xero_takes_two_tracking_categories(xero: FakeXero, ledger: Caller) -> None:
    status, made = await ledger("PUT", "/TrackingCategories", {"Name": "Landlord"})
    assert status == 200
    id = made["TrackingCategories"][0]["TrackingCategoryID"]
    status, options = await ledger("PUT", f"/TrackingCategories/{id}/Options", {"Name": "Them"})
    assert status == 200
    spec("xero").validate(options, "TrackingOptions")
    _, listed = await ledger("GET", "/TrackingCategories")
    spec("xero").validate(listed, "TrackingCategories")
    assert [one["Name"] for one in listed["TrackingCategories"]] == ["Site", "Landlord"]
    assert (await ledger("PUT", "/TrackingCategories", {"Name": "Third"}))[0] == 400
