"""What Square's webhooks of invoices say of those that the export target made."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from square.types.invoice_payment_made_event import InvoicePaymentMadeEvent

from meter.model.errors import BadInput
from meter.model.wire import WireEvent
from tests.sources.case import setup
from tests.sources.square_objects import UNFETCHED, come

NUMBER = "20261031-K7Q2M4XA"


def euros(cents: int) -> dict[str, Any]:
    return {"amount": cents, "currency": "EUR"}


def webhook(kind: str = "invoice.payment_made", **changes: Any) -> bytes:
    """As Square's document has it, without what names a person."""
    invoice = {
        "id": "inv:0-ChCHu2mZEabLeeHahQnXDjZQECY",
        "version": 3,
        "location_id": "ANOTHER",
        "order_id": "CAISENgvlJ6jLWAzERDzjyHVybY",
        "invoice_number": NUMBER,
        "primary_recipient": {"customer_id": "JDKYHBWT1D4F8MFH63DBMEN8Y4"},
        "payment_requests": [
            {
                "request_type": "BALANCE",
                "due_date": "2026-11-14",
                "computed_amount_money": euros(1190),
                "total_completed_amount_money": euros(1190),
            }
        ],
        "status": "PAID",
        "public_url": "https://squareup.example/pay/1",
        "created_at": "2026-11-01T17:45:13Z",
        "updated_at": "2026-11-02T18:23:11Z",
        **changes,
    }
    return json.dumps(
        {
            "merchant_id": "031FEV2Q6VMPK",
            "location_id": invoice["location_id"],
            "type": kind,
            "event_id": "891e3589-462f-4215-9b61-f6df2d4432b7",
            "created_at": "2026-11-02T18:23:12Z",
            "data": {"type": "invoice", "id": invoice["id"], "object": {"invoice": invoice}},
        }
    ).encode()


def told(body: bytes, **options: Any) -> WireEvent:
    (event,) = come(body, setup("square", "till", options=options) if options else UNFETCHED)
    return event


def unpaid(cents: int = 0) -> list[dict[str, Any]]:
    return [{"computed_amount_money": euros(1190), "total_completed_amount_money": euros(cents)}]


def test_a_paid_invoice_is_told_with_its_sums() -> None:
    assert InvoicePaymentMadeEvent.model_validate(json.loads(webhook())).data is not None
    event = told(webhook())
    assert (event.type, event.time) == ("invoice.status", datetime(2026, 11, 2, 18, 23, 11, tzinfo=UTC))
    assert event.data == {
        "vendor": "square",
        "target": "square",
        "remote_id": "inv:0-ChCHu2mZEabLeeHahQnXDjZQECY",
        "status": "paid",
        "invoice": NUMBER,
        "customer": "JDKYHBWT1D4F8MFH63DBMEN8Y4",
        "number": NUMBER,
        "currency": "EUR",
        "total": "11.90",
        "amount_due": "0.00",
        "amount_paid": "11.90",
        "url": "https://squareup.example/pay/1",
    }


@pytest.mark.parametrize(
    ("kind", "status", "expected", "due"),
    [
        ("invoice.created", "DRAFT", "draft", "7.90"),
        ("invoice.published", "UNPAID", "open", "7.90"),
        ("invoice.scheduled_charge_failed", "UNPAID", "failed", "7.90"),
        ("invoice.payment_made", "PARTIALLY_PAID", "open", "7.90"),
        ("invoice.canceled", "CANCELED", "void", "0.00"),
        ("invoice.refunded", "PARTIALLY_REFUNDED", "paid", "7.90"),
    ],
)
def test_its_status_is_in_words_that_every_target_shares(kind: str, status: str, expected: str, due: str) -> None:
    event = told(webhook(kind, status=status, payment_requests=unpaid(400)))
    assert (event.data["status"], event.data["amount_due"]) == (expected, due)


@pytest.mark.parametrize("number", ["inv-100", "000012", f"{NUMBER}x", None])
def test_what_somebody_else_bills_is_nothing(number: str | None) -> None:
    assert come(webhook(invoice_number=number), UNFETCHED) == []


def test_one_that_was_deleted_is_not_named() -> None:
    body = json.dumps({"type": "invoice.deleted", "event_id": "e", "data": {"id": "inv:0-1", "deleted": True}})
    assert come(body.encode(), UNFETCHED) == []


def test_a_further_part_of_another_target_at_another_location_is_told() -> None:
    event = told(webhook(invoice_number=f"{NUMBER}-2"), target="bills", locations=["TILL"])
    assert (event.data["invoice"], event.data["target"]) == (f"{NUMBER}-2", "bills")


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "LOST"},
        {"payment_requests": []},
        {"payment_requests": [{"computed_amount_money": {"amount": 1, "currency": "page"}}]},
        {"updated_at": "yesterday"},
    ],
)
def test_what_square_does_not_document_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        come(webhook(**changes), UNFETCHED)
