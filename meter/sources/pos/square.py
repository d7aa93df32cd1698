"""Square: completed payments become sales, refunds refunds; with `api_key` both get the lines of their orders.

    payment.* ─▶ sale, at once ─────────┐                      refund.* ─▶ refund by amount, at once
    order.* COMPLETED ─▶ its payments ──┴▶ sale with lines              └▶ completed: refund by lines
    invoice.* of the export target ─▶ how it stands; their payments and refunds are nothing

What webhooks lose the sweep finds, under the same ids. `square_payment`, `square_order`, `square_refund` and
`square_invoice` say what becomes of each, `square_fetch` what is asked, `square_sweep` what is looked for. Everything
else is acknowledged and is nothing.

Facts: Square's api.json of 2025-08-19 and its webhook and order pages, November 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meter.model.event import INVOICE_STATUS
from meter.model.wire import Parsed
from meter.sources.fields import Fields
from meter.sources.pos.square_fetch import FETCHES, completed_order
from meter.sources.pos.square_invoice import of_invoice
from meter.sources.pos.square_money import is_ours
from meter.sources.pos.square_order import is_completed
from meter.sources.pos.square_payment import of_payment
from meter.sources.pos.square_refund import of_refund
from meter.sources.pos.square_sweep import FEEDS
from meter.sources.signature import any_equal, hmac_base64, require
from meter.sources.spec import Covers, Delivery, Hook, Option, Reading, Setup, Vendor

SIGNATURE_HEADER: Final = "x-square-hmacsha256-signature"


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
    """Return what a webhook becomes; nothing where it is about something else.

    Raises BadInput (`bad_payload`, or as `strict_json` does) where it is not what Square documents.
    """
    return Reading(_read(setup, Fields.of_json(delivery.body)))


def _read(setup: Setup, webhook: Fields) -> Sequence[Parsed]:
    kind = webhook.text("type")
    if kind in {"payment.created", "payment.updated"}:
        return of_payment(setup, webhook.object("data.object.payment"))
    if kind in {"refund.created", "refund.updated"}:
        return of_refund(setup, webhook.object("data.object.refund"))
    if kind in {"order.created", "order.updated"}:
        order = webhook.object(f"data.object.{kind.replace('.', '_')}")
        order_id = order.text("order_id")
        return completed_order(setup, order_id) if is_completed(order) and is_ours(setup, order) else ()
    return of_invoice(setup, webhook) if kind.startswith("invoice.") else ()


SQUARE: Final = Vendor(
    title="Square",
    area="pos",
    needs=frozenset({"secrets", "url", "site"}),
    options={
        "locations": Option(
            default=[],
            about="The ids of Square's locations that are this source's; empty: every location of the merchant.",
        ),
        "house_accounts": Option(
            default=[],
            about=(
                "Kinds of payment that are on account, as `source_type`, `source_type:type` or "
                '`source_type:type:source` of Square\'s payment, like `"EXTERNAL:OTHER:House account"`; others: paid.'
            ),
        ),
        "target": Option(default="square", about="The export target whose invoices these are."),
        "sweep_days": Option(default=3, about="How many days back the first sweep looks, at most 365; 0: none."),
    },
    hook=Hook(check=check, read=read),
    fetches=FETCHES,
    feeds=FEEDS,
    covers=(
        Covers(
            what="payment.created, payment.updated",
            state="done",
            becomes="pos.sale",
            note="when completed; one for each payment, with the lines of its order where `api_key` is set, else one "
            "line with the whole amount",
        ),
        Covers(
            what="payments of invoices",
            state="partly",
            becomes="pos.sale",
            note="with `api_key`, once the order was read: those of the export target's own are no sale, and what was "
            "said of one before is void; without it they are refused, so that they are listed",
        ),
        Covers(
            what="order.created, order.updated",
            state="done",
            becomes="source.changed",
            note="when completed, with `api_key`; the lines go to the order's payments, a shared line in proportion",
        ),
        Covers(
            what="refund.created, refund.updated",
            state="done",
            becomes="pos.refund",
            note="not what the export target gave back; by amount; with `api_key` by lines where articles came back, "
            "the sale had one payment and this one refund, no tip came back with them, and both come to the same",
        ),
        Covers(
            what="invoice.created, updated, published, payment_made, refunded, canceled, scheduled_charge_failed",
            state="done",
            becomes=INVOICE_STATUS,
            note="the export target's own invoices, of whatever location; what was delivered is verified once it is "
            "published",
        ),
        Covers(what="invoice.deleted", state="not", note="it does not say which"),
        Covers(
            what="refunds without a payment (unlinked)",
            state="not",
            note="refused once completed, so that they are listed; no sale to give back of is known",
        ),
        Covers(
            what="exchanges",
            state="partly",
            becomes="pos.sale",
            note="what is taken back is lines below 0; not where several payments paid the difference",
        ),
        Covers(
            what="what webhooks missed (payments, refunds, completed orders)",
            state="done",
            becomes="pos.sale, pos.refund",
            note="with `api_key`, which needs `PAYMENTS_READ`, `ORDERS_READ` and `MERCHANT_PROFILE_READ`: what changed "
            "since the last sweep, by location",
        ),
        Covers(what="categories of articles", state="not", note="orders do not hold them; gift cards are `gift_card`"),
        Covers(what="everything else", state="not"),
    ),
    facts="Square's api.json of 2025-08-19 and its webhook and order pages, November 2026",
)
