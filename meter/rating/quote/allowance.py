"""What an agent on site may go on with while it hears nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from meter.model.catalog import Meter
from meter.model.charge import Line
from meter.model.money import ZERO
from meter.rating.book import revenue_of
from meter.rating.facts import AccountFacts
from meter.rating.fold import rate_next
from meter.rating.quote.ask import Ask, contribution
from meter.rating.quote.limits import LimitUse
from meter.rating.state import AccountState

# More than any credit holds: what is covered of it is all that there is.
_EVERYTHING: Final = Decimal(10) ** 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What credit still covers behind the ask, and what one unit more costs beyond it: before tax and money credit.

    In the meter's unit. `price` None: nothing prices it. `left`: what quantity limits leave; None: none limits it.
    `left_amount`: likewise of money. `sold_beyond` False: a grant denies what credit does not cover.
    """

    covered: Decimal
    price: Decimal | None
    currency: str
    left: Decimal | None
    left_amount: Decimal | None
    sold_beyond: bool


def allowance(  # noqa: PLR0917 -- an ask and what its answer is made of
    facts: AccountFacts,
    state: AccountState,
    ask: Ask,
    meter: Meter,
    at: datetime,
    uses: Sequence[LimitUse],
    *,
    denies: bool,
) -> Allowance:
    """Return what is left behind `state`; `uses`: the limits, with what is taken from them by now as `used`."""

    def line_of(quantity: Decimal, before: AccountState) -> tuple[Line | None, AccountState]:
        folded = rate_next(facts, before, [contribution(ask, meter, at, quantity)])
        return next((line for line in folded.lines if line.key.id == ask.id), None), folded.state

    everything, _ = line_of(_EVERYTHING, state)
    covered = ZERO if everything is None else everything.covered
    drained = line_of(covered, state)[1] if covered else state
    one, _ = line_of(Decimal(1), drained)
    return Allowance(
        covered=covered,
        price=None if one is None or one.unpriced else revenue_of(one),
        currency=facts.currency_at(at) if one is None else one.currency,
        left=_least(uses, "quantity"),
        left_amount=_least(uses, "money"),
        sold_beyond=not denies,
    )


def _least(uses: Sequence[LimitUse], of: str) -> Decimal | None:
    return min((use.left for use in uses if use.window.limit.of == of and use.left is not None), default=None)
