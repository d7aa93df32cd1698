"""The fakes by the vendors' own clients, and what they answer by the vendors' own documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe

from tests.contract.amendments import amended
from tests.contract.judged import Sent
from tests.contract.stripe_v1 import StripeJudge
from tests.specs import spec_or_none
from tests.targets.fakes.http import Call
from tests.targets.fakes.receiver import FakeReceiver
from tests.targets.fakes.stripe import WEBHOOK_SECRET, FakeStripe, signature


@cache
def _judge() -> StripeJudge | None:
    document = spec_or_none("stripe")
    return StripeJudge(amended("stripe", document.document)) if document else None


def _check(call: Call) -> str | None:
    judge = _judge()
    sent = Sent(
        method=call.method, path=call.path, query=urlencode(call.query), headers=call.headers, body=call.body
    )  # fmt: skip
    return "; ".join(judge(sent).violations) or None if judge else None


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with FakeStripe(check_request=_check) as fake:
        fake.add_customer("cus_ada")
        yield fake


@pytest.fixture
async def client(fake: FakeStripe) -> AsyncIterator[stripe.StripeClient]:
    http = stripe.AIOHTTPClient()
    yield stripe.StripeClient(
        "sk_test_1", http_client=http, max_network_retries=0, base_addresses={"api": fake.url, "meter_events": fake.url}
    )
    await http.close_async()  # type: ignore[no-untyped-call]


def _item(amount: int = 1250, **changes: Any) -> Any:
    made = {"customer": "cus_ada", "amount": amount, "currency": "eur", "metadata": {"key": f"k{amount}"}} | changes
    return {name: value for name, value in made.items() if value is not None}


async def test_stripe_bills_pending_items_on_one_invoice(fake: FakeStripe, client: stripe.StripeClient) -> None:
    vat = fake.add_tax_rate("19")
    await client.v1.invoice_items.create_async(_item(1250, tax_rates=[vat]))
    item = await client.v1.invoice_items.create_async(
        {
            "customer": "cus_ada",
            "currency": "eur",
            "unit_amount_decimal": Decimal("0.5"),
            "quantity_decimal": Decimal(7),
        }
    )
    assert item.amount == 4  # half up
    draft = await client.v1.invoices.create_async(
        {"customer": "cus_ada", "currency": "eur", "pending_invoice_items_behavior": "include"}
    )
    invoice = await client.v1.invoices.finalize_invoice_async(draft.id)
    assert (invoice.status, invoice.subtotal, invoice.total) == ("open", 1254, 1254 + 238)
    assert {line.amount for line in invoice.lines.data} == {1250, 4}
    held = {one.reference: (one.amount, one.tax, one.currency, one.state) for one in fake.books()}
    assert held["k1250"] == (Decimal("12.50"), Decimal("2.38"), "EUR", "open")


async def test_stripe_leaves_pending_items_out_unless_told(fake: FakeStripe, client: stripe.StripeClient) -> None:
    await client.v1.invoice_items.create_async(_item())
    draft = await client.v1.invoices.create_async({"customer": "cus_ada", "currency": "eur"})
    assert (draft.total, fake.books()[0].state) == (0, "pending")


async def test_stripe_changes_no_item_of_a_finalised_invoice(fake: FakeStripe, client: stripe.StripeClient) -> None:
    draft = await client.v1.invoices.create_async({"customer": "cus_ada", "currency": "eur"})
    item = await client.v1.invoice_items.create_async(_item(invoice=draft.id))
    await client.v1.invoice_items.update_async(item.id, {"amount": 900})
    await client.v1.invoices.finalize_invoice_async(draft.id)
    for late in (
        client.v1.invoice_items.update_async(item.id, {"amount": 1}),
        client.v1.invoice_items.delete_async(item.id),
        client.v1.invoice_items.create_async(_item(invoice=draft.id)),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await late
        assert refused.value.code == "invoice_not_editable"
    assert [one.amount for one in fake.books()] == [Decimal(9)]


async def test_stripe_gives_the_first_answer_again_for_a_day(fake: FakeStripe, client: stripe.StripeClient) -> None:
    options: Any = {"idempotency_key": "k"}
    first = await client.v1.invoice_items.create_async(_item(), options)
    await client.v1.invoice_items.update_async(first.id, {"amount": 7})
    fake.advance(hours=23.9)
    again = await client.v1.invoice_items.create_async(_item(), options)
    assert (again.id, again.amount) == (first.id, 1250)
    with pytest.raises(stripe.IdempotencyError):
        await client.v1.invoice_items.create_async(_item(1), options)
    fake.advance(hours=0.2)
    await client.v1.invoice_items.create_async(_item(), options)
    assert len(fake.books()) == 2


@pytest.mark.parametrize("committed", [True, False])
async def test_stripe_repeats_even_its_failures(
    fake: FakeStripe, client: stripe.StripeClient, *, committed: bool
) -> None:
    fake.fail_next(500, committed=committed)
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            await client.v1.invoice_items.create_async(_item(), {"idempotency_key": "k"})
    assert len(fake.books()) == committed


async def test_stripe_refuses_a_key_in_use(fake: FakeStripe, client: stripe.StripeClient) -> None:
    async with fake.held_back() as arrived:
        first = asyncio.create_task(client.v1.invoice_items.create_async(_item(), {"idempotency_key": "k"}))
        await arrived()
        with pytest.raises(stripe.StripeError) as refused:
            await client.v1.invoice_items.create_async(_item(), {"idempotency_key": "k"})
        assert refused.value.http_status == 409
    await first
    assert len(fake.books()) == 1


async def test_stripe_lists_page_by_page(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.add_customer("cus_bo")
    await client.v1.invoice_items.create_async(_item(1, customer="cus_bo"))
    for amount in range(1, 13):
        await client.v1.invoice_items.create_async(_item(amount))
    listed = await client.v1.invoice_items.list_async({"customer": "cus_ada", "pending": True, "limit": 5})
    assert [one.amount async for one in listed.auto_paging_iter()] == list(range(12, 0, -1))


async def test_stripe_takes_no_more_than_250_items(fake: FakeStripe, client: stripe.StripeClient) -> None:
    draft = await client.v1.invoices.create_async({"customer": "cus_ada", "currency": "eur"})
    for _ in range(250):
        await client.v1.invoice_items.create_async(_item(invoice=draft.id))
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.invoice_items.create_async(_item(invoice=draft.id))


async def test_stripe_credits_what_is_left_of_a_finalised_invoice(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    vat = fake.add_tax_rate("19")
    draft = await client.v1.invoices.create_async({"customer": "cus_ada", "currency": "eur"})
    await client.v1.invoice_items.create_async(_item(1000, invoice=draft.id, tax_rates=[vat]))
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.credit_notes.create_async({"invoice": draft.id, "amount": 1})
    invoice = await client.v1.invoices.finalize_invoice_async(draft.id)
    line = invoice.lines.data[0].id
    note: Any = {
        "invoice": draft.id, "metadata": {"key": "back"}, "reason": "order_change",
        "lines": [{"type": "invoice_line_item", "invoice_line_item": line, "amount": 600}],
    }  # fmt: skip
    credited = await client.v1.credit_notes.create_async(note)
    assert (credited.total, credited.pre_payment_amount) == (714, 714)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.credit_notes.create_async(note)
    fake.pay(draft.id)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.credit_notes.create_async({"invoice": draft.id, "amount": 476})
    await client.v1.credit_notes.create_async({"invoice": draft.id, "amount": 476, "refund_amount": 476})
    listed = await client.v1.credit_notes.list_async({"invoice": draft.id})
    assert sum(one.total for one in listed.data) == 1190
    back = next(one for one in fake.books() if one.reference == "back")
    assert (back.amount, back.tax) == (Decimal(-6), Decimal("-1.14"))
    assert sum(one.amount + one.tax for one in fake.books()) == 0


async def test_stripe_credits_no_line_beyond_what_it_was(fake: FakeStripe, client: stripe.StripeClient) -> None:
    draft = await client.v1.invoices.create_async({"customer": "cus_ada", "currency": "eur"})
    for amount in (600, 400):
        await client.v1.invoice_items.create_async(_item(amount, invoice=draft.id))
    invoice = await client.v1.invoices.finalize_invoice_async(draft.id)
    first = invoice.lines.data[0]
    line: Any = {"type": "invoice_line_item", "invoice_line_item": first.id, "amount": first.amount + 1}
    for wrong in ({"lines": [line]}, {"amount": 1001}, {"amount": 0}):
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.credit_notes.create_async({"invoice": draft.id, **wrong})  # type: ignore[typeddict-item]
    credited = await client.v1.credit_notes.create_async({"invoice": draft.id, "amount": 1000})
    assert (credited.total, fake.invoices.objects[draft.id]["status"]) == (1000, "paid")


async def test_stripe_counts_a_meter_event_once(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.add_meter("pages")
    event: Any = {
        "event_name": "pages", "identifier": "e1", "payload": {"stripe_customer_id": "cus_ada", "value": "12.5"},
        "timestamp": fake.clock.unix_s(),
    }  # fmt: skip
    await client.v1.billing.meter_events.create_async(event)
    for wrong in (
        {}, {"identifier": "e2", "timestamp": fake.clock.unix_s() - 36 * 86400},
        {"identifier": "e3", "timestamp": fake.clock.unix_s() + 301},
        {"identifier": "e4", "payload": {"stripe_customer_id": "cus_ada", "value": "1234567890.123456"}},
    ):  # fmt: skip
        with pytest.raises(stripe.InvalidRequestError):
            await client.v1.billing.meter_events.create_async(event | wrong)
    assert fake.usage() == {("cus_ada", "pages"): Decimal("12.5")}
    cancel: Any = {"event_name": "pages", "type": "cancel", "cancel": {"identifier": "e1"}}
    await client.v1.billing.meter_event_adjustments.create_async(cancel)
    assert fake.usage() == {}


async def test_stripe_cancels_a_meter_event_within_a_day(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.add_meter("pages")
    payload = {"stripe_customer_id": "cus_ada", "value": "1"}
    await client.v1.billing.meter_events.create_async({"event_name": "pages", "identifier": "e1", "payload": payload})
    fake.advance(hours=24.1)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.billing.meter_event_adjustments.create_async(
            {"event_name": "pages", "type": "cancel", "cancel": {"identifier": "e1"}}
        )
    assert fake.usage() == {("cus_ada", "pages"): Decimal(1)}


async def test_stripe_streams_and_reports_what_it_threw_away(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.add_meter("pages")
    session = await client.v2.billing.meter_event_session.create_async()
    http = stripe.AIOHTTPClient()
    streaming = stripe.StripeClient(
        session.authentication_token, max_network_retries=0, base_addresses={"meter_events": fake.url},
        http_client=http,
    )  # fmt: skip
    good = {"stripe_customer_id": "cus_ada", "value": "3"}
    events: Any = [
        {"event_name": "pages", "identifier": "a", "payload": good},
        {"event_name": "pages", "identifier": "a", "payload": good},
        {"event_name": "pages", "identifier": "b", "payload": good | {"stripe_customer_id": "cus_nobody"}},
        {"event_name": "none", "identifier": "c", "payload": good},
    ]
    await streaming.v2.billing.meter_event_stream.create_async({"events": events})
    assert fake.usage() == {("cus_ada", "pages"): Decimal(3)}
    thin = fake.report_errors()
    full: Any = await client.v2.core.events.retrieve_async(thin["id"])
    assert {one.code for one in full.data.reason.error_types} == {"no_meter", "meter_event_customer_not_found"}
    with pytest.raises(stripe.StripeError):
        await streaming.v2.billing.meter_event_stream.create_async({"events": events[:1] * 101})
    fake.advance(minutes=15)
    with pytest.raises(stripe.TemporarySessionExpiredError):
        await streaming.v2.billing.meter_event_stream.create_async({"events": events})
    await http.close_async()  # type: ignore[no-untyped-call]


async def test_stripe_signs_its_webhooks(fake: FakeStripe, client: stripe.StripeClient) -> None:
    item = await client.v1.invoice_items.create_async(_item())
    body = b'{"id": "evt_1", "object": "event"}'
    assert stripe.Webhook.construct_event(body, signature(body, WEBHOOK_SECRET), WEBHOOK_SECRET).id == "evt_1"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature(body, "other"), WEBHOOK_SECRET)
    async with FakeReceiver() as receiver:
        event = fake.event("invoiceitem.updated", item.id)
        assert await fake.webhook(f"{receiver.url}/hook", event) == 401  # it expects another kind of signature
        call = receiver.requests[0].call
        sent = stripe.Webhook.construct_event(call.body, call.headers["stripe-signature"], WEBHOOK_SECRET)
        assert sent.data.object["amount"] == 1250


async def test_stripe_answers_with_fields_that_its_client_knows(fake: FakeStripe, client: stripe.StripeClient) -> None:
    vat = fake.add_tax_rate("19")
    draft = await client.v1.invoices.create_async({"customer": "cus_ada", "currency": "eur"})
    item = await client.v1.invoice_items.create_async(_item(invoice=draft.id, tax_rates=[vat]))
    invoice = await client.v1.invoices.finalize_invoice_async(draft.id)
    note = await client.v1.credit_notes.create_async({"invoice": draft.id, "amount": 100})
    for answer in (item, invoice, invoice.lines.data[0], note, item.tax_rates[0] if item.tax_rates else None):
        assert answer is not None
        assert set(answer.to_dict()) <= set(type(answer).__annotations__)


async def test_a_request_that_its_specification_forbids_is_no_first_answer(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.check_request = lambda call: "no" if b"forbidden" in call.body else None
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.invoice_items.create_async(_item(description="forbidden"), {"idempotency_key": "k"})
    await client.v1.invoice_items.create_async(_item(), {"idempotency_key": "k"})
    assert len(fake.books()) == 1


async def test_a_person_changes_and_deletes_what_stripe_holds(fake: FakeStripe, client: stripe.StripeClient) -> None:
    item = await client.v1.invoice_items.create_async(_item())
    fake.by_hand(item.id, {"amount": 1300})
    assert [one.amount for one in fake.books()] == [Decimal(13)]
    fake.by_hand(item.id, None)
    assert fake.books() == ()
    with pytest.raises(KeyError):
        fake.by_hand(item.id, None)
