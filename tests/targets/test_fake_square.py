"""The fake of Square: its state and keys, and answers held against Square's document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import httpx
import pytest
from square import AsyncSquare
from square.core.api_error import ApiError

from tests.specs import spec
from tests.targets.caller import Caller
from tests.targets.fakes.square import LOCATION, FakeSquare


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
