"""Square's invoices, where the export target made them: how each stands, as `invoice.status`.

A webhook holds the whole invoice. It is told by its number, which is of our form; those that somebody writes in the
dashboard are nobody's business here. The state's time is the invoice's own, so the latest counts whichever comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from meter.model.event import INVOICE_STATUS, Json
from meter.model.instant import parse_instant
from meter.model.money import is_currency
from meter.model.wire import Parsed
from meter.sources.fields import Fields, bad_payload
from meter.sources.make import usage_event
from meter.sources.pos.square_money import money, opt_minor, text_of
from meter.sources.pos.square_own import is_own_number
from meter.sources.spec import Setup

_STATUSES: Final[Mapping[str, str]] = {
    "DRAFT": "draft",
    "UNPAID": "open",
    "SCHEDULED": "open",
    "PARTIALLY_PAID": "open",
    "PAYMENT_PENDING": "open",
    "FAILED": "failed",
    "PAID": "paid",
    "PARTIALLY_REFUNDED": "paid",
    "REFUNDED": "paid",
    "CANCELED": "void",
}
_CHARGE_FAILED: Final = "invoice.scheduled_charge_failed"


def of_invoice(setup: Setup, webhook: Fields) -> Sequence[Parsed]:
    """Return how an invoice of ours stands; nothing for another's, or where the webhook holds none (it was deleted).

    Raises BadInput.
    """
    invoice = webhook.opt_object("data.object.invoice")
    number = None if invoice is None else invoice.opt_text("invoice_number")
    if invoice is None or number is None or not is_own_number(number):
        return ()
    status = _status(invoice, webhook.text("type"))
    total, paid, currency = _sums(invoice)
    data: dict[str, Json] = {
        "vendor": setup.vendor,
        "target": setup.options["target"],
        "remote_id": invoice.text("id"),
        "status": status,
        "invoice": number,
        "customer": invoice.opt_text("primary_recipient.customer_id"),
        "number": number,
        "currency": currency,
        "total": text_of(total, currency),
        "amount_due": text_of(0 if status == "void" else total - paid, currency),
        "amount_paid": text_of(paid, currency),
        "url": invoice.opt_text("public_url"),
    }
    time = parse_instant(invoice.text("updated_at"), what="the invoice's updated_at")
    id = f"invoice:{webhook.text('event_id')}"
    return [usage_event(setup, kind="billing", id=id, type=INVOICE_STATUS, data=data, time=time)]


def _status(invoice: Fields, kind: str) -> str:
    """Return the status in words that every target shares: `failed` is open, and a payment did not go through."""
    given = invoice.text("status")
    status = _STATUSES.get(given)
    if status is None:
        raise bad_payload(f"the invoice's status is {given[:40]!r}; one of {', '.join(_STATUSES)} is documented")
    return "failed" if status == "open" and kind == _CHARGE_FAILED else status


def _sums(invoice: Fields) -> tuple[int, int, str]:
    """Return what the invoice comes to and what of it is paid, in the smallest unit, and the currency."""
    requests = invoice.objects("payment_requests")
    if not requests:
        raise bad_payload("the invoice has no payment_requests; what is to be paid is documented here")
    currency = money(requests[0], "computed_amount_money").currency
    if not is_currency(currency):
        raise bad_payload(f"the invoice is in {currency[:20]!r}; a currency is documented here")
    total = sum(opt_minor(one, "computed_amount_money", currency) or 0 for one in requests)
    paid = sum(opt_minor(one, "total_completed_amount_money", currency) or 0 for one in requests)
    return total, paid, currency
