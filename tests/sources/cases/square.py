"""Square: payments, refunds and orders as its api.json of 2025-08-19 shows them."""

from collections.abc import Mapping

from meter.sources.spec import Delivery, Setup
from tests.ingest.square import notification, signature, webhook
from tests.sources.case import KEYS, Case, Sample, setup
from tests.sources.square_objects import order_notice, refund_notice

URL = "https://meter.example/hooks/square/till"
_CUSTOMER = "square:RDX9Z4XTIZR7MRZJUXNY9HUK6I"
_NOTICE = ("source.changed", None)
_REFUND = "data.object.refund"


def sign(setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return {"x-square-hmacsha256-signature": signature(delivery.body, key=key, url=setup.url or "")}, {}


CASE = Case(
    vendor="square",
    setup=setup("square", "till", secrets=KEYS, url=URL, api_key="the-api-key"),
    sign=sign,
    samples=[
        Sample(
            name="payment.created",
            body=webhook(),
            again=webhook("payment.updated", updated_at="2026-03-02T10:01:30Z", version_token="another"),
            becomes=[("pos.sale", _CUSTOMER), _NOTICE],
            required=["type", "data.object.payment.id", "data.object.payment.amount_money.amount"],
        ),
        Sample(name="payment.created, not completed", body=webhook(status="APPROVED"), becomes=[]),
        Sample(
            name="payment.created, without an order", body=webhook(order_id=None), becomes=[("pos.sale", _CUSTOMER)]
        ),
        Sample(
            name="refund.created, pending",
            body=refund_notice("PENDING", kind="refund.created"),
            becomes=[("pos.refund", None), _NOTICE],
            required=["type", _REFUND, f"{_REFUND}.id", f"{_REFUND}.status", f"{_REFUND}.amount_money"],
        ),
        Sample(
            name="refund.updated, completed",
            body=refund_notice("COMPLETED"),
            again=refund_notice("COMPLETED", reason="warm"),
            becomes=[("pos.refund", None), _NOTICE],
            required=[f"{_REFUND}.updated_at", f"{_REFUND}.payment_id"],
        ),
        Sample(
            name="refund.updated, rejected", body=refund_notice("REJECTED"), becomes=[("pos.refund", None), _NOTICE]
        ),
        Sample(name="refund.updated, failed", body=refund_notice("FAILED"), becomes=[("pos.refund", None), _NOTICE]),
        Sample(name="refund.created, unlinked", body=refund_notice("PENDING", payment_id=None), becomes=[]),
        Sample(
            name="order.updated",
            body=order_notice(),
            again=order_notice(version=5, updated_at="2026-03-02T08:02:00.000Z"),
            becomes=[_NOTICE],
            required=["data.object.order_updated", "data.object.order_updated.order_id"],
        ),
        Sample(name="order.created, open", body=order_notice("OPEN", kind="order.created"), becomes=[]),
        Sample(name="customer.created", body=notification("customer.created", "customer", {"id": "C"}), becomes=[]),
    ],
)
