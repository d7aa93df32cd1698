"""An invoice as Square's order and invoice: the bodies of the requests. Pure.

Square computes an order's taxes itself, from percentages. Where its own figures come to ours (it is asked before) a tax
is a tax of the order; else it is a line named after it, and the total is ours in either case. Each line has quantity 1
and its sum as its price: a sum of priced lines has no unit price, and nothing is left to round. Square has no line
below zero; what is given back inside of an invoice is a discount of a fixed amount.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, TypeAlias

from meter.export.payload import Invoice, InvoiceLine
from meter.export.targets.books import described
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.money import EXACT, ZERO, minor_unit_places, plain
from meter.store.engine import encode_json
from meter.store.outbox import name_of

Json: TypeAlias = dict[str, Any]

# Square's api.json, 2026-11: the longest that each takes; lines of an order by its documentation.
LINES_MAX: Final = 500
_NAME_CHARS_MAX: Final = 512
_DISCOUNT_CHARS_MAX: Final = 255
_PERCENT_CHARS_MAX: Final = 10
_METADATA_MAX: Final = 10
_METADATA_CHARS_MAX: Final = 255

# By it our orders are told from those of tills.
SOURCE: Final = "meter"
# Names in metadata; `meter_...` are those that we read again.
BATCH: Final = "meter_batch"
CONTENT: Final = "meter_content"
ISSUED: Final = "meter_issued"
CREDITS: Final = "meter_credits"
# What a line or a discount is, by its uid: a line of ours, or a tax.
LINE: Final = "line-"
TAX: Final = "tax-"
_NO_AUTOMATICS: Final = {"auto_apply_discounts": False, "auto_apply_taxes": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What of a target's settings decides about requests to Square.

    `taxes`: whether taxes may be Square's own. `publish`: whether invoices are published, or left as drafts. `refunds`:
    whether money goes back by itself.
    """

    location: str
    taxes: bool = True
    terms_days: int = 14
    delivery: str = "EMAIL"
    payments: tuple[str, ...] = ("card",)
    publish: bool = False
    refunds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What Square shall hold of a batch: `total` with tax, `tax` of it, in minor units. `content` is a digest."""

    batch: str
    content: str
    invoice: Invoice
    total: int
    tax: int


def wanted_of(batch: str, payload: bytes, invoice: Invoice, rules: Rules) -> Wanted:
    """Return what an invoice wants. Raises BadInput (`bad_amount`, `too_many_lines`)."""
    if len(invoice.lines) > LINES_MAX:
        message = f"{invoice.number} has {len(invoice.lines)} lines; an order takes {LINES_MAX}: set grain to period"
        raise BadInput(message, code="too_many_lines")
    terms = encode_json(_terms(invoice, rules) | {"taxes": rules.taxes})
    return Wanted(
        batch=batch,
        content=name_of(sha256(payload).hexdigest(), terms),
        invoice=invoice,
        total=minor(invoice.net + invoice.tax_amount, invoice.currency),
        tax=minor(invoice.tax_amount, invoice.currency),
    )


def minor(amount: Decimal, currency: str) -> int:
    """Return an amount in minor units. Raises BadInput (`bad_amount`) where it has none such."""
    scaled = amount.scaleb(minor_unit_places(currency), context=EXACT)
    if scaled != scaled.to_integral_value():
        message = f"{amount:f} {currency} has more places than the currency; it was not rounded when it was booked"
        raise BadInput(message, code="bad_amount")
    return int(scaled)


def major(units: int, currency: str) -> Decimal:
    """Return an amount of minor units."""
    return Decimal(units).scaleb(-minor_unit_places(currency), context=EXACT) if units else ZERO


def is_taxable(wanted: Wanted, rules: Rules) -> bool:
    """Tell whether Square could compute the taxes: there are some, all of them percentages of what is not negative."""
    lines = wanted.invoice.lines
    rated = all(_percent(line) or not line.tax_amount for line in lines)
    return rules.taxes and bool(wanted.tax) and rated and all(min(line.net, line.tax_amount) >= ZERO for line in lines)


def order_body(wanted: Wanted, rules: Rules, *, taxed: bool) -> Json:
    """Return the order; `taxed`: with taxes of Square's own, else with lines for them."""
    invoice = wanted.invoice
    sold, given_back = _split(_taxed_lines(invoice) if taxed else _plain_lines(invoice), invoice.currency)
    body: Json = {
        "location_id": rules.location,
        "reference_id": invoice.number,
        "customer_id": invoice.customer,
        "source": {"name": SOURCE},
        "line_items": sold,
        "metadata": _metadata(
            {
                BATCH: wanted.batch,
                CONTENT: wanted.content,
                ISSUED: invoice.issued.isoformat(),
                "account": invoice.account,
                "start": instant_text(invoice.start),
                "end": instant_text(invoice.end),
                "charges": str(sum(line.charges for line in invoice.lines)),
                "first": instant_text(min(line.first for line in invoice.lines)),
                "last": instant_text(max(line.last for line in invoice.lines)),
            }
        ),
        "pricing_options": _NO_AUTOMATICS,
    }
    if given_back:
        body["discounts"] = given_back
    if taxed:
        body["taxes"] = list(_taxes(invoice).values())
    return body


