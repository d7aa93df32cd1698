"""What Stripe shall hold of a batch, and the requests that say so. Pure.

A line is one invoice item, and a second one for tax where Stripe's own computation would not come to ours: with
`tax: rates` that is the odd cent, with `tax: lines` the whole tax. Inclusive prices need no second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

from meter.export.payload import InvoiceLine, LineItem
from meter.export.targets.books import described, headed
from meter.export.targets.stripe.amounts import Rate, minor, tax_on
from meter.model.instant import instant_text
from meter.model.money import plain
from meter.sources.billing.currency import COARSE

PartKind: TypeAlias = Literal["item", "tax"]
Params: TypeAlias = dict[str, Any]

# Names in metadata; `meter_...` are those that we read again.
BATCH: Final = "meter_batch"
CONTENT: Final = "meter_content"
PART: Final = "meter_part"
TAX: Final = "meter_tax"
INVOICE: Final = "meter_invoice"
START: Final = "meter_start"
COMPLETE: Final = "meter_complete"
DAY: Final = "day"
_METADATA_CHARS_MAX: Final = 500
_DESCRIPTION_CHARS_MAX: Final = 500
_CONTENT_CHARS: Final = 16
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One invoice item: `amount` in minor units, of `gross` with Stripe's tax on it; `tax` is how much of that is."""

    kind: PartKind
    amount: int
    gross: int
    tax: int
    rate: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What Stripe shall hold of a batch in minor units, tax included; `rate` is Stripe's, where taxes are rates."""

    batch: str
    content: str
    item: LineItem
    gross: int
    tax: int
    rate: Rate | None


def wanted_of(batch: str, payload: bytes, item: LineItem, rate: Rate | None) -> Wanted:
    """Return what an item wants; in a currency that ends in 0 its tax is ours. Raises BadInput (`bad_amount`)."""
    net, tax = minor(item.line.net, item.currency), minor(item.line.tax_amount, item.currency)
    content = sha256(payload).hexdigest()[:_CONTENT_CHARS]
    rate = None if item.currency in COARSE else rate
    return Wanted(batch=batch, content=content, item=item, gross=net + tax, tax=tax, rate=rate)


def parts_of(wanted: Wanted, gross: int, tax: int) -> list[Part]:
    """Return the invoice items that come to `gross`, `tax` of it, to the cent."""
    rate, line_tax = wanted.rate, wanted.item.line.tax
    net = gross - tax
    inclusive = line_tax is not None and line_tax.inclusive
    if not net:
        return [Part(kind="item", amount=gross, gross=gross, tax=tax)]
    if inclusive or (rate is None and not tax):
        return [Part(kind="item", amount=gross, gross=gross, tax=tax, rate=rate)]
    computed = tax_on(net, rate)
    parts = [Part(kind="item", amount=net, gross=net + computed, tax=computed, rate=rate)]
    if tax != computed:
        odd = tax - computed
        parts.append(Part(kind="tax", amount=odd, gross=odd, tax=odd))
    return parts


def item_params(wanted: Wanted, part: Part, *, invoice: str | None) -> Params:
    """Return the form that creates an invoice item, on a draft or pending."""
    item = wanted.item
    params = {
        "customer": item.customer,
        "currency": item.currency.lower(),
        "discountable": False,  # a customer's coupon would change what was booked
        **changed_params(wanted, part),
    }
    if not part.rate:
        del params["tax_rates"]
    return params if invoice is None else {**params, "invoice": invoice}


def changed_params(wanted: Wanted, part: Part) -> Params:
    """Return the form that makes an invoice item what it shall be now."""
    line = wanted.item.line
    whole = part in parts_of(wanted, wanted.gross, wanted.tax)
    text = _taxed(line, part) if part.kind == "tax" else described(line, changed=not whole)
    return {
        "amount": part.amount,
        "description": text[:_DESCRIPTION_CHARS_MAX],
        "period": _period(line),
        "tax_rates": [part.rate.id] if part.rate else "",
        "metadata": metadata_of(wanted, part.kind, tax=part.tax),
    }


def invoice_params(item: LineItem, name: str, *, options: Mapping[str, Any]) -> Params:
    """Return the form that creates the draft called `name`: empty, and nobody's business but ours until it is final."""
    collection = options["collection"]
    params: Params = {
        "customer": item.customer,
        "currency": item.currency.lower(),
        "auto_advance": False,
        "collection_method": collection,
        "pending_invoice_items_behavior": "exclude",
        "metadata": {
            INVOICE: name,
            START: instant_text(item.invoice_start),
            "meter_end": instant_text(item.invoice_end),
            "account": item.account,
        },
    }
    if collection == "send_invoice":
        params["days_until_due"] = options["terms_days"]
    return params


