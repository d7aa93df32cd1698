"""A beat: something due at an instant, without an event."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from meter.model.catalog import Plan, Price
from meter.model.charge import Line, LineTax, Share
from meter.model.directory import Subscription
from meter.model.event import Position
from meter.model.money import ZERO
from meter.model.period import Period

# Meters of what no meter counts; a catalog cannot define them.
MEMBERSHIP: Final = "membership"
DEPOSIT: Final = "deposit"
CREDIT_SALE: Final = "credit"

BeatKind: TypeAlias = Literal["fee", "zero", "minimum", "expiry"]

# The place behind every beat of an instant and before every event.
_LAST: Final = "\U0010ffff"


class Days(NamedTuple):
    """Active days of days in all."""

    active: int
    days: int


class Beat(NamedTuple):
    """Something due at `time`, in the service period `period`. Of `fee`, `amount` is what is due before discounts.

    `price` is there for first flats and minimums, `subscription` where its discounts apply: those in force at
    `discounts_at` (None: at `time`). It is booked in `currency`; `asked` is the catalog's, where the figure is a
    catalog's. Of `expiry`, `quantity` is what was bought of `instance`: what is left of it is for the rater to see.
    """

    time: datetime
    id: str
    kind: BeatKind
    period: Period
    meter: str
    unit: str
    quantity: Decimal
    amount: Decimal
    site: str
    tax: LineTax | None
    currency: str
    member: str | None = None
    plan: Plan | None = None
    price: Price | None = None
    subscription: Subscription | None = None
    discounts_at: datetime | None = None
    days: Days | None = None
    each: Decimal = ZERO
    asked: str | None = None
    shares: tuple[Share, ...] = ()
    earned_until: datetime | None = None
    instance: str | None = None

    @property
    def position(self) -> Position:
        """Return the beat's place in the order of events."""
        return Position(self.time, "", self.id)


def end_of(time: datetime) -> Position:
    """Return the place behind every beat at `time`."""
    return Position(time, "", _LAST)


def sold_grant(line: Line) -> str | None:
    """Return the grant whose credit a line sells, or of which it is what expired; None of any other line."""
    return line.key.id.partition("/")[0] if line.meter == CREDIT_SALE else None
