"""What targets that keep books share: a batch's name in a text, words for lines, and what a document comes to. Pure."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, TypeAlias

from meter.export.contract import Figures
from meter.export.payload import DayJournal, Invoice, InvoiceLine, PostingSum
from meter.model.money import EXACT, ONE, ZERO, is_currency, plain
from meter.rating.calendar import DEPOSIT, MEMBERSHIP

Document: TypeAlias = DayJournal | Invoice

_BATCH: Final = re.compile(r"\[meter:([a-z2-7]{32})\]")
# Units that are English words; any other stays as the catalog has it.
_WORDS: Final = frozenset(
    "booking credit day hour job minute month night page sale second session sheet side visit week".split()
)
# Whoever wants more places finds them in the charges.
_SHOWN: Final = Decimal("0.001")


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


def headed(line: InvoiceLine) -> str:
    """Return what a line is of, where and when, as its customer calls it: `Print pages, Berlin, 2026-11-02`."""
    what = f"{line.name} ({line.kind})" if line.kind in {"minimum", "tip"} else line.name
    return ", ".join(filter(None, (what, line.place, str(line.days) + (f" {line.clock}" if line.clock else ""))))


def described(line: InvoiceLine, *, changed: bool = False) -> str:
    """Return what the customer reads of a line; `changed`: of what is billed or given back as it is another now."""
    text, counted = headed(line), _counted(line)
    if counted:
        text += f": now {counted}" if changed else f": {counted}"
    elif changed:
        text += ", changed"
    if line.covered and counted:
        text += f", {_shown(line.covered)} covered by credit"
    if line.adjusts_days is not None:
        text += ", correction" + (f" of {line.adjusts_days}" if line.adjusts_days != line.days else "")
    return text


def traced(line: InvoiceLine) -> str:
    """Return what the customer reads of a line, and the charge that it is, if it is a single one."""
    return described(line) if line.charge is None else f"{described(line)} ({line.charge})"


def _counted(line: InvoiceLine) -> str:
    """Return a line's quantity as people say it; nothing where it says no more than the amount."""
    if not line.quantity or line.meter == DEPOSIT or is_currency(line.unit):
        return ""
    shown = _shown(line.quantity)
    if line.meter == MEMBERSHIP:  # seats times the part of a month
        return "" if line.quantity == ONE else f"{shown} x 1 {line.unit}"
    return f"{shown} {line.unit}" + ("s" if line.unit in _WORDS and shown.lstrip("-") != "1" else "")


def _shown(quantity: Decimal) -> str:
    return plain(quantity.quantize(_SHOWN, rounding=ROUND_HALF_UP, context=EXACT) or quantity)


def said_of(posting: PostingSum) -> str:
    """Return what an accountant reads of a posting: whose it is by our names, and of how many entries."""
    counted = f"{posting.entries} entr{'y' if posting.entries == 1 else 'ies'}"
    return ", ".join([*filter(None, (posting.ledger_account, posting.account, posting.meter)), counted])


def places_of(amount: Decimal) -> int:
    """Return how many decimals an amount needs."""
    exponent = amount.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0
