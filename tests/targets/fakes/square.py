"""Square: orders, invoices over them, payments of them, refunds.

order OPEN --an invoice is made over it--> invoice DRAFT --publish--> UNPAID --pay--> PAID --refund--> ..REFUNDED
                                                  delete: gone    cancel: CANCELED
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.targets.fakes.base import Fake, Handler, Held, RequestCheck
from tests.targets.fakes.clock import Clock
from tests.targets.fakes.http import Answer, Call, Refuse
from tests.targets.fakes.money import major
from tests.targets.fakes.square_rules import Json, fault_in, priced

LOCATION = "LOCATION1"
_CODES = {401: ("AUTHENTICATION_ERROR", "UNAUTHORIZED"), 429: ("RATE_LIMIT_ERROR", "RATE_LIMITED")}
_PAGE_DEFAULT = {"orders": 500, "invoices": 100, "refunds": 100}


def error(status: int, code: str, detail: str, field: str = "", category: str = "INVALID_REQUEST_ERROR") -> Answer:
    """Return an error in Square's shape."""
    fact = {"category": category, "code": code, "detail": detail} | ({"field": field} if field else {})
    return Answer(status=status, content={"errors": [fact]})


def _refuse(code: str, detail: str, field: str = "", status: int = 400) -> Refuse:
    return Refuse(error(status, code, detail, field))