def invoice_body(wanted: Wanted, rules: Rules, order: str) -> Json:
    """Return the invoice over the order with that id."""
    return {"order_id": order, "location_id": rules.location, **_terms(wanted.invoice, rules)}


def note_body(wanted: Wanted, rules: Rules, credited: str) -> Json:
    """Return the order without lines that says which order a batch takes back, and what that comes to."""
    invoice = wanted.invoice
    return {
        "location_id": rules.location,
        "reference_id": invoice.number,
        "customer_id": invoice.customer,
        "source": {"name": SOURCE},
        "metadata": _metadata(
            {
                BATCH: wanted.batch,
                CREDITS: credited,
                ISSUED: invoice.issued.isoformat(),
                "account": invoice.account,
                "lines": str(len(invoice.lines)),
                "total": str(wanted.total),
                "tax": str(wanted.tax),
                "currency": invoice.currency,
            }
        ),
        "pricing_options": _NO_AUTOMATICS,
    }


def _terms(invoice: Invoice, rules: Rules) -> Json:
    due = invoice.issued + timedelta(days=rules.terms_days)
    return {
        "primary_recipient": {"customer_id": invoice.customer},
        "payment_requests": [
            {"request_type": "BALANCE", "due_date": due.isoformat(), "automatic_payment_source": "NONE"}
        ],
        "delivery_method": rules.delivery,
        "accepted_payment_methods": dict.fromkeys(rules.payments, True),
        "invoice_number": invoice.number,
        "title": f"Invoice of {invoice.issued}" if invoice.advance else f"Invoice for {invoice.days}",
        "sale_or_service_date": invoice.issued.isoformat(),
    }


def _taxed_lines(invoice: Invoice) -> Iterator[Json]:
    for place, line in enumerate(invoice.lines, 1):
        priced = _line(place, line, line.gross if line.tax is not None and line.tax.inclusive else line.net)
        yield priced | ({"applied_taxes": [{"tax_uid": _tax_uid(line)}]} if _percent(line) else {})


def _plain_lines(invoice: Invoice) -> Iterator[Json]:
    sums: dict[str, Decimal] = {}
    for place, line in enumerate(invoice.lines, 1):
        yield _line(place, line, line.net)
        name = _tax_name(line)
        sums[name] = sums.get(name, ZERO) + line.tax_amount
    for place, (name, amount) in enumerate(sorted(sums.items()), 1):
        if amount:
            yield {"uid": f"{TAX}{place}", "name": name, "amount": amount}


def _line(place: int, line: InvoiceLine, amount: Decimal) -> Json:
    found = {
        "meter": line.meter,
        "site": line.site,
        "charge": line.charge,
        "charges": str(line.charges),
        "first": instant_text(line.first),
        "last": instant_text(line.last),
        "quantity": f"{plain(line.quantity)} {line.unit}",
        "covered": plain(line.covered) if line.covered else None,
        "tax": None if line.tax is None else line.tax.name,
        "adjusts": None if line.adjusts is None else instant_text(line.adjusts),
    }
    return {"uid": f"{LINE}{place}", "name": described(line), "amount": amount, "metadata": _metadata(found)}


def _split(lines: Iterator[Json], currency: str) -> tuple[list[Json], list[Json]]:
    """Return what is sold as line items, and what is given back as discounts."""
    sold: list[Json] = []
    given_back: list[Json] = []
    for line in lines:
        units, name = minor(line.pop("amount"), currency), line.pop("name")
        money = {"amount": abs(units), "currency": currency}
        if units >= 0:
            sold.append({**line, "name": name[:_NAME_CHARS_MAX], "quantity": "1", "base_price_money": money})
        else:
            fixed = {"type": "FIXED_AMOUNT", "scope": "ORDER", "amount_money": money}
            given_back.append({**line, "name": name[:_DISCOUNT_CHARS_MAX], **fixed})
    return sold, given_back


def _taxes(invoice: Invoice) -> dict[str, Json]:
    return {
        _tax_uid(line): {
            "uid": _tax_uid(line),
            "name": line.tax.name,
            "type": "INCLUSIVE" if line.tax.inclusive else "ADDITIVE",
            "percentage": percent,
            "scope": "LINE_ITEM",
        }
        for line in invoice.lines
        if line.tax is not None and (percent := _percent(line))
    }


def _tax_uid(line: InvoiceLine) -> str:
    tax = line.tax
    return "" if tax is None else TAX + name_of(tax.name, str(tax.rate), str(tax.inclusive))[:8]


def _tax_name(line: InvoiceLine) -> str:
    if line.tax is None:
        return "Tax"
    percent = "" if line.tax.rate is None else f" {plain(line.tax.rate.scaleb(2, context=EXACT))} %"
    return f"{line.tax.name}{percent}"


def _percent(line: InvoiceLine) -> str:
    """Return the rate of the line's tax as Square has it; empty where it has none that Square could apply."""
    if line.tax is None or not line.tax.rate:
        return ""
    percent = plain(line.tax.rate.scaleb(2, context=EXACT))
    return percent if line.tax.rate > ZERO and len(percent) <= _PERCENT_CHARS_MAX else ""


def _metadata(found: dict[str, str | None]) -> dict[str, str]:
    kept = {name: value[:_METADATA_CHARS_MAX] for name, value in found.items() if value}
    return dict(list(kept.items())[:_METADATA_MAX])
