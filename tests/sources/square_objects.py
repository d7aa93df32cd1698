"""Orders, refunds and notices as Square's api.json of 2025-08-19 shapes them, made from what a test is about."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from meter.model.wire import Parsed, WireEvent
from meter.sources.pos.square import SQUARE, read
from meter.sources.spec import Answer, Setup
from tests.ingest.square import notification, payment
from tests.sources.case import RECEIVED, delivery, events, setup

PAYMENT: Final = payment()["id"]
ORDER: Final = payment()["order_id"]
REFUND: Final = f"{PAYMENT}_6fLHtd2NHDbcPPmvXcUXS"
RETURN: Final = "haOyDuHiqtAXMk0d8pDKXpL7Jg4FZ"
VAT: Final = {"uid": "vat", "name": "VAT 19", "percentage": "19", "type": "ADDITIVE", "scope": "LINE_ITEM"}
LOW: Final = {"uid": "low", "name": "VAT 7", "percentage": "7", "type": "ADDITIVE", "scope": "LINE_ITEM"}
INCLUSIVE: Final = VAT | {"type": "INCLUSIVE"}

FETCHED: Final = setup("square", "till", secrets=("key",), url="https://meter.example/", api_key="token")
UNFETCHED: Final = setup("square", "till", secrets=("key",), url="https://meter.example/")


def eur(amount: int, currency: str = "EUR") -> dict[str, Any]:
    return {"amount": amount, "currency": currency}


def item(uid: str, total: int, tax: int = 0, *, quantity: str = "1", **more: Any) -> dict[str, Any]:
    """A line of an order: `total` is collected for it, `tax` of that is tax."""
    made: dict[str, Any] = {
        "uid": uid,
        "name": uid.title(),
        "quantity": quantity,
        "item_type": "ITEM",
        "catalog_object_id": f"VARIATION_{uid.upper()}",
        "variation_name": "Regular",
        "total_money": eur(total),
        "total_tax_money": eur(tax),
    }
    if tax and "applied_taxes" not in more:
        made["applied_taxes"] = [{"uid": f"{uid}-vat", "tax_uid": "vat", "applied_money": eur(tax)}]
    return made | more


def returned(uid: str, total: int, tax: int = 0, *, quantity: str = "1", **more: Any) -> dict[str, Any]:
    return item(uid, total, tax, quantity=quantity) | {"uid": f"back-{uid}", "source_line_item_uid": uid} | more


def tender(payment_id: str, amount: int, tip: int = 0, kind: str = "CARD", **more: Any) -> dict[str, Any]:
    """A tender of an order: `amount` includes the tip."""
    made: dict[str, Any] = {"id": payment_id, "payment_id": payment_id, "type": kind, "amount_money": eur(amount)}
    return made | ({"tip_money": eur(tip)} if tip else {}) | more


def order(*lines: Mapping[str, Any], tenders: Sequence[Mapping[str, Any]] = (), **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": ORDER,
        "location_id": "FPYCBCHYMXFK1",
        "state": "COMPLETED",
        "version": 4,
        "created_at": "2026-03-02T08:00:00.000Z",
        "updated_at": "2026-03-02T08:01:29.000Z",
        "line_items": list(lines),
        "taxes": [VAT, LOW],
        "tenders": list(tenders) or [tender(PAYMENT, 470, 50)],
    }
    return {name: value for name, value in (made | more).items() if value is not None}


def return_order(*lines: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    entry = {
        "uid": "return",
        "source_order_id": ORDER,
        "return_line_items": list(lines),
        "return_taxes": [VAT | {"source_tax_uid": "vat"}],
    }
    return order(id=RETURN, returns=[entry | more], line_items=None, tenders=[])


def refund(status: str = "COMPLETED", amount: int = 200, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": REFUND,
        "status": status,
        "location_id": "FPYCBCHYMXFK1",
        "amount_money": eur(amount),
        "payment_id": PAYMENT,
        "order_id": RETURN,
        "created_at": "2026-03-03T09:00:00.000Z",
        "updated_at": {"PENDING": "2026-03-03T09:00:00.000Z"}.get(status, "2026-03-03T09:05:00.000Z"),
        "reason": "cold",
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def refund_notice(status: str = "COMPLETED", amount: int = 200, kind: str = "refund.updated", **more: Any) -> bytes:
    return notification(kind, "refund", refund(status, amount, **more))


def order_notice(state: str = "COMPLETED", kind: str = "order.updated", **more: Any) -> bytes:
    stub = {
        "order_id": ORDER,
        "version": 4,
        "location_id": "FPYCBCHYMXFK1",
        "state": state,
        "created_at": "2026-03-02T08:00:00.000Z",
        "updated_at": "2026-03-02T08:01:29.000Z",
    }
    return notification(kind, kind.replace(".", "_"), stub | more)


def come(body: bytes, configured: Setup = FETCHED) -> list[WireEvent]:
    """What a webhook becomes."""
    return events(read(configured, delivery(body)).items)


def answer(content: Any, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(content).encode(), received_at=RECEIVED)


class Square:
    """The objects that a Square account holds, asked as the worker asks."""

    def __init__(self, *, configured: Setup = FETCHED) -> None:
        self.setup = configured
        self.orders: dict[str, dict[str, Any]] = {}
        self.payments: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    def holds(
        self,
        *,
        orders: Sequence[dict[str, Any]] = (),
        payments: Sequence[dict[str, Any]] = (),
        refunds: Sequence[dict[str, Any]] = (),
    ) -> "Square":
        self.orders |= {one["id"]: one for one in orders}
        self.payments |= {one["id"]: one for one in payments}
        self.refunds |= {one["id"]: one for one in refunds}
        return self

    def answer(self, call: str, arguments: Mapping[str, Any]) -> Answer:
        self.asked.append(call)
        if call == "orders.batch_get":
            return answer({"orders": [self.orders[one] for one in arguments["order_ids"] if one in self.orders]})
        kind = call.partition("s.")[0]
        held = {"order": self.orders, "payment": self.payments, "refund": self.refunds}[kind]
        found = held.get(arguments[f"{kind}_id"])
        if found is None:
            return answer({"errors": [{"category": "INVALID_REQUEST_ERROR", "code": "NOT_FOUND"}]}, 404)
        return answer({kind: found})

    def fetched(self, notice: WireEvent) -> list[WireEvent]:
        """What comes of one notice."""
        return events(self.fetched_items(notice))

    def fetched_items(self, notice: WireEvent) -> Sequence[Parsed]:
        """What comes of one notice, refusals too."""
        fetch = SQUARE.fetches[notice.data["kind"]]
        request = fetch.request(self.setup, notice.data)
        return fetch.read(self.setup, notice.data, self.answer(request.call, request.arguments)).items

    def all_of(self, first: Sequence[WireEvent]) -> list[WireEvent]:
        """Every event there is once nothing is left to fetch, as a gateway stores them: each key once."""
        stored: dict[tuple[str, str], WireEvent] = {}
        work = list(first)
        while work:
            event = work.pop(0)
            if stored.setdefault((event.source, event.id), event) is not event:
                assert stored[event.source, event.id].content_hash == event.content_hash, event.id
            elif event.type == "source.changed":
                work += self.fetched(event)
        return list(stored.values())
