"""Contents as QuickBooks' entities: JournalEntry, Invoice, CreditMemo. Pure.

The batch's name stands in the private note, and our number in DocNumber: by the one a list is read, by the other a
document is asked for. Amounts are positive in a credit memo, as QuickBooks has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, get_args

from meter.export.payload import DayJournal, Invoice, InvoiceLine, PostingSum
from meter.export.targets.books import Document, marked, places_of, said_of, traced
from meter.export.targets.quickbooks.rules import Rules
from meter.model.errors import BadInput
from meter.model.money import ZERO, plain

Entity: TypeAlias = Literal["JournalEntry", "Invoice", "CreditMemo"]
Json: TypeAlias = dict[str, Any]
ENTITIES: Final[tuple[Entity, ...]] = get_args(Entity)

# Intuit, entities JournalEntry and Invoice, 2026-11: the longest that DocNumber, PrivateNote and Description take.
DOC_NUMBER_CHARS_MAX: Final = 21
TEXT_CHARS_MAX: Final = 4000
# QuickBooks rounds amounts of every currency to two decimals, 2026-11.
_AMOUNT_PLACES: Final = 2


def entity_of(content: Document) -> Entity:
    """Return what a content becomes: an invoice that gives back more than it takes is a credit memo."""
    if isinstance(content, DayJournal):
        return "JournalEntry"
    return "Invoice" if content.net + content.tax_amount >= ZERO else "CreditMemo"


def trackings_of(content: Document) -> frozenset[str]:
    """Return the names of classes or departments that a content refers to."""
    found = (content.tracking,) if isinstance(content, DayJournal) else (line.tracking for line in content.lines)
    return frozenset(name for name in found if name)


def body_of(content: Document, batch: str, rules: Rules, tracked: Mapping[str, str]) -> Json:
    """Return the body that creates the entity; `tracked` gives the ids of `trackings_of`.

    Raises BadInput for what QuickBooks could not hold.
    """
    if isinstance(content, DayJournal):
        return _journal(content, batch, rules, tracked)
    return _sale(content, batch, rules, tracked)


def _head(number: str, day: str, currency: str, rules: Rules) -> Json:
    head: Json = {"DocNumber": number, "TxnDate": day}
    return head if currency == rules.home_currency else {**head, "CurrencyRef": {"value": currency}}


def _amount(amount: Decimal) -> Decimal:
    """Return an amount as QuickBooks keeps it. Raises BadInput (`bad_amount`)."""
    if places_of(amount) > _AMOUNT_PLACES:
        message = (
            f"{plain(amount)} has more decimals than the {_AMOUNT_PLACES} that QuickBooks keeps; bill accounts of this "
            "currency by another target"
        )
        raise BadInput(message, code="bad_amount")
    return _written(amount)


def _written(number: Decimal) -> Decimal:
    return Decimal(format(number, "f"))  # never as 1E+3


def _journal(journal: DayJournal, batch: str, rules: Rules, tracked: Mapping[str, str]) -> Json:
    tracking = _tracking(journal.tracking, rules, tracked)
    lines = [_posting(posting, rules, tracking) for posting in journal.postings if posting.amount]
    return {
        **_head(journal.number, journal.day.isoformat(), journal.currency, rules),
        "PrivateNote": marked(journal.narration, batch, chars_max=TEXT_CHARS_MAX),
        "Line": lines,
    }


def _posting(posting: PostingSum, rules: Rules, tracking: Json) -> Json:
    detail: Json = {
        "PostingType": "Debit" if posting.amount > ZERO else "Credit",
        "AccountRef": {"value": posting.code},
        **tracking,
    }
    owed = _owed(posting, rules)
    if owed is not None:
        detail["Entity"] = owed
    return {
        "Amount": _amount(abs(posting.amount)),
        "DetailType": "JournalEntryLineDetail",
        "Description": said_of(posting)[:TEXT_CHARS_MAX],
        "JournalEntryLineDetail": detail,
    }


def _owed(posting: PostingSum, rules: Rules) -> Json | None:
    """Return who a line is about: receivables have a customer, payables a vendor; others need nobody."""
    named = rules.parties.get(posting.ledger_account)
    if posting.ledger_account.startswith("assets:"):
        customer = (posting.party if posting.account else None) or named
        customer = customer or (rules.customer if posting.account else None)
        return _party("Customer", customer) if customer else None
    return _party("Vendor", named) if named else None


def _party(kind: str, id: str) -> Json:
    return {"Type": kind, "EntityRef": {"value": id}}


def _tracking(name: str | None, rules: Rules, tracked: Mapping[str, str]) -> Json:
    if not name or rules.tracking is None:
        return {}
    return {f"{rules.tracking}Ref": {"value": tracked[name]}}


def _sale(invoice: Invoice, batch: str, rules: Rules, tracked: Mapping[str, str]) -> Json:
    sign = 1 if entity_of(invoice) == "Invoice" else -1
    body: Json = {
        **_head(invoice.number, invoice.issued.isoformat(), invoice.currency, rules),
        "CustomerRef": {"value": invoice.customer},
        "PrivateNote": marked(_note(invoice), batch, chars_max=TEXT_CHARS_MAX),
        "Line": [_sold(line, sign, rules, tracked) for line in invoice.lines],
    }
    sites = {line.tracking for line in invoice.lines}
    if rules.tracking == "Department" and len(sites) == 1:
        body |= _tracking(sites.pop(), rules, tracked)  # QuickBooks has one for a whole document
    if sign > 0 and rules.terms_days:
        body["DueDate"] = (invoice.issued + timedelta(days=rules.terms_days)).isoformat()
    if not rules.us_sales_tax:
        body["GlobalTaxCalculation"] = "TaxExcluded"
    body["TxnTaxDetail"] = _taxes(invoice, sign, rules)
    return body


def _taxes(invoice: Invoice, sign: int, rules: Rules) -> Json:
    """Return our taxes, which QuickBooks then takes for its own: outside the US it wants the rate of each beside it."""
    total = {"TotalTax": _amount(sign * invoice.tax_amount)}
    taxed: dict[str, list[InvoiceLine]] = {}
    for line in invoice.lines:
        if line.tax is not None:
            taxed.setdefault(line.tax.name, []).append(line)
    if rules.us_sales_tax or not taxed or not taxed.keys() <= rules.tax_rates.keys():
        return total
    return {**total, "TaxLine": [_taxed(lines, sign, rules.tax_rates[name]) for name, lines in sorted(taxed.items())]}


def _taxed(lines: list[InvoiceLine], sign: int, rate_id: str) -> Json:
    rate = lines[0].tax.rate if lines[0].tax is not None else None
    detail: Json = {
        "TaxRateRef": {"value": rate_id},
        "PercentBased": rate is not None,
        "NetAmountTaxable": _amount(sign * sum((line.net for line in lines), ZERO)),
    }
    if rate is not None:
        detail["TaxPercent"] = _written(rate.scaleb(2))
    return {
        "Amount": _amount(sign * sum((line.tax_amount for line in lines), ZERO)),
        "DetailType": "TaxLineDetail",
        "TaxLineDetail": detail,
    }


def _note(invoice: Invoice) -> str:
    charges = sum(line.charges for line in invoice.lines)
    words = [f"account {invoice.account}", str(invoice.days), f"{charges} charge{'' if charges == 1 else 's'}"]
    if invoice.credits is not None:
        words.append(f"gives back on {invoice.credits}")
    return ", ".join(words)


def _sold(line: InvoiceLine, sign: int, rules: Rules, tracked: Mapping[str, str]) -> Json:
    detail: Json = {"ItemRef": {"value": line.item}, "ServiceDate": line.days.first.isoformat()}
    if rules.tracking == "Class":
        detail |= _tracking(line.tracking, rules, tracked)
    code = rules.untaxed if line.tax is None else line.tax.code
    if code:
        detail["TaxCodeRef"] = {"value": code}
    return {
        "Amount": _amount(sign * line.net),
        "DetailType": "SalesItemLineDetail",
        "Description": traced(line)[:TEXT_CHARS_MAX],
        "SalesItemLineDetail": detail,
    }
