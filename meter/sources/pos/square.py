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

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from meter.model.event import SALE, Json
from meter.model.instant import parse_instant
from meter.model.money import minor_unit_places
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import digest, usage_event
from meter.sources.signature import any_equal, hmac_base64, require
from meter.sources.spec import NOTHING, Covers, Delivery, Hook, Reading, Setup, Vendor

SIGNATURE_HEADER: Final = "x-square-hmacsha256-signature"
_PAYMENTS: Final = frozenset(("payment.created", "payment.updated"))


def signature(key: str, url: str, body: bytes) -> bytes:
    """Return base64(HMAC-SHA256(key, url + body)): how Square signs (vendor page, November 2026).

    `url` is the one registered with Square, to the byte, and not what a proxy makes of it.
    """
    return hmac_base64(key, url.encode(), body)


def check(setup: Setup, delivery: Delivery) -> None:
    """Raise BadInput (`bad_signature`) unless the body was signed with an active key for the registered URL."""
    given = delivery.headers.get(SIGNATURE_HEADER, "")
    expected = [signature(key, setup.url or "", delivery.body) for key in setup.secrets if key]
    require(any_equal(given, expected), remedy="check the signing key and url")


def read(setup: Setup, delivery: Delivery) -> Reading:
    """Return the sale in a webhook; nothing where it is about something else or not completed.

    Raises BadInput (`bad_payload`, or as `strict_json` does) where it is not what Square documents.
    """
    webhook = Fields.of_json(delivery.body)
    if webhook.text("type") not in _PAYMENTS:
        return NOTHING
    payment = webhook.object("data.object.payment")
    if payment.opt_text("status") != "COMPLETED":
        return NOTHING
    sale = _sale(payment)
    customer = payment.opt_text("customer_id")
    event = usage_event(
        setup,
        kind="pos",
        id=_event_id(sale, customer),
        type=SALE,
        time=parse_instant(payment.text("created_at"), what="the payment's created_at"),
        subject=None if customer is None else f"square:{customer}",
        data=sale,
    )
    return Reading([event])


def _event_id(sale: Mapping[str, Json], customer: str | None) -> str:
    return f"{sale['order']}:{0 if customer is None else 1}:{digest(sale, customer)}"


def _sale(payment: Fields) -> dict[str, Json]:
    amount, currency = _money(payment, "amount_money")
    tip, tip_currency = _money(payment, "tip_money") if payment.raw("tip_money") else (None, currency)
    total, total_currency = _money(payment, "total_money") if payment.raw("total_money") else (None, currency)
    if {currency, tip_currency, total_currency} != {currency}:
        raise bad_payload("the payment's amounts are in several currencies")
    sale: dict[str, Json] = {
        "order": payment.text("id"),
        "currency": currency,
        "lines": [{"name": "Square payment", "quantity": "1", "amount": _text(amount, currency)}],
        "total": _text(amount + (tip or Decimal(0)) if total is None else total, currency),
        "settlement": "paid",
    }
    if tip:
        sale["tip"] = _text(tip, currency)
    if payment.raw("order_id"):
        sale["square_order"] = payment.text("order_id")
    return sale


def _money(payment: Fields, name: str) -> tuple[Decimal, str]:
    """Return an amount in units of its currency; Square counts the smallest ones (cents, yen)."""
    money = payment.object(name)
    amount, currency = money.raw("amount"), money.text("currency")
    if type(amount) is not int:
        raise bad_payload(f"the payment's {name} is no integer with a currency")
    return Decimal(amount).scaleb(-minor_unit_places(currency)), currency


def _text(amount: Decimal, currency: str) -> str:
    return f"{amount:.{minor_unit_places(currency)}f}"


SQUARE: Final = Vendor(
    title="Square",
    area="pos",
    needs=frozenset({"secrets", "url", "site"}),
    hook=Hook(check=check, read=read),
    covers=(Covers(what="payment.created, payment.updated", state="done", becomes="pos.sale", note="when completed"),),
    facts="Square's api.json of 2025-08-19 and its webhook pages, November 2026",
)
