"""How the fold came to a line: what an explanation shows, computed again from the facts and never stored."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from meter.model.catalog import Price
from meter.model.event import EventKey
from meter.model.money import ONE, ZERO
from meter.rating.calendar import Beat
from meter.rating.price import Tally
from meter.rating.state import DrawStep


class Reduction(NamedTuple):
    """An amount lowered by a cap of the price `id` or by the discount `id`."""

    kind: Literal["cap", "discount"]
    id: str
    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The way from a quantity to an amount.

    `draws`: with the balance around each, in base units. `price` None: nothing priced it, and `note` says why. The price
    was asked for `billable` base units (`per` to a unit; of a percentage, for `base`) on top of `before`. `reductions`
    follow, then money draws. `beat`: what fell due without an event.
    """

    draws: tuple[DrawStep, ...]
    price: Price | None
    before: Tally = Tally()
    billable: Decimal = ZERO
    per: Decimal = ONE
    base: Decimal | None = None
    reductions: tuple[Reduction, ...] = ()
    note: str | None = None
    events: tuple[EventKey, ...] = ()
    beat: Beat | None = None
