"""Lines as the fold wants them, and charges as they were booked (docs/api.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from meter.model.event import EventKey, Json
from meter.model.period import Period

Kind: TypeAlias = Literal["usage", "fee", "minimum", "refund", "adjustment"]
Settlement: TypeAlias = Literal["account", "paid"]
RecordT = TypeVar("RecordT", bound=msgspec.Struct)
Role: TypeAlias = Literal["original", "reversal", "replacement"]
SalesRole: TypeAlias = Literal["principal", "agent"]


TIP_PART: Final = "tip"
REFUND_PART: Final = "refund"
EXPIRY_PART: Final = "expired"


# Structs where dataclasses would do: several are made for each event, and a Struct is made ten times as fast.


class LineKey(NamedTuple):
    """What a line is about, within its account: one contribution of one event to one meter.

    `element` is the index within an array of the event; `part` tells several lines of one contribution apart ("" for
    the usage itself, "tip", "refund", "tip/refund"; "expired" where bought credit ran out). Time comes first so that
    lines sort in the order of events.
    """

    time: datetime
    source: str
    id: str
    meter: str
    element: int = 0
    part: str = ""

    @property
    def of_tip(self) -> bool:
        """Tell whether the line is a tip, or what a refund gives back of one."""
        return self.part.partition("/")[0] == TIP_PART

    @property
    def of_expiry(self) -> bool:
        """Tell whether the line is what was left of bought credit when it expired: no money moves."""
        return self.part == EXPIRY_PART


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    """An amount of credit that a line takes from (negative: gives back to) one instance of a grant."""

    grant: str
    unit: str
    amount: Decimal


class LineTax(msgspec.Struct, frozen=True, kw_only=True):
    """The tax of a line by name and rate (a fraction). `amount` only where the till settled it; else booking does."""

    name: str
    rate: Decimal | None
    inclusive: bool
    amount: Decimal | None = None


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What of a line's net revenue belongs to another: a fraction. `role` is the operator's: who sells, or brokers."""

    party: str
    share: Decimal
    role: SalesRole


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What of a charge belongs to `party`, in the currency's minor unit: net of tax, before money grants."""

    party: str
    role: SalesRole
    amount: Decimal


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What the facts say ought to be booked for one contribution. Equal lines bill the same.

    `amount` is exact, before tax. `tip` and `total` are set on sales paid at the till only. `shares` has each party
    once. `earned_until`: the revenue is earned evenly from the key's time until then; None: at once.
    """

    key: LineKey
    account: str
    member: str | None
    site: str
    meter: str
    plan: str | None
    kind: Kind
    event_type: str
    events: tuple[EventKey, ...]
    period: Period
    quantity: Decimal
    unit: str
    covered: Decimal
    billable: Decimal
    dimensions: Mapping[str, Json]
    price: str | None
    amount: Decimal
    currency: str
    tax: LineTax | None = None
    draws: tuple[Draw, ...] = ()
    settlement: Settlement = "account"
    estimated: bool = False
    unpriced: bool = False
    tip: Decimal | None = None
    total: Decimal | None = None
    shares: tuple[Share, ...] = ()
    earned_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One booked line, never changed or deleted: a correction is a reversal and, if something remains, a replacement.

    `rounded` is this charge's part of its rounding group in the currency's minor unit, `tax_amount` likewise of its tax
    group, `shared` of what belongs to others, one for each of the line's shares. `corrects` is the id of the charge
    that it reverses or replaces; `revision` counts the charges of a line key.
    """

    id: str
    line: Line
    role: Role
    revision: int
    rounded: Decimal
    tax_amount: Decimal
    corrects: str | None
    reason: str | None
    booked_at: datetime
    invoice_period: Period = field(repr=False)
    shared: tuple[Shared, ...] = ()

    @property
    def kind(self) -> Kind:
        """Return what the charge is on its invoice: the line's kind, or an adjustment of another, closed period."""
        return self.line.kind if self.invoice_period == self.line.period else "adjustment"


def charge_id(operator: str, account: str, key: LineKey, revision: int) -> str:
    """Return the id of the `revision`-th charge of a line: the same wherever and whenever it is booked.

    The parts are joined as JSON, which no choice of names can make collide.
    """
    parts = [operator, account, key.time.isoformat(), key.source, key.id, key.meter, key.element, key.part, revision]
    return "ch_" + sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def changed(record: RecordT, **changes: object) -> RecordT:
    """Return a draw, a tax or a line with other values in some fields."""
    return msgspec.structs.replace(record, **changes)
