"""Square: payments, refunds and orders as its api.json of 2025-08-19 shows them."""

import json
from collections.abc import Mapping
from typing import Any

from meter.sources.spec import Delivery, Setup
from tests.ingest.square import notification, payment, signature, webhook
from tests.sources.case import KEYS, Asked, Case, Sample, setup
from tests.sources.square_objects import (
    ORDER,
    PAYMENT,
    REFUND,
    Square,
    come,
    eur,
    item,
    order,
    order_notice,
    refund,
    refund_notice,
    return_order,
    returned,
    tender,
)

URL = "https://meter.example/hooks/square/till"
_CUSTOMER = "square:RDX9Z4XTIZR7MRZJUXNY9HUK6I"
_NOTICE = ("source.changed", None)
_REFUND = "data.object.refund"


def sign(setup: Setup, key: str, delivery: Delivery) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return {"x-square-hmacsha256-signature": signature(delivery.body, key=key, url=setup.url or "")}, {}


# Two paid it; and one that one paid, of which half came back.
_SHARED = order(
    item("coffee", 238, 38, quantity="2", variation_name="Large"),
    tenders=[tender(PAYMENT, 200), tender("other", 93, 3, card_details={"status": "CAPTURED"})],
    service_charges=[{"uid": "s", "name": "Service", "total_money": eur(50), "total_tax_money": eur(8)}],
    rounding_adjustment={"amount_money": eur(2)},
)
_SOLD = order(item("coffee", 238, 38, quantity="2"), tenders=[tender(PAYMENT, 238)])
_BACK = return_order(
    returned("coffee", 119, 19), return_tips=[{"applied_money": eur(0)}], rounding_adjustment={"amount_money": eur(0)}
)
_WINDOW = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", "locations": ["A", "B"]}


def _wanted() -> dict[str, Mapping[str, Any]]:
    """The data of a notice of each kind."""
    square = Square().holds(orders=[_SOLD, _BACK], payments=[payment(refund_ids=[REFUND])])
    told = [*come(webhook(amount_money=eur(200), tip_money=None)), *come(order_notice())]
    told += [*square.fetched(told[-1]), *square.all_of(come(refund_notice("COMPLETED", 119)))]
    found = {event.data["kind"]: event.data for event in told if event.type == "source.changed"}
    return found | {"several": {"object": REFUND}, "again": {"object": REFUND}}


WANTED = _wanted()


def _fetched(kind: str, content: Any, *becomes: tuple[str, str | None]) -> Asked:
    return Asked(name=kind, by=kind, wanted=WANTED[kind], body=json.dumps(content).encode(), becomes=becomes)


def _polled(feed: str, content: Any, *becomes: tuple[str, str | None]) -> Asked:
    body = json.dumps({**content, "cursor": "next"}).encode()
    return Asked(name=f"{feed}, a page", by=feed, cursor=_WINDOW, body=body, becomes=becomes)


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
    answers=[
        _fetched("sale", {"order": _SHARED}, ("pos.sale", _CUSTOMER)),
        _fetched("order", {"order": _SHARED}, _NOTICE, _NOTICE),
        _fetched("payment", {"payment": payment(refund_ids=[REFUND])}, ("pos.sale", _CUSTOMER), _NOTICE, _NOTICE),
        _fetched("refund", {"payment": payment(refund_ids=[REFUND, "ANOTHER"])}, _NOTICE),
        _fetched("return", {"order": _BACK}, _NOTICE),
        _fetched("returned", {"orders": [_SOLD, _BACK]}, ("pos.refund", None)),
        _fetched("several", {"refund": refund()}, ("pos.refund", None)),
        _fetched("again", {"refund": refund()}, ("pos.refund", None), _NOTICE),
        Asked(name="the locations", by="payments", body=b'{"locations":[{"id":"A"},{"id":"B"}]}', becomes=[]),
        _polled("payments", {"payments": [payment()]}, ("pos.sale", _CUSTOMER), _NOTICE),
        _polled("refunds", {"refunds": [refund()]}, ("pos.refund", None), _NOTICE),
        _polled("orders", {"order_entries": [{"order_id": ORDER, "version": 1}]}, _NOTICE),
    ],
)
