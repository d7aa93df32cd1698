"""Contents as Xero's documents: ManualJournals, Invoices, CreditNotes. Pure.

The batch's name stands in the narration of a journal and in the reference of the others, our number beside it or in the
number of its own. Amounts are positive in a credit note, as Xero has them.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlencode

from meter.export.gather.names import either
from meter.export.payload import DayJournal, Invoice, InvoiceLine, PostingSum
from meter.export.targets.books import Document, marked, places_of, said_of, traced
from meter.export.targets.xero.rules import Rules
from meter.model.errors import BadInput
from meter.model.instant import instant_text
from meter.model.money import EXACT, ZERO, plain

Entity: TypeAlias = Literal["ManualJournals", "Invoices", "CreditNotes"]
Json: TypeAlias = dict[str, Any]

ENTITIES_OF: Final[dict[str, tuple[Entity, ...]]] = {
    "journals": ("ManualJournals",),
    "invoices": ("Invoices", "CreditNotes"),
}
ID_OF: Final[dict[Entity, str]] = {
    "ManualJournals": "ManualJournalID",
    "Invoices": "InvoiceID",
    "CreditNotes": "CreditNoteID",
}
NUMBER_OF: Final[dict[str, str]] = {"Invoices": "InvoiceNumber", "CreditNotes": "CreditNoteNumber"}
# What Xero keeps of an amount, and with unitdp=4 of a quantity and a unit price (guide "Rounding in Xero", 2026-11).
AMOUNT_PLACES: Final = 2
UNIT_PLACES: Final = 4
# Xero says no length for narrations and descriptions; 4000 is what its own pages take.
TEXT_CHARS_MAX: Final = 4000
REFERENCE_CHARS_MAX: Final = 255
_CENT: Final = Decimal("0.01")
_HALF_CENT: Final = Decimal("0.005")
_UNIT: Final = Decimal("0.0001")
_ONE: Final = Decimal(1)
_STATUSES: Final[dict[str, str]] = {"approved": "AUTHORISED", "submitted": "SUBMITTED", "draft": "DRAFT"}


def entity_of(content: Document) -> Entity:
    """Return what a content becomes: an invoice that gives back more than it takes is a credit note."""
    if isinstance(content, DayJournal):
        return "ManualJournals"
    return "Invoices" if content.net + content.tax_amount >= ZERO else "CreditNotes"


def trackings_of(content: Document, rules: Rules) -> frozenset[str]:
    """Return the names of tracking options that a content refers to."""
    if not rules.tracking:
        return frozenset()
    found = (content.tracking,) if isinstance(content, DayJournal) else (line.tracking for line in content.lines)
    return frozenset(name for name in found if name)


def body_of(content: Document, batch: str, rules: Rules) -> Json:
    """Return the document to be created. Raises BadInput for what Xero could not hold."""
    return _journal(content, batch, rules) if isinstance(content, DayJournal) else _sale(content, batch, rules)


def allocation(amount: Decimal, day: date, invoice_id: str) -> Json:
    """Return what takes so much of a credit note off an invoice."""
    return {"Allocations": [{"Amount": _amount(amount), "Date": day.isoformat(), "Invoice": {"InvoiceID": invoice_id}}]}


def _amount(amount: Decimal) -> Decimal:
    """Return an amount as Xero keeps it. Raises BadInput (`bad_amount`)."""
    if places_of(amount) > AMOUNT_PLACES:
        message = (
            f"{plain(amount)} has more decimals than the {AMOUNT_PLACES} that Xero keeps; bill accounts of this "
            "currency by another target"
        )
        raise BadInput(message, code="bad_amount")
    return EXACT.add(amount.quantize(_CENT, context=EXACT), ZERO)  # never as -0.00


def _journal(journal: DayJournal, batch: str, rules: Rules) -> Json:
    tracking = _tracking(journal.tracking, rules)
    body: Json = {
        "Narration": marked(f"{journal.narration} ({journal.number})", batch, chars_max=TEXT_CHARS_MAX),
        "Date": journal.day.isoformat(),
        "Status": "POSTED" if rules.status == "approved" else "DRAFT",
        "LineAmountTypes": "NoTax",
        "JournalLines": [_posting(posting, rules, tracking) for posting in journal.postings if posting.amount],
    }
    since = journal.day.replace(day=1) if rules.grain == "period" else journal.day
    return body | _url(rules, "/v1/journal", since=since.isoformat(), until=journal.day.isoformat())


def _posting(posting: PostingSum, rules: Rules, tracking: Json) -> Json:
    return {
        "LineAmount": _amount(posting.amount),
        "AccountCode": posting.code,
        "TaxType": rules.untaxed,
        "Description": said_of(posting)[:TEXT_CHARS_MAX],
        **tracking,
    }


def _sale(invoice: Invoice, batch: str, rules: Rules) -> Json:
    entity = entity_of(invoice)
    sign = -1 if entity == "CreditNotes" else 1
    inclusive = _is_inclusive(invoice)
    body: Json = {
        "Type": "ACCREC" if sign > 0 else "ACCRECCREDIT",
        NUMBER_OF[entity]: invoice.number,
        "Reference": marked(_reference(invoice), batch, chars_max=REFERENCE_CHARS_MAX),
        "Contact": {"ContactID": invoice.customer},
        "Date": invoice.issued.isoformat(),
        "LineAmountTypes": "Inclusive" if inclusive else "Exclusive",
        "CurrencyCode": invoice.currency,
        "Status": _STATUSES[rules.status],
        "LineItems": [_line(line, sign, rules, inclusive=inclusive) for line in invoice.lines],
    }
    if sign < 0:
        return body
    body["DueDate"] = (invoice.issued + timedelta(days=rules.terms_days)).isoformat()
    span = {"from": instant_text(invoice.start), "to": instant_text(invoice.end)}
    return body | _url(rules, "/v1/charges", account=invoice.account, **span)


def _is_inclusive(invoice: Invoice) -> bool:
    """Tell whether prices show with their tax: a document has one way for all of its lines."""
    taxes = [line.tax for line in invoice.lines if line.tax is not None]
    return bool(taxes) and all(tax.inclusive for tax in taxes)


def _reference(invoice: Invoice) -> str:
    text = f"{invoice.account}, {invoice.days}"
    return text if invoice.credits is None else f"{text}, gives back on {invoice.credits}"


def _line(line: InvoiceLine, sign: int, rules: Rules, *, inclusive: bool) -> Json:
    account = either(rules.sales, line.meter)
    if account is None and line.item is None:
        message = (
            f"no account for the sales of {line.meter}; name it (or '*') in options.sales, then retry the delivery"
        )
        raise BadInput(message, code="no_sales_account")
    amount = _amount(sign * (line.gross if inclusive else line.net))
    quantity, unit = _unit_price(amount, line.billable)
    facts = f"{line.charges} charge{'' if line.charges == 1 else 's'}"
    body: Json = {
        "Description": f"{traced(line)[: TEXT_CHARS_MAX - len(facts) - 3]} ({facts})",
        "Quantity": quantity,
        "UnitAmount": unit,
        "LineAmount": amount,
        "TaxType": rules.untaxed if line.tax is None else line.tax.code,
        "TaxAmount": _amount(sign * line.tax_amount),
        **_tracking(line.tracking, rules),
    }
    if account is not None:
        body["AccountCode"] = account
    if line.item is not None:
        body["ItemCode"] = line.item
    return body


def _unit_price(amount: Decimal, quantity: Decimal) -> tuple[Decimal, Decimal]:
    """Return quantity and unit price, where they multiply to the amount in every way of rounding; else one of it.

    Xero refuses a line whose amount is not their product. What was priced in steps, or by more than four decimals,
    rarely is.
    """
    if quantity > ZERO and places_of(quantity) <= UNIT_PLACES:
        unit = (amount / quantity).quantize(_UNIT, rounding=ROUND_HALF_UP, context=EXACT)
        if abs(unit * quantity - amount) < _HALF_CENT:
            return quantity.quantize(_UNIT, context=EXACT), unit
    return _ONE, amount


def _tracking(name: str | None, rules: Rules) -> Json:
    return {"Tracking": [{"Name": rules.tracking, "Option": name}]} if name and rules.tracking else {}


def _url(rules: Rules, path: str, **query: str) -> Json:
    return {"Url": f"{rules.url}{path}?{urlencode(query)}"} if rules.url else {}
