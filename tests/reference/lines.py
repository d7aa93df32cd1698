"""A line as the second rater says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from tests.reference.dates import Period
from tests.reference.values import ZERO

Key = tuple[datetime, str, str, str, int, str]
Tax = tuple[str, Fraction | None, bool]
# Whose it is, how much of the net revenue, and as what the operator sells.
Share = tuple[str, Fraction, str]


@dataclass(kw_only=True)
class Line:
    """`quantity` and `covered` are in the meter's unit. `draws` sums what is drawn (back: negative) by instance.

    `granted` is what of the price money grants paid.
    """

    account: str
    member: str | None
    site: str
    key: Key
    kind: str = "usage"
    plan: str | None = None
    price: str | None = None
    quantity: Fraction = ZERO
    covered: Fraction = ZERO
    amount: Fraction = ZERO
    unpriced: bool = False
    estimated: bool = False
    settlement: str = "account"
    currency: str
    tax: Tax | None = None
    till_tax: Fraction | None = None
    period: Period
    tip: Fraction = ZERO
    total: Fraction | None = None
    draws: dict[str, Fraction] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    granted: Fraction = ZERO
    shares: list[Share] = field(default_factory=list)
    earned_until: datetime | None = None

    @property
    def meter(self) -> str:
        return self.key[3]
