"""What an outbox item says: the contents of each operation, frozen as JSON when the item is made (decision 0014).

A content holds what was booked, summed as the target wants it, and every reference into the target that its request
needs. A request is a pure function of it. Amounts and quantities are strings on the wire. Fields are only added, with
defaults: what an older version froze must stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from meter.model.journal import JournalEntry
from meter.model.money import ZERO
from meter.model.period import DaySpan

JOURNAL: Final = "journal"  # JournalBatch: entries as they are
DAY: Final = "day"  # DayJournal: postings summed
CHARGES: Final = "charges"  # ChargeBatch: charges as they are
LINE: Final = "line"  # LineItem: charges summed, replaced or added to
INVOICE: Final = "invoice"  # Invoice: an account's lines of a period; with a negative sum, a credit note
USAGE: Final = "usage"  # MeterUsage: what a target that prices by itself counts
CLOSED: Final = "closed"  # PeriodClosed: nothing more comes for an account's period


class JournalBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of one day and site, in booking order."""

    day: date
    site: str
    entries: tuple[JournalEntry, ...]


class PostingSum(msgspec.Struct, frozen=True, kw_only=True):
    """Postings of a day to one ledger account, summed: debit positive, credit negative.

    `code` is the target's own name of the account, `party` its id of the customer (or vendor) that a receivable (or
    payable) is about; `account` the one of ours, "" where the sum is not about one. `entries` counts them.
    """

    ledger_account: str
    code: str
    amount: Decimal
    site: str = ""
    account: str = ""
    party: str | None = None
    meter: str = ""
    entries: int = 0


class DayJournal(msgspec.Struct, frozen=True, kw_only=True):
    """Postings of one local day, site and currency: they sum to zero. `part` grows where a day is added to later.

    `tracking` is the site's class or tracking option in the target (the catalog's `ledger_class`), None: none.
    """

    number: str
    day: date
    site: str
    currency: str
    part: int
    narration: str
    postings: tuple[PostingSum, ...]
    tracking: str | None = None


class ChargeBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Charges as the API gives them (`GET /v1/charges`), byte for byte, in booking order.

    `day`: the operator's local day of all of them, where they are kept apart by it.
    """

    charges: tuple[msgspec.Raw, ...]
    day: date | None = None

    @property
    def booked_at(self) -> datetime:
        """Return when the newest of them was booked. Raises msgspec.MsgspecError."""
        return max(_BOOKED.decode(charge).booked_at for charge in self.charges)


class _Booked(msgspec.Struct):
    booked_at: datetime


_BOOKED: Final = msgspec.json.Decoder(_Booked)


LineKind: TypeAlias = Literal["usage", "fee", "minimum", "tip"]


class TaxOfLine(msgspec.Struct, frozen=True, kw_only=True):
    """The tax of a line: the catalog's name, its rate as a fraction, and the target's own code for it."""

    name: str
    rate: Decimal | None
    inclusive: bool
    code: str | None = None


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """Charges of one account, summed: of one meter, site, unit, kind and tax, and of one stretch of time.

    `name` and `place` are what people call the meter (of a fee the plan) and the site. `rounded` and `tax_amount` are
    sums of the charges' own figures; with inclusive tax `rounded` holds the tax. `[start, end)` is what the line is
    for, `days` the same in the account's days, `clock` the account's time of an hour or of a single event. `first` and
    `last` are the times of the first and last event, `day` the account's date of the last, `charges` how many there
    are. `adjusts` and `adjusts_days`: the closed billing period that the line corrects, and its start. `charge` is the
    id where it is a single one, `item` the target's product.
    """

    meter: str
    name: str
    site: str
    place: str
    unit: str
    kind: LineKind
    quantity: Decimal
    covered: Decimal
    billable: Decimal
    rounded: Decimal
    tax_amount: Decimal
    start: datetime
    end: datetime
    first: datetime
    last: datetime
    charges: int
    days: DaySpan
    day: date
    clock: str | None = None
    plan: str | None = None
    tax: TaxOfLine | None = None
    member: str | None = None
    adjusts: datetime | None = None
    adjusts_days: DaySpan | None = None
    charge: str | None = None
    item: str | None = None
    tracking: str | None = None

    @property
    def net(self) -> Decimal:
        """Return the sum before tax."""
        return self.rounded - self.tax_amount if self.tax is not None and self.tax.inclusive else self.rounded

    @property
    def gross(self) -> Decimal:
        """Return the sum with tax."""
        return self.net + self.tax_amount


class LineItem(msgspec.Struct, frozen=True, kw_only=True):
    """One line for a target that takes lines by themselves: `invoice` names the invoice that it belongs to."""

    account: str
    customer: str
    currency: str
    invoice: str
    invoice_start: datetime
    invoice_end: datetime
    line: InvoiceLine
    name: str = ""


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An account's lines of a billing period, or what was due at once on a `day` of it (`advance`).

    `number` is ours, unique, and the reference by which it is looked up; `days` are the period's and `issued` the day
    of the document, both in the account's zone. `credits` names the number of the invoice that a negative one gives
    back on, where there is one.
    """

    number: str
    account: str
    customer: str
    name: str
    currency: str
    start: datetime
    end: datetime
    days: DaySpan
    issued: date
    advance: bool
    lines: tuple[InvoiceLine, ...]
    part: int = 1
    credits: str | None = None

    @property
    def net(self) -> Decimal:
        """Return the sum of the lines before tax."""
        return sum((line.net for line in self.lines), ZERO)

    @property
    def tax_amount(self) -> Decimal:
        """Return the sum of the lines' taxes."""
        return sum((line.tax_amount for line in self.lines), ZERO)


class MeterUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of one account and meter, for a target that prices it by itself: a number at a time.

    `event` is the target's own name of the meter. `value` is below zero where it takes back what was sent before.
    `alone`: nothing else of them is sent for the minute of `at`, unless it comes later.
    """

    account: str
    customer: str
    meter: str
    event: str
    at: datetime
    value: Decimal
    unit: str
    charges: int
    alone: bool = False


class PeriodClosed(msgspec.Struct, frozen=True, kw_only=True):
    """The billing period of an account is closed: its invoice may be issued."""

    account: str
    customer: str
    currency: str
    invoice: str
    start: datetime
    end: datetime


Content: TypeAlias = JournalBatch | DayJournal | ChargeBatch | LineItem | Invoice | MeterUsage | PeriodClosed
_TYPES: Final[Mapping[str, type[Content]]] = {
    JOURNAL: JournalBatch,
    DAY: DayJournal,
    CHARGES: ChargeBatch,
    LINE: LineItem,
    INVOICE: Invoice,
    USAGE: MeterUsage,
    CLOSED: PeriodClosed,
}
_OPERATIONS: Final = {kind: operation for operation, kind in _TYPES.items()}
# Amounts as strings: a reader of the payload that thinks in floats must not spoil them.
_ENCODER: Final = msgspec.json.Encoder(decimal_format="string")


def operation_of(content: Content) -> str:
    """Return the operation whose content it is."""
    return _OPERATIONS[type(content)]


def frozen(content: Content) -> bytes:
    """Return the payload: the same bytes for equal contents."""
    return _ENCODER.encode(content)


def thawed(operation: str, payload: bytes) -> Content:
    """Return the content of an item. Raises msgspec.MsgspecError where it is not one of `operation`."""
    kind = _TYPES.get(operation)
    if kind is None:
        raise msgspec.ValidationError(f"{operation[:60]!r} is no operation of this version")
    return msgspec.json.decode(payload, type=kind)


def day_of(content: Content) -> date | None:
    """Return the day under which a target lists the content, by the account's or operator's zone; None: by none."""
    match content:
        case JournalBatch(day=day) | DayJournal(day=day):
            return day
        case Invoice(issued=issued):
            return issued
        case LineItem(line=line):
            return line.day
        case PeriodClosed(end=end):
            return end.date()
        case MeterUsage(at=at):
            return at.date()
        case ChargeBatch(day=kept):
            return kept


def whose(operation: str, stream: str) -> tuple[str | None, str | None]:
    """Return the account and the site that an item is about, as its stream names them; None: none, or several."""
    match operation:
        case "line" | "invoice" | "closed" | "charges":
            return stream or None, None
        case "usage":
            return stream.rpartition("/")[0] or None, None
        case "day":
            return None, stream or None
        case _:
            return None, None
