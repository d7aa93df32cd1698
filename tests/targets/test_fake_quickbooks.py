"""The fake of QuickBooks: its state and keys, and answers held against Intuit's schemas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.specs import spec
from tests.targets.caller import Caller, Said, refreshed
from tests.targets.fakes.quickbooks import REALM, TOKEN_PATH, FakeQuickBooks


@pytest.fixture
async def quickbooks() -> AsyncIterator[FakeQuickBooks]:
    async with FakeQuickBooks() as fake:
        yield fake


class Company:
    """A company's chart, and a client with a token."""

    def __init__(self, fake: FakeQuickBooks, session: aiohttp.ClientSession) -> None:
        self.receivable = fake.add("Account", Name="Debtors", AccountType="Accounts Receivable")
        self.income = fake.add("Account", Name="Income", AccountType="Income")
        self.ada = fake.add("Customer", DisplayName="Ada")
        token = {"Authorization": f"Bearer {fake.tokens.issue_access()}"}
        self.call = Caller(session, f"{fake.url}/v3/company/{REALM}", token)

    def journal(self, number: str, credit: str = "12.50", **entity: Any) -> Any:
        def line(posting: str, account: str, amount: str, **more: Any) -> Any:
            detail = {"PostingType": posting, "AccountRef": {"value": account}, **more}
            return {"Amount": float(amount), "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail}

        who = entity or {"Entity": {"Type": "Customer", "EntityRef": {"value": self.ada}}}
        debit = line("Debit", self.receivable, "12.50", **who)
        return {"DocNumber": number, "TxnDate": "2026-11-20", "Line": [debit, line("Credit", self.income, credit)]}

    async def query(self, text: str) -> Said:
        return await self.call("GET", "/query", params={"query": text, "minorversion": "75"})


@pytest.fixture
def company(quickbooks: FakeQuickBooks, session: aiohttp.ClientSession) -> Company:
    return Company(quickbooks, session)


async def test_quickbooks_keeps_a_balanced_journal(quickbooks: FakeQuickBooks, company: Company) -> None:
    status, answer = await company.call("POST", "/journalentry", company.journal("D1"))
    assert status == 200
    spec("quickbooks").validate(answer["JournalEntry"], "JournalEntry")
    balances = {one.account: one.amount for one in quickbooks.postings()}
    assert balances == {company.receivable: Decimal("12.5"), company.income: Decimal("-12.5")}
    for wrong in (company.journal("D2", credit="12.51"), company.journal("D3", BillableStatus="NotBillable")):
        status, refused = await company.call("POST", "/journalentry", wrong)
        assert (status, refused["Fault"]["type"]) == (400, "ValidationFault")
    assert len(quickbooks.books()) == 1


async def test_quickbooks_replays_a_request_for_a_time(quickbooks: FakeQuickBooks, company: Company) -> None:
    params = {"requestid": "r1", "minorversion": "75"}
    first = await company.call("POST", "/journalentry", company.journal("D1"), params=params)
    assert await company.call("POST", "/journalentry", company.journal("D1"), params=params) == first
    assert len(quickbooks.books()) == 1
    quickbooks.advance(hours=5)
    company.call.headers["Authorization"] = f"Bearer {quickbooks.tokens.issue_access()}"
    await company.call("POST", "/journalentry", company.journal("D1"), params=params)
    assert len(quickbooks.books()) == 2


async def test_quickbooks_finds_by_number_and_day(quickbooks: FakeQuickBooks, company: Company) -> None:
    for number in ("A-1", "A-2", "B-1"):
        await company.call("POST", "/journalentry", company.journal(number))
    quickbooks.by_hand("JournalEntry", quickbooks.books()[2].id, {"TxnDate": "2026-11-21"})

    async def numbers(where: str) -> list[str]:
        status, answer = await company.query(f"select * from JournalEntry where {where}")  # noqa: S608  not SQL
        assert status == 200, answer
        return [one["DocNumber"] for one in answer["QueryResponse"].get("JournalEntry", [])]

    assert await numbers("DocNumber = 'A-2'") == ["A-2"]
    assert await numbers("DocNumber like 'A-%'") == ["A-1", "A-2"]
    assert await numbers("DocNumber in ('A-1', 'B-1', 'C-1')") == ["A-1", "B-1"]
    assert await numbers("TxnDate >= '2026-11-21' and TxnDate < '2026-11-22'") == ["B-1"]
    assert await numbers("TxnDate > '2026-11-01' orderby DocNumber desc startposition 2 maxresults 1") == ["A-2"]
    assert await numbers("DocNumber = 'none'") == []
    assert (await company.query("select * from JournalEntry where PrivateNote = 'x'"))[0] == 400
    status, counted = await company.query("select count(*) from JournalEntry")
    assert (status, counted["QueryResponse"]["totalCount"]) == (200, 3)


async def test_quickbooks_wants_the_current_sync_token(quickbooks: FakeQuickBooks, company: Company) -> None:
    _, made = await company.call("POST", "/journalentry", company.journal("D1"))
    entry = made["JournalEntry"]
    quickbooks.by_hand("JournalEntry", entry["Id"], {"PrivateNote": "seen"})
    changed = company.journal("D1", "12.50") | {"Id": entry["Id"], "SyncToken": "0"}
    status, stale = await company.call("POST", "/journalentry", changed)
    assert (status, stale["Fault"]["Error"][0]["code"]) == (400, "5010")
    delete = {"Id": entry["Id"], "SyncToken": "1"}
    status, gone = await company.call("POST", "/journalentry", delete, params={"operation": "delete"})
    assert (status, gone["JournalEntry"]["status"]) == (200, "Deleted")
    assert quickbooks.books() == ()


async def test_quickbooks_keeps_sales_with_their_tax(quickbooks: FakeQuickBooks, company: Company) -> None:
    sale = {
        "CustomerRef": {"value": company.ada}, "DocNumber": "S1", "TxnTaxDetail": {"TotalTax": 1.9},
        "Line": [{"Amount": 10.0, "DetailType": "SalesItemLineDetail",
                  "SalesItemLineDetail": {"Qty": 4, "UnitPrice": 2.5, "ItemRef": {"value": "1"}}}],
    }  # fmt: skip
    document = spec("quickbooks")
    for path, kind in (("invoice", "Invoice"), ("creditmemo", "CreditMemo"), ("salesreceipt", "SalesReceipt")):
        status, answer = await company.call("POST", f"/{path}", sale)
        assert status == 200
        document.validate(answer[kind], kind)
    held = {one.kind: (one.amount, one.tax) for one in quickbooks.books()}
    assert held["Invoice"] == (Decimal(10), Decimal("1.9"))
    assert held["CreditMemo"] == (Decimal(-10), Decimal("-1.9"))
    sale["Line"][0]["Amount"] = 10.01  # type: ignore[index]
    assert (await company.call("POST", "/invoice", sale))[0] == 400


async def test_quickbooks_takes_a_batch_item_by_item(quickbooks: FakeQuickBooks, company: Company) -> None:
    items = [
        {"bId": "1", "operation": "create", "JournalEntry": company.journal("D1")},
        {"bId": "2", "operation": "create", "JournalEntry": company.journal("D2", credit="1")},
        {"bId": "3", "Query": "select * from JournalEntry where DocNumber = 'D1'"},
    ]
    status, answer = await company.call("POST", "/batch", {"BatchItemRequest": items})
    made, refused, found = answer["BatchItemResponse"]
    assert (status, made["bId"], refused["Fault"]["Error"][0]["code"]) == (200, "1", "6000")
    assert len(found["QueryResponse"]["JournalEntry"]) == len(quickbooks.books()) == 1
    assert (await company.call("POST", "/batch", {"BatchItemRequest": items * 11}))[0] == 400


async def test_quickbooks_limits_requests_when_told(session: aiohttp.ClientSession) -> None:
    async with FakeQuickBooks(limited=True) as fake:
        company = Company(fake, session)
        statuses = [(await company.query("select * from Account"))[0] for _ in range(11)]
        assert statuses == [200] * 10 + [429]
        fake.advance(seconds=1)
        assert (await company.query("select * from Account"))[0] == 200


@pytest.mark.parametrize(("strict", "status"), [(False, 200), (True, 400)])
async def test_quickbooks_changes_its_refresh_token(
    session: aiohttp.ClientSession, *, strict: bool, status: int
) -> None:
    async with FakeQuickBooks(strict_refresh=strict) as fake:
        url, first = fake.url + TOKEN_PATH, fake.tokens.first()
        _, granted = await refreshed(session, url, first)
        assert granted["refresh_token"] != first
        assert (await refreshed(session, url, first))[0] == 200  # the answer was lost: asked again
        _, latest = await refreshed(session, url, first)
        await refreshed(session, url, latest["refresh_token"])
        assert (await refreshed(session, url, first))[0] == status
        fake.advance(hours=24)
        assert (await refreshed(session, url, first))[1]["error"] == "invalid_grant"
