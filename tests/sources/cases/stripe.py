"""Stripe: snapshot events of invoices and the thin event of an error report, as its reference shows them."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.sources.case import KEYS, Asked, Case, Sample, setup


def sign(_setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    stamp = int(delivery.received_at.timestamp())
    made = hmac.new(key.encode(), f"{stamp}.".encode() + delivery.body, hashlib.sha256).hexdigest()
    other = hmac.new(b"of another endpoint", delivery.body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={stamp},v0=ignored,v1={other},v1={made}"}, {}


def event(kind: str, invoice: Mapping[str, Any], id: str = "evt_1", created: int = 1772442000) -> dict[str, Any]:
    return {
        "id": id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": created,
        "data": {"object": dict(invoice)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


INVOICE: Mapping[str, Any] = {
    "id": "in_1",
    "object": "invoice",
    "status": "open",
    "customer": "cus_1",
    "number": "ACME-0001",
    "currency": "eur",
    "total": 1190,
    "amount_due": 1190,
    "amount_paid": 0,
    "hosted_invoice_url": "https://invoice.stripe.com/i/acct_1/test_1",
    "metadata": {
        "meter_invoice": "20260228-K7Q2M4XA",
        "account": "acme",
        "meter_start": "2026-02-01T00:00:00Z",
        "meter_end": "2026-03-01T00:00:00Z",
    },
    "lines": {
        "object": "list",
        "has_more": False,
        "data": [{"id": "il_1", "parent": {"invoice_item_details": {"invoice_item": "ii_1"}}}],
    },
}
REPORT: Mapping[str, Any] = {
    "id": "evt_test_65R",
    "object": "v2.core.event",
    "type": "v1.billing.meter.error_report_triggered",
    "livemode": False,
    "created": "2026-03-02T09:00:00.000Z",
    "context": None,
    "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
}
FETCHED: Mapping[str, Any] = {
    **REPORT,
    "data": {
        "developer_message_summary": "1 event was not counted.",
        "reason": {
            "error_count": 1,
            "error_types": [
                {
                    "code": "meter_event_customer_not_found",
                    "error_count": 1,
                    "sample_errors": [
                        {"error_message": "No such customer: cus_9", "request": {"identifier": "k7q2m4xa"}}
                    ],
                }
            ],
        },
        "validation_start": "2026-03-02T08:59:00.000Z",
        "validation_end": "2026-03-02T09:00:00.000Z",
    },
}
_REQUIRED = ["id", "created", "type", "data.object.id", "data.object.status", "data.object.currency"]


def _bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode()


CASE = Case(
    vendor="stripe",
    setup=setup("stripe", secrets=KEYS, api_base="https://vendor.example", api_key="the-api-key"),
    sign=sign,
    signed_time=True,
    samples=[
        Sample(
            name="finalized",
            body=_bytes(event("invoice.finalized", INVOICE)),
            again=_bytes({**event("invoice.finalized", INVOICE), "pending_webhooks": 0}),
            becomes=[("invoice.status", None)],
            required=[*_REQUIRED, "data.object.total", "data.object.amount_due", "data.object.amount_paid"],
        ),
        Sample(
            name="failed",
            body=_bytes(event("invoice.payment_failed", INVOICE, id="evt_2")),
            becomes=[("invoice.status", None)],
            required=_REQUIRED,
        ),
        Sample(
            name="not of ours",
            body=_bytes(
                event("invoice.paid", {**INVOICE, "status": "paid", "metadata": {}, "lines": None}, id="evt_3")
            ),
            becomes=[("invoice.status", None)],
        ),
        Sample(
            name="error report",
            body=_bytes(REPORT),
            becomes=[("source.changed", None)],
            required=["id", "created", "type"],
        ),
        Sample(
            name="error report with its data",
            body=_bytes(FETCHED),
            becomes=[("export.refused", None)],
            required=["id", "created", "type"],
        ),
        Sample(name="customer", body=_bytes(event("customer.updated", {"id": "cus_1"}, id="evt_4")), becomes=[]),
    ],
    answers=[
        Asked(
            name="the report",
            by="event",
            body=_bytes(FETCHED),
            becomes=[("export.refused", None)],
            wanted={"vendor": "stripe", "name": "main", "kind": "event", "object": "evt_test_65R"},
        ),
    ],
)