class FakeSquare(Fake):
    """Keys are in the body, each for one operation, and are kept for `keys_kept`: Square names no time."""

    keys_kept = timedelta(hours=24)

    def __init__(self, *, clock: Clock | None = None, check_request: RequestCheck | None = None) -> None:
        super().__init__(clock=clock, check_request=check_request)
        self.locations, self.customers = {LOCATION: "ACTIVE"}, set[str]()
        self.orders: dict[str, Json] = {}
        self.invoices: dict[str, Json] = {}
        self.payments: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}

    def routes(self) -> Iterable[tuple[str, str, Handler]]:
        return [
            ("GET", "/v2/locations", lambda _: Answer(content={"locations": [{"id": one} for one in self.locations]})),
            ("GET", "/v2/locations/{id}", self._location),
            ("POST", "/v2/orders", self._create_order),
            ("POST", "/v2/orders/calculate", self._calculate),
            ("PUT", "/v2/orders/{id}", self._update_order),
            ("POST", "/v2/orders/search", self._search_orders),
            ("GET", "/v2/orders/{id}", lambda call: Answer(content={"order": self._one(self.orders, call)})),
            ("POST", "/v2/invoices", self._create_invoice),
            ("GET", "/v2/invoices", self._list_invoices),
            ("POST", "/v2/invoices/search", self._search_invoices),
            ("GET", "/v2/invoices/{id}", lambda call: Answer(content={"invoice": self._one(self.invoices, call)})),
            ("DELETE", "/v2/invoices/{id}", self._delete_invoice),
            ("POST", "/v2/invoices/{id}/publish", self._publish),
            ("POST", "/v2/invoices/{id}/cancel", self._cancel),
            ("GET", "/v2/payments/{id}", lambda call: Answer(content={"payment": self._one(self.payments, call)})),
            ("POST", "/v2/refunds", self._refund),
            ("GET", "/v2/refunds", self._list_refunds),
            ("GET", "/v2/refunds/{id}", lambda call: Answer(content={"refund": self._one(self.refunds, call)})),
        ]

    def fault(self, status: int) -> Answer:
        category, code = _CODES.get(status, ("API_ERROR", "INTERNAL_SERVER_ERROR"))
        return error(status, code, f"Something failed with {status} at Square.", category=category)

    def malformed(self, why: str) -> Answer:
        return error(400, "BAD_REQUEST", why)

    def admit(self, call: Call) -> None:
        if not call.headers.get("authorization", "").startswith("Bearer "):
            raise Refuse(self.fault(401))

    def key_of(self, call: Call) -> tuple[str, str] | None:
        content = call.json() if call.method in {"POST", "PUT"} else {}
        key = content.get("idempotency_key")
        return (f"{call.path}\n{key}", json.dumps(content, default=str, sort_keys=True)) if key else None

    def key_misused(self, _key: str) -> Answer:
        return error(400, "IDEMPOTENCY_KEY_REUSED", "The key was used with another request.", "idempotency_key")

    def books(self) -> tuple[Held, ...]:
        invoiced = {one["order_id"]: one["status"] for one in self.invoices.values()}
        charged = [
            self._held(order, invoiced.get(order["id"], "ORDERED"))
            for order in self.orders.values()
            if order["state"] != "CANCELED" and invoiced.get(order["id"]) != "CANCELED"
        ]
        returned = [
            Held(
                id=one["id"], kind="refund", reference=one.get("reason", ""),
                customer=self.orders[one["order_id"]].get("customer_id", ""),
                amount=-self._major(one["amount_money"]), currency=one["amount_money"]["currency"], state=one["status"],
            )
            for one in self.refunds.values()
            if one["status"] not in {"REJECTED", "FAILED"}
        ]  # fmt: skip
        return (*charged, *returned)

    def add_customer(self, id: str) -> None:
        """Let a customer be in the directory."""
        self.customers.add(id)

    def pay(self, invoice: str) -> str:
        """Let the customer have paid a published invoice; return the payment's id."""
        found = self.invoices[invoice]
        if found["status"] != "UNPAID":
            raise ValueError(f"the invoice is {found['status']}, not UNPAID")
        order = self.orders[found["order_id"]]
        payment: Json = {
            "id": self._new_id("pay"), "order_id": order["id"], "status": "COMPLETED",
            "location_id": order["location_id"], "amount_money": order["total_money"],
            "total_money": order["total_money"], "refunded_money": {**order["total_money"], "amount": 0},
            "created_at": self._now(), "refund_ids": [],
        }  # fmt: skip
        self.payments[payment["id"]] = payment
        found.update(status="PAID", version=found["version"] + 1, updated_at=self._now())
        tender = {
            "id": payment["id"],
            "type": "OTHER",
            "payment_id": payment["id"],
            "amount_money": order["total_money"],
        }
        order.update(state="COMPLETED", version=order["version"] + 1, tenders=[tender], closed_at=self._now())
        return str(payment["id"])

    def by_hand(self, id: str, changes: Mapping[str, Any] | None) -> None:
        """Change fields of an order, invoice or refund as a person in the dashboard would; None deletes it."""
        for shelf in (self.orders, self.invoices, self.refunds):
            if id in shelf:
                if changes is None:
                    del shelf[id]
                else:
                    shelf[id].update(changes, version=shelf[id].get("version", 0) + 1, updated_at=self._now())
                return
        raise KeyError(id)

    def _held(self, order: Json, state: str) -> Held:
        tax = self._major(order["total_tax_money"])
        return Held(
            id=order["id"], kind="order", reference=order.get("reference_id", ""),
            customer=order.get("customer_id", ""), amount=self._major(order["total_money"]) - tax, tax=tax,
            currency=order["total_money"]["currency"],
            state=state, details=dict(order.get("metadata", {})),
        )  # fmt: skip

    @staticmethod
    def _major(money: Json) -> Decimal:
        return major(money["amount"], money["currency"])

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}{self.new_number():020d}"

    def _now(self) -> str:
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")

    @staticmethod
    def _one(shelf: Mapping[str, Json], call: Call) -> Json:
        if call.parts["id"] not in shelf:
            raise _refuse("NOT_FOUND", f"{call.parts['id']} is not found.", status=404)
        return shelf[call.parts["id"]]

    def _page(self, name: str, objects: Iterable[Json], asked: Mapping[str, Any]) -> Answer:
        found, limit = list(objects), int(asked.get("limit", _PAGE_DEFAULT[name]))
        cursor = str(asked.get("cursor") or "0")
        if not cursor.isdecimal():
            raise _refuse("INVALID_CURSOR", "The pagination cursor is invalid.", "cursor", 400)
        start = int(cursor)
        content: Json = {name: found[start : start + limit]} if found[start : start + limit] else {}
        return Answer(content=content | ({"cursor": str(start + limit)} if start + limit < len(found) else {}))

    def _location(self, call: Call) -> Answer:
        status = self.locations.get(call.parts["id"])
        if status is None:
            raise _refuse("NOT_FOUND", "The location is not found.", "location_id", 404)
        return Answer(content={"location": {"id": call.parts["id"], "status": status, "currency": "EUR"}})

    def _priced(self, call: Call) -> Json:
        order = dict(call.json()["order"])
        if order["location_id"] not in self.locations:
            raise _refuse("NOT_FOUND", "The location is not found.", "order.location_id", 404)
        if wrong := fault_in(order):
            raise _refuse("VALUE_TOO_LOW", wrong[1], wrong[0])
        return priced(order, lambda: self._new_id("uid"))

    def _calculate(self, call: Call) -> Answer:
        return Answer(content={"order": self._priced(call)})

    def _update_order(self, call: Call) -> Answer:
        order, asked = self._one(self.orders, call), call.json()["order"]
        if any(one["order_id"] == order["id"] for one in self.invoices.values()):
            raise _refuse("FORBIDDEN", "The order is owned by another application.", "order", 403)
        if asked["version"] != order["version"]:
            raise _refuse("VERSION_MISMATCH", f"The version is {order['version']}.", "order.version", 409)
        if order["state"] != "OPEN":
            raise _refuse("BAD_REQUEST", f"The order is {order['state']}, not OPEN.", "order.state")
        order.update(asked, version=order["version"] + 1, updated_at=self._now())
        return Answer(content={"order": order})

    def _create_order(self, call: Call) -> Answer:
        order = self._priced(call)
        order = {"source": {"name": "fake"}} | order | {
            "id": self._new_id("ord"), "state": order.get("state", "OPEN"), "version": 1, "created_at": self._now(),
            "updated_at": self._now(),
        }  # fmt: skip
        self.orders[order["id"]] = order
        return Answer(content={"order": order})

    def _search_orders(self, call: Call) -> Answer:
        asked = call.json()
        if not asked.get("location_ids"):
            raise _refuse("MISSING_REQUIRED_PARAMETER", "location_ids are missing.", "location_ids")
        wanted = asked.get("query", {}).get("filter", {})
        states = wanted.get("state_filter", {}).get("states")
        customers = wanted.get("customer_filter", {}).get("customer_ids")
        sources = wanted.get("source_filter", {}).get("source_names")
        spans = wanted.get("date_time_filter", {})
        newest_first = asked.get("query", {}).get("sort", {}).get("sort_order", "DESC") == "DESC"
        found = [
            one for one in self.orders.values()
            if one["location_id"] in asked["location_ids"]
            and (not states or one["state"] in states)
            and (not customers or one.get("customer_id") in customers)
            and (not sources or one["source"]["name"] in sources)
            and all(_within(one.get(name, ""), span) for name, span in spans.items())
        ]  # fmt: skip
        return self._page("orders", found[::-1] if newest_first else found, asked)

    def _create_invoice(self, call: Call) -> Answer:
        asked = dict(call.json()["invoice"])
        order = self.orders.get(asked.get("order_id", ""))
        if order is None:
            raise _refuse("NOT_FOUND", "The order is not found.", "invoice.order_id", 404)
        if order["state"] != "OPEN":
            raise _refuse("BAD_REQUEST", f"The order is {order['state']}, not OPEN.", "invoice.order_id")
        if any(one["order_id"] == order["id"] for one in self.invoices.values()):
            raise _refuse("BAD_REQUEST", "The order has an invoice.", "invoice.order_id")
        number = asked.get("invoice_number")
        if number and any(one.get("invoice_number") == number for one in self.invoices.values()):
            raise _refuse("BAD_REQUEST", "The number is taken.", "invoice.invoice_number")
        if asked.get("primary_recipient", {}).get("customer_id") not in self.customers:
            raise _refuse("NOT_FOUND", "The customer is not found.", "invoice.primary_recipient.customer_id", 404)
        if not asked.get("payment_requests") or not asked.get("accepted_payment_methods"):
            raise _refuse("MISSING_REQUIRED_PARAMETER", "An invoice says how and when it is paid.", "invoice")
        if asked.get("location_id", order["location_id"]) != order["location_id"]:
            raise _refuse("BAD_REQUEST", "The order is of another location.", "invoice.location_id")
        requests = [
            one | {"uid": self._new_id("uid"), "computed_amount_money": order["total_money"],
                   "total_completed_amount_money": {**order["total_money"], "amount": 0}}
            for one in asked["payment_requests"]
        ]  # fmt: skip
        invoice = asked | {
            "id": self._new_id("inv:0-"), "version": 0, "status": "DRAFT", "location_id": order["location_id"],
            "payment_requests": requests, "created_at": self._now(), "updated_at": self._now(), "timezone": "Etc/UTC",
        }  # fmt: skip
        self.invoices[invoice["id"]] = invoice
        return Answer(content={"invoice": invoice})

    def _versioned(self, call: Call, version: object, states: set[str]) -> Json:
        invoice = self._one(self.invoices, call)
        if version != invoice["version"]:
            raise _refuse("CONFLICT", f"The version is {invoice['version']}, not {version}.", "version", 409)
        if invoice["status"] not in states:
            raise _refuse("BAD_REQUEST", f"The invoice is {invoice['status']}, not {' or '.join(sorted(states))}.")
        return invoice

    def _publish(self, call: Call) -> Answer:
        invoice = self._versioned(call, call.json()["version"], {"DRAFT"})
        total = self.orders[invoice["order_id"]]["total_money"]
        invoice.setdefault("invoice_number", f"{self.new_number():06d}")
        invoice.update(
            status="PAID" if total["amount"] == 0 else "UNPAID", version=invoice["version"] + 1,
            updated_at=self._now(), public_url=f"{self.url}/pay/{invoice['id']}", next_payment_amount_money=total,
        )  # fmt: skip
        return Answer(content={"invoice": invoice})

    def _cancel(self, call: Call) -> Answer:
        invoice = self._versioned(call, call.json()["version"], {"UNPAID", "SCHEDULED", "PARTIALLY_PAID"})
        invoice.update(status="CANCELED", version=invoice["version"] + 1, updated_at=self._now())
        self._cancel_order(invoice)
        return Answer(content={"invoice": invoice})

    def _cancel_order(self, invoice: Json) -> None:
        order = self.orders[invoice["order_id"]]
        order.update(state="CANCELED", version=order["version"] + 1, updated_at=self._now(), closed_at=self._now())

    def _delete_invoice(self, call: Call) -> Answer:
        current = self._one(self.invoices, call)["version"]
        invoice = self._versioned(call, int(call.parameter("version", str(current))), {"DRAFT"})
        del self.invoices[invoice["id"]]
        self._cancel_order(invoice)
        return Answer(content={})

    def _list_invoices(self, call: Call) -> Answer:
        location = call.parameter("location_id")
        found = [one for one in self.invoices.values() if one["location_id"] == location]
        return self._page("invoices", found[::-1], dict(call.query))

    def _search_invoices(self, call: Call) -> Answer:
        asked = call.json()
        wanted = asked["query"]["filter"]
        found = [
            one for one in self.invoices.values()
            if one["location_id"] in wanted["location_ids"]
            and one["primary_recipient"]["customer_id"] in (wanted.get("customer_ids") or self.customers)
        ]  # fmt: skip
        return self._page("invoices", found[::-1], asked)

    def _list_refunds(self, call: Call) -> Answer:
        location = call.parameter("location_id")
        span = {"start_at": call.parameter("begin_time", "2000-01-01T00:00:00Z")}
        found = [
            one for one in self.refunds.values()
            if location in {"", one["location_id"]} and _within(one["created_at"], span)
        ]  # fmt: skip
        return self._page("refunds", found, dict(call.query))

    def _refund(self, call: Call) -> Answer:
        asked = call.json()
        payment = self.payments.get(asked.get("payment_id", ""))
        if payment is None:
            raise _refuse("NOT_FOUND", "The payment is not found.", "payment_id", 404)
        amount, refunded = asked["amount_money"]["amount"], payment["refunded_money"]["amount"]
        if not 0 < amount <= payment["total_money"]["amount"] - refunded:
            raise _refuse("REFUND_AMOUNT_INVALID", "No more is refunded than was paid.", "amount_money.amount")
        payment["refunded_money"] = {**payment["refunded_money"], "amount": refunded + amount}
        refund: Json = {
            "id": self._new_id("ref"), "status": "PENDING", "amount_money": asked["amount_money"],
            "payment_id": payment["id"], "order_id": payment["order_id"], "location_id": payment["location_id"],
            "created_at": self._now(), "updated_at": self._now(),
        } | ({"reason": asked["reason"]} if "reason" in asked else {})  # fmt: skip
        self.refunds[refund["id"]] = refund
        payment["refund_ids"].append(refund["id"])
        whole = payment["refunded_money"]["amount"] == payment["total_money"]["amount"]
        for invoice in self.invoices.values():
            if invoice["order_id"] == payment["order_id"]:
                invoice["status"] = "REFUNDED" if whole else "PARTIALLY_REFUNDED"
        return Answer(content={"refund": refund})


def _within(moment: str, span: Mapping[str, str]) -> bool:
    if not moment:
        return False
    at = datetime.fromisoformat(moment)
    start, end = span.get("start_at"), span.get("end_at")
    return (start is None or at >= datetime.fromisoformat(start)) and (end is None or at < datetime.fromisoformat(end))