def note_params(wanted: Wanted, invoice: str, gross: int, tax: int, *, paid: Mapping[str, int]) -> Params:
    """Return the form of a credit note that gives back `gross` (above 0), `tax` of it.

    Its lines are never negative: where Stripe would compute more tax than ours, the taxed line is that much smaller and
    the rest stands beside it untaxed. `paid` says what becomes of what the customer has paid already.
    """
    parts = parts_of(wanted, gross, tax)
    main = parts[0]
    amount, taxed, line = main.amount, main.gross, wanted.item.line
    text = described(line, changed=-gross != wanted.gross)[:_DESCRIPTION_CHARS_MAX]
    while taxed > gross and amount > 0:
        amount -= 1
        taxed = amount if wanted.rate is None or wanted.rate.inclusive else amount + tax_on(amount, wanted.rate)
    lines: list[Params] = []
    if amount:
        lines.append(_note_line(text, amount, main.rate))
    if gross > taxed:
        lines.append(_note_line(f"Tax on {headed(line)}"[:_DESCRIPTION_CHARS_MAX], gross - taxed, None))
    return {
        "invoice": invoice,
        "lines": lines,
        "reason": "order_change",
        "memo": (text if line.adjusts else f"Correction: {text}")[:_DESCRIPTION_CHARS_MAX],
        "metadata": metadata_of(wanted, "item", tax=-tax),
        **paid,
    }


def _note_line(description: str, amount: int, rate: Rate | None) -> Params:
    line: Params = {"type": "custom_line_item", "description": description, "quantity": 1, "unit_amount": amount}
    return line if rate is None else {**line, "tax_rates": [rate.id]}


def _taxed(line: InvoiceLine, part: Part) -> str:
    percent = "" if line.tax is None or line.tax.rate is None else f" {plain(line.tax.rate.scaleb(2))} %"
    text = f"{'Tax' if line.tax is None else line.tax.name}{percent} on {headed(line)}"
    return text if abs(part.amount) > 1 else f"{text}, rounding"


def metadata_of(wanted: Wanted, kind: PartKind, *, tax: int) -> dict[str, str]:
    """Return what leads from Stripe back to the charges; `tax` is how much of the thing is tax, by our books."""
    item, line = wanted.item, wanted.item.line
    found = {
        BATCH: wanted.batch,
        CONTENT: wanted.content,
        PART: kind,
        TAX: str(tax),
        INVOICE: item.invoice,
        "account": item.account,
        "meter": line.meter,
        "site": line.site,
        DAY: line.day.isoformat(),
        "quantity": plain(line.quantity),
        "covered": plain(line.covered),
        "unit": line.unit,
        "charges": str(line.charges),
        "first": instant_text(line.first),
        "last": instant_text(line.last),
        "tax": line.tax.name if line.tax else "",
        "adjusts": instant_text(line.adjusts) if line.adjusts else "",
        "charge": line.charge or "",
    }
    # An empty value would remove the name; one that was never there needs no removal.
    return {name: value[:_METADATA_CHARS_MAX] for name, value in found.items() if value}


def _period(line: InvoiceLine) -> Params:
    """Return what a line is for, both ends included, as Stripe prints it where they differ.

    By which clocks it prints is a setting of its own, so both moments are of the account's days by UTC's clocks as
    well. One day alone is in the description.
    """
    begin, end = _within(line.start, line.days.first), _within(line.end - _SECOND, line.days.last)
    if line.days.first == line.days.last:
        begin = end = line.last
    return {"start": int(begin.timestamp()), "end": int(end.timestamp())}


def _within(moment: datetime, day: date) -> datetime:
    """Return what is nearest to the moment on a day of UTC."""
    midnight = datetime.combine(day, time(), UTC)
    return min(max(moment, midnight), midnight + timedelta(days=1) - _SECOND)


def draft_name(invoice: str, place: int) -> str:
    """Return the name of the `place`-th draft of an invoice, from 1: one takes 250 lines, then there is a further."""
    return invoice if place == 1 else f"{invoice}#{place}"


def place_of(name: str, invoice: str) -> int:
    """Return the place of a draft among those of `invoice`; 0 where it is none of them."""
    if name == invoice:
        return 1
    stem, _, place = name.rpartition("#")
    return int(place) if stem == invoice and place.isascii() and place.isdigit() else 0
