"""What a document comes to by QuickBooks' own word, and what it calls its total. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from meter.export.contract import Figures, Held
from meter.export.targets.books import Document, batch_in, figures_of
from meter.export.targets.quickbooks.entities import Entity, entity_of
from meter.export.targets.reading import number_of, object_of, objects_of, text_of, word_of
from meter.model.money import ZERO


def total_of(content: Document) -> Decimal:
    """Return what QuickBooks calls TotalAmt."""
    figures = figures_of(content)
    return figures.net + figures.tax if entity_of(content) != "CreditMemo" else -(figures.net + figures.tax)


def held_of(entity: Entity, held: Mapping[str, Any], *, home_currency: str) -> Held | None:
    """Return what QuickBooks says of a document of ours; None where it is somebody else's. Raises Unreadable."""
    batch = batch_in(held.get("PrivateNote"))
    if batch is None:
        return None
    detail = "JournalEntryLineDetail" if entity == "JournalEntry" else "SalesItemLineDetail"
    lines = [line for line in objects_of(held, "Line") if line.get("DetailType") == detail]
    currency = text_of(object_of(held, "CurrencyRef"), "value") or home_currency
    sign = -1 if entity == "CreditMemo" else 1
    if entity == "JournalEntry":
        debits = [line for line in lines if object_of(line, detail).get("PostingType") == "Debit"]
        net, tax = sum((number_of(line, "Amount") for line in debits), ZERO), ZERO
    else:
        tax = sign * number_of(object_of(held, "TxnTaxDetail"), "TotalTax")
        net = sign * number_of(held, "TotalAmt") - tax
    figures = Figures(lines=len(lines), net=net, tax=tax, currency=currency)
    return Held(batch=batch, remote_id=word_of(held, "Id"), figures=figures, void=is_void(held))


def is_void(held: Mapping[str, Any]) -> bool:
    """Tell whether somebody voided the document: QuickBooks puts the word before its note, and its amounts at zero."""
    return str(held.get("PrivateNote", "")).startswith("Voided")
