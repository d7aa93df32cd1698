"""Square's webhooks: completed payments become sales.

    payment.created, payment.updated ─▶ status COMPLETED ─▶ one pos.sale     everything else ─▶ nothing, counted

- The sale's thing (`order`) is the payment: an order may be paid by several, and each of them counts.
- The event's id is the payment's id and a digest of what the sale holds. Square updates a payment again when its fees
  are known: the same sale, a duplicate. A completed payment's amounts are final; what may still come is the customer,
  and an id with one sorts after one without, so the later counts (rating.md, section 2).
- A payment knows no taxes and no items: one line with the whole amount. Refunds and orders are other facts.

Facts: Square's api.json of 2025-08-19 and its webhook pages, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

import msgspec

from meter.config import WebhookSettings
from meter.ingest.signature import any_equal, square_signature
from meter.model.errors import BadInput
from meter.model.event import SALE
from meter.model.money import minor_unit_places
from meter.model.strict_json import strict_json
from meter.model.wire import Parsed, read_event

SIGNATURE_HEADER: Final = "x-square-hmacsha256-signature"
_PAYMENTS: Final = frozenset(("payment.created", "payment.updated"))


def configured(settings: WebhookSettings) -> bool:
    """Tell whether the source can be served: a key, the registered URL and the site are all needed."""
    return bool(settings.secrets and settings.url and settings.site)


def verify(settings: WebhookSettings, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether `body` was signed with one of the active keys for the registered URL."""
    url = settings.url or ""
    keys = [secret.get_secret_value() for secret in settings.secrets]
    return any_equal(headers.get(SIGNATURE_HEADER, ""), [square_signature(key, url, body) for key in keys if key])


def read(body: bytes, *, site: str, source: str) -> Sequence[Parsed]:
    """Return the sale in a webhook; nothing where it is about something else or not completed.

    Raises BadInput (`bad_payload`, or as `strict_json` does) where it is not what Square documents.
    """
    webhook = strict_json(body)
    if not isinstance(webhook, dict) or not isinstance(webhook.get("type"), str):
        raise BadInput("the body is no webhook of Square's: it has no type", code="bad_payload")
    if webhook["type"] not in _PAYMENTS:
        return []
    payment = _part(_part(_part(webhook, "data"), "object"), "payment")
    if payment.get("status") != "COMPLETED":
        return []
    sale = _sale(payment)
    customer = payment.get("customer_id")
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": _event_id(sale, customer),
        "source": f"{site}/pos/square-{source}",
        "type": SALE,
        "time": payment.get("created_at"),
        "data": sale,
    }
    if customer:
        event["subject"] = f"square:{customer}"
    return [read_event(msgspec.json.encode(event))]


def _event_id(sale: Mapping[str, Any], customer: Any) -> str:
    digest = sha256(msgspec.json.encode([sale, customer], order="sorted")).hexdigest()[:16]
    return f"{sale['order']}:{1 if customer else 0}:{digest}"


def _sale(payment: Mapping[str, Any]) -> dict[str, Any]:
    amount, currency = _money(payment, "amount_money")
    tip, tip_currency = _money(payment, "tip_money") if payment.get("tip_money") else (None, currency)
    total, total_currency = _money(payment, "total_money") if payment.get("total_money") else (None, currency)
    if {currency, tip_currency, total_currency} != {currency}:
        raise BadInput("the payment's amounts are in several currencies", code="bad_payload")
    payment_id = payment.get("id")
    if not isinstance(payment_id, str) or not payment_id:
        raise BadInput("the payment has no id", code="bad_payload")
    sale: dict[str, Any] = {
        "order": payment_id,
        "currency": currency,
        "lines": [{"name": "Square payment", "quantity": "1", "amount": _text(amount, currency)}],
        "total": _text(amount + (tip or Decimal(0)) if total is None else total, currency),
        "settlement": "paid",
    }
    if tip:
        sale["tip"] = _text(tip, currency)
    if payment.get("order_id"):
        sale["square_order"] = payment["order_id"]
    return sale


def _money(payment: Mapping[str, Any], name: str) -> tuple[Decimal, str]:
    """Return an amount in units of its currency; Square counts the smallest ones (cents, yen)."""
    money = _part(payment, name)
    amount, currency = money.get("amount"), money.get("currency")
    if type(amount) is not int or not isinstance(currency, str):
        raise BadInput(f"the payment's {name} is no integer with a currency", code="bad_payload")
    return Decimal(amount).scaleb(-minor_unit_places(currency)), currency


def _text(amount: Decimal, currency: str) -> str:
    return f"{amount:.{minor_unit_places(currency)}f}"


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = whole.get(name)
    if not isinstance(part, dict):
        raise BadInput(f"the webhook has no object {name!r} where Square documents one", code="bad_payload")
    return part
