"""How the fold came to a line: what an explanation shows, computed again from the facts and never stored."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from meter.model.catalog import Price
from meter.rating.price import Step
from meter.rating.state import DrawStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The way from a quantity to an amount: each draw with the balance around it, and P(after) - P(before) by tier.

    `price` None: nothing priced it. `note` says why, where that is not plain.
    """

    draws: tuple[DrawStep, ...]
    price: Price | None
    before: Decimal
    after: Decimal
    paid_before: Decimal
    paid_after: Decimal
    steps: tuple[Step, ...]
    note: str | None = None
