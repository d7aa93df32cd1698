"""How the fold came to a line: what an explanation shows, computed again from the facts and never stored."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from meter.model.catalog import Price
from meter.model.event import EventKey
from meter.model.money import ONE, ZERO
from meter.rating.calendar import Beat
from meter.rating.measure import Contribution, SameAct
from meter.rating.price import Tally
from meter.rating.refund import Sold
from meter.rating.state import DrawStep

_NO_TALLY: Final = Tally()


class Reduction(NamedTuple):
    """An amount lowered by a cap of the price `id` or by the discount `id`: of `most`, or at a `rate`.

    `running` is the sum that the cap or the discount had seen before the line.
    """

    kind: Literal["day_cap", "period_cap", "discount"]
    id: str
    before: Decimal
    after: Decimal
    running: Decimal
    most: Decimal | None = None
    rate: Decimal | None = None


class GivenBack(NamedTuple):
    """The sale of a refund, as it stood before the refund and after it."""

    before: Sold
    after: Sold


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The way from a quantity to an amount.

    `part`: what was measured. `draws`: with the balance around each, in base units; credits at `credit_rate` a unit.
    `price` None: nothing priced it, and `note` says why. The price was asked for `billable` base units (`per` to a
    unit; of a percentage, for `base`) on top of `before`. `reductions` follow, then money draws. `beat`: what fell due
    without an event. `refund`: what a refund gave back. `told_again`: further events of the act that was counted;
    `same_act`: there is no line, because the event is a further one.
    """

    draws: tuple[DrawStep, ...]
    price: Price | None
    before: Tally = _NO_TALLY
    billable: Decimal = ZERO
    per: Decimal = ONE
    base: Decimal | None = None
    reductions: tuple[Reduction, ...] = ()
    note: str | None = None
    credit_rate: Decimal | None = None
    part: Contribution | None = None
    beat: Beat | None = None
    refund: GivenBack | None = None
    told_again: tuple[EventKey, ...] = ()
    same_act: SameAct | None = None


def of_same_act(act: SameAct) -> Evidence:
    """Return why an event has no line: it tells of an act that another counted."""
    return Evidence(draws=(), price=None, same_act=act)
