"""Square, QuickBooks and Xero as fakes: their state and keys, and answers held against the vendors' documents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import aiohttp
import httpx
import pytest
from square import AsyncSquare
from square.core.api_error import ApiError

from tests.specs import spec
from tests.targets.fakes.quickbooks import REALM, TOKEN_PATH, FakeQuickBooks
from tests.targets.fakes.square import LOCATION, FakeSquare
from tests.targets.fakes.xero import FakeXero
from tests.targets.fakes.xero_core import API, TENANT
from tests.targets.fakes.xero_core import TOKEN_PATH as XERO_TOKEN_PATH

Said = tuple[int, Any]


class Caller:
    """A plain client: JSON out, JSON in, numbers as Decimal."""

    def __init__(self, session: aiohttp.ClientSession, base: str, headers: Mapping[str, str]) -> None:
        self._session, self._base, self.headers = session, base, dict(headers)

    async def __call__(self, method: str, path: str, content: Any = None, **more: Any) -> Said:
        headers = {**self.headers, **more.pop("headers", {})}
        async with self._session.request(method, self._base + path, json=content, headers=headers, **more) as answer:
            text = await answer.text()
            return answer.status, json.loads(text, parse_float=Decimal) if text else None


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def square() -> AsyncIterator[FakeSquare]:
    async with FakeSquare() as fake:
        fake.add_customer("ADA")
        yield fake


@pytest.fixture
async def client(square: FakeSquare) -> AsyncIterator[AsyncSquare]:
    async with httpx.AsyncClient() as http:
        yield AsyncSquare(token="t", base_url=square.url, httpx_client=http)


ONCE: Any = {"max_retries": 0}
ORDER: Any = {
    "location_id": LOCATION, "customer_id": "ADA", "reference_id": "batch-1",
    "line_items": [
        {"name": "Pages", "quantity": "7.5", "base_price_money": {"amount": 5, "currency": "EUR"}},
        {"name": "Visits", "quantity": "2", "base_price_money": {"amount": 1000, "currency": "EUR"}},
    ],
    "taxes": [{"uid": "vat", "name": "VAT", "percentage": "19", "type": "ADDITIVE", "scope": "ORDER"}],
}  # fmt: skip


def _invoice(order: str | None) -> Any:
    return {
        "location_id": LOCATION, "order_id": order, "primary_recipient": {"customer_id": "ADA"},
        "payment_requests": [{"request_type": "BALANCE", "due_date": "2026-12-20"}],
        "delivery_method": "SHARE_MANUALLY", "accepted_payment_methods": {"card": True},
    }  # fmt: skip


async def test_square_invoices_an_order_and_refunds_it(square: FakeSquare, client: AsyncSquare) -> None:
    order = (await client.orders.create(order=ORDER, idempotency_key="o", request_options=ONCE)).order
    assert order is not None
    draft = await client.invoices.create(invoice=_invoice(order.id), idempotency_key="i", request_options=ONCE)
    assert draft.invoice is not None
    id = draft.invoice.id or ""
    with pytest.raises(ApiError):
        await client.invoices.publish(id, version=7, idempotency_key="p1", request_options=ONCE)
    await client.invoices.publish(id, version=0, idempotency_key="p2", request_options=ONCE)
    with pytest.raises(ApiError):  # one invoice an order
        await client.invoices.create(invoice=_invoice(order.id), idempotency_key="i2", request_options=ONCE)
    # 7.5 pages at 0.05 are 37.5 cents, half to even 38; 19 % of 38 and of 2,000 are 7 and 380.
    [held] = square.books()
    assert (held.amount, held.tax, held.reference) == (Decimal("20.38"), Decimal("3.87"), "batch-1")
    assert held.state == "UNPAID"
    payment = square.pay(id)
    refunded: Any = {"amount": 425, "currency": "EUR"}
    await client.refunds.refund_payment(
        idempotency_key="r", amount_money=refunded, payment_id=payment, request_options=ONCE
    )
    with pytest.raises(ApiError):
        await client.refunds.refund_payment(
            idempotency_key="r2", amount_money={"amount": 2001, "currency": "EUR"}, payment_id=payment,
            request_options=ONCE,
        )  # fmt: skip
    assert [one.amount + one.tax for one in square.books()] == [Decimal("24.25"), Decimal("-4.25")]


async def test_square_replays_a_key_and_refuses_it_for_something_else(square: FakeSquare, client: AsyncSquare) -> None:
    first = await client.orders.create(order=ORDER, idempotency_key="o", request_options=ONCE)
    again = await client.orders.create(order=ORDER, idempotency_key="o", request_options=ONCE)
    assert first.order is not None
    assert again.order == first.order
    with pytest.raises(ApiError) as refused:
        await client.orders.create(order=ORDER | {"reference_id": "x"}, idempotency_key="o", request_options=ONCE)
    assert refused.value.body["errors"][0]["code"] == "IDEMPOTENCY_KEY_REUSED"
    square.advance(hours=24)
    await client.orders.create(order=ORDER, idempotency_key="o", request_options=ONCE)
    assert len(square.books()) == 2


async def test_square_and_its_users_change_what_it_holds(square: FakeSquare, client: AsyncSquare) -> None:
    order = (await client.orders.create(order=ORDER, request_options=ONCE)).order
    assert order is not None
    square.by_hand(order.id or "", {"reference_id": "by hand"})
    assert ([one.reference for one in square.books()], square.orders[order.id or ""]["version"]) == (["by hand"], 2)
    square.by_hand(order.id or "", None)
    assert square.books() == ()


async def test_square_takes_a_cancelled_invoice_off_its_books(square: FakeSquare, client: AsyncSquare) -> None:
    order = (await client.orders.create(order=ORDER, request_options=ONCE)).order
    assert order is not None
    invoice = (await client.invoices.create(invoice=_invoice(order.id), request_options=ONCE)).invoice
    assert invoice is not None
    await client.invoices.publish(invoice.id or "", version=0, request_options=ONCE)
    await client.invoices.cancel(invoice.id or "", version=1, request_options=ONCE)
    assert square.books() == ()


async def test_square_answers_as_documented(square: FakeSquare, session: aiohttp.ClientSession) -> None:
    call = Caller(session, square.url, {"Authorization": "Bearer t"})
    document = spec("square")

    async def held(method: str, path: str, body: Any = None) -> Any:
        status, answer = await call(method, path, body)
        assert status == 200
        document.validate_call(method, path, {}, body, answer)
        return answer

    order = (await held("POST", "/v2/orders", {"order": ORDER, "idempotency_key": "o"}))["order"]
    await held("GET", f"/v2/orders/{order['id']}")
    found = await held("POST", "/v2/orders/search", {"location_ids": [LOCATION], "query": {"filter": {
        "state_filter": {"states": ["OPEN"]}, "customer_filter": {"customer_ids": ["ADA"]},
        "date_time_filter": {"created_at": {"start_at": "2026-11-20T00:00:00Z"}},
    }}})  # fmt: skip
    assert [one["id"] for one in found["orders"]] == [order["id"]]
    invoice = (await held("POST", "/v2/invoices", {"invoice": _invoice(order["id"])}))["invoice"]
    await held("POST", f"/v2/invoices/{invoice['id']}/publish", {"version": 0})
    query = {"query": {"filter": {"location_ids": [LOCATION]}}}
    assert len((await held("POST", "/v2/invoices/search", query))["invoices"]) == 1
    refund = {"amount_money": {"amount": 5, "currency": "EUR"}, "idempotency_key": "r"}
    payment = square.pay(invoice["id"])
    await held("POST", "/v2/refunds", refund | {"payment_id": payment})
    status, refused = await call("POST", f"/v2/invoices/{invoice['id']}/publish", {"version": 0})
    assert status == 409
    document.validate(refused, "PublishInvoiceResponse")


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


async def _refreshed(session: aiohttp.ClientSession, url: str, token: str) -> Said:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    async with session.post(url, data=form, headers={"Authorization": "Basic aWQ6c2VjcmV0"}) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(("strict", "status"), [(False, 200), (True, 400)])
async def test_quickbooks_changes_its_refresh_token(
    session: aiohttp.ClientSession, *, strict: bool, status: int
) -> None:
    async with FakeQuickBooks(strict_refresh=strict) as fake:
        url, first = fake.url + TOKEN_PATH, fake.tokens.first()
        _, granted = await _refreshed(session, url, first)
        assert granted["refresh_token"] != first
        assert (await _refreshed(session, url, first))[0] == 200  # the answer was lost: asked again
        _, latest = await _refreshed(session, url, first)
        await _refreshed(session, url, latest["refresh_token"])
        assert (await _refreshed(session, url, first))[0] == status
        fake.advance(hours=24)
        assert (await _refreshed(session, url, first))[1]["error"] == "invalid_grant"


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
    status, granted = await _refreshed(session, xero.url + XERO_TOKEN_PATH, xero.tokens.first())
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
