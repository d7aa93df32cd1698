"""What targets that keep books share: a batch's name in a text, words for lines, and what a document comes to. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final, TypeAlias

from meter.export.contract import Figures
from meter.export.payload import DayJournal, Invoice, InvoiceLine, PostingSum
from meter.model.money import ZERO, plain

Document: TypeAlias = DayJournal | Invoice

_BATCH: Final = re.compile(r"\[meter:([a-z2-7]{32})\]")


def mark_of(batch: str) -> str:
    """Return the text that names a batch inside of another."""
    return f"[meter:{batch}]"


def marked(text: str, batch: str, *, chars_max: int) -> str:
    """Return `text`, cut so that the batch's name behind it fits."""
    mark = mark_of(batch)
    return f"{text[: chars_max - len(mark) - 1]} {mark}"


def batch_in(text: Any) -> str | None:
    """Return the name of the batch that a text holds."""
    found = _BATCH.search(text) if isinstance(text, str) else None
    return None if found is None else found[1]


def figures_of(content: Document) -> Figures:
    """Return what a target must hold: of a journal the sum of its debits, of what gives back negative sums."""
    if isinstance(content, DayJournal):
        amounts = [posting.amount for posting in content.postings if posting.amount]
        debits = sum((amount for amount in amounts if amount > ZERO), ZERO)
        return Figures(lines=len(amounts), net=debits, currency=content.currency)
    return Figures(lines=len(content.lines), net=content.net, tax=content.tax_amount, currency=content.currency)


def described(line: InvoiceLine) -> str:
    """Return what the customer reads of a line, and the charge that it is, if it is a single one."""
    span = f"{line.start:%Y-%m-%d} to {line.end:%Y-%m-%d}" if line.day is None else line.day.isoformat()
    text = ", ".join(filter(None, (line.meter, line.site, span))) + f": {plain(line.quantity)} {line.unit}"
    if line.covered:
        text += f", {plain(line.covered)} of it covered"
    if line.adjusts is not None:
        text += f", correcting the period from {line.adjusts:%Y-%m-%d}"
    return text if line.charge is None else f"{text} ({line.charge})"


def said_of(posting: PostingSum) -> str:
    """Return what an accountant reads of a posting: whose it is by our names, and of how many entries."""
    counted = f"{posting.entries} entr{'y' if posting.entries == 1 else 'ies'}"
    return ", ".join([*filter(None, (posting.ledger_account, posting.account, posting.meter)), counted])


def places_of(amount: Decimal) -> int:
    """Return how many decimals an amount needs."""
    exponent = amount.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0
